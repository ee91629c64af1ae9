//! Tests that no memory is allocated for a frame after all buffers have reached their final size. The tests cover
//! templates of `extra`, the edits of a sink, and taps.
//!
//! `allocation_counter` replaces the allocator of this test and counts the allocations of one thread.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, SystemTime},
};

use allocation_counter::measure;
use bytes::BytesMut;
use tapfan::{
    capture::FileReader,
    internals::{
        ExtraField, FieldValues, IdentityField, Metadata, Origin, OwnFields, Rewrite, Tapped,
        Template, Value, outline,
    },
    tap::{Message, Protocol, Taps},
};

/// The number of frames for which each template is evaluated.
const FRAMES: usize = 1000;

/// Returns the recorded queries and responses of several servers.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for name in ["bind", "unbound", "dnsdist", "coredns"] {
        let path = format!("{}/tests/data/{name}.fstrm", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).expect("a recording");
        let each = FileReader::new(file.as_slice()).expect("a file of dnstap");
        let each = each.map(|frame| frame.expect("whole").to_vec());
        frames.extend(each.take(FRAMES / 4));
    }
    frames
}

/// Returns every placeholder that the document about the configuration lists.
fn placeholders() -> Vec<String> {
    let document = include_str!("../docs/configuration.md");
    let (_, section) = document
        .split_once("### Placeholders of `extra`")
        .expect("a section");
    let (section, _) = section.split_once("\n#").expect("a section after it");
    let rows = section.lines().filter_map(|line| {
        let (cell, _) = line.strip_prefix("| `")?.split_once('`')?;
        Some(if cell.starts_with('{') {
            cell.to_owned()
        } else {
            format!("{{/{cell}}}")
        })
    });
    rows.collect()
}

#[test]
fn the_value_of_a_template_is_evaluated_without_an_allocation() {
    let (frames, placeholders) = (frames(), placeholders());
    assert!(frames.len() > FRAMES * 3 / 4, "{} frames", frames.len());
    assert_eq!(placeholders.len(), 17 + 5, "{placeholders:?}");
    let mut metadata = Metadata::new();
    assert!(metadata.set("forward/upstream", "192.0.2.53:53"));
    let all = placeholders.join(" ");
    let others = ["rack 7", "{/forward/upstream}", "{/none/none} {nmae}", &all];
    let texts = placeholders.iter().map(String::as_str).chain(others);
    let rewrite = Rewrite::new(true, &FieldValues::default());
    for text in texts {
        let template = Template::new(text);
        let (mut value, mut field) = (Value::default(), ExtraField::default());
        let mut out = BytesMut::with_capacity(1 << 20);
        let mut evaluate = || {
            let mut bytes = 0;
            for frame in frames.iter().cycle().take(FRAMES) {
                let tapped = Tapped {
                    frame,
                    origin: Some(Origin {
                        listener: "unix:///run/tapfan/in.sock",
                        peer: "pid 7, uid 53",
                    }),
                    labels: metadata.labels(),
                    sample_one_in: 0,
                };
                template.evaluate(&tapped, &mut value);
                bytes += value.bytes().len();
                field.set(value.bytes());
                out.clear();
                rewrite
                    .apply_with_extra(frame, &field, &mut out)
                    .expect("dnstap");
            }
            bytes
        };
        // The first evaluation makes the buffers grow to their final size, so its allocations are not counted.
        assert!(evaluate() > 0, "{text}");
        let mut bytes = 0;
        let allocated = measure(|| bytes = evaluate());
        assert_eq!(allocated.count_total, 0, "{text}");
        assert!(bytes > 0, "{text}");
    }
}

#[test]
fn a_prefix_is_put_before_identities_without_an_allocation() {
    let frames = frames();
    let rewrite = Rewrite::new(false, &FieldValues::default());
    let mut field = IdentityField::default();
    let mut out = BytesMut::with_capacity(1 << 20);
    let mut edit = || {
        for frame in frames.iter().cycle().take(FRAMES) {
            field.set_prefixed(b"fra1/", frame);
            let own = OwnFields {
                identity: Some(&field),
                ..OwnFields::default()
            };
            let outline = outline(frame).expect("dnstap");
            out.clear();
            rewrite.edit(frame, outline, own, &mut out).expect("dnstap");
        }
    };
    // The first round makes the buffers grow to their final size, so its allocations are not counted.
    edit();
    assert_eq!(measure(edit).count_total, 0);
}

#[test]
fn most_messages_of_a_tap_are_sent_without_an_allocation() {
    const MESSAGES: usize = 20_000;
    // No collector listens at this address. So the queue of the sink fills up, and the sink drops messages.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let taps = Taps::from_tapfile(&format!(
        "dnstap tcp://{address} full {{\n name plain\n}}\ndnstap tcp://{address} full {{\n name named\n extra \"{{/forward/upstream}}\"\n}}"
    ));
    let taps = taps.expect("started");
    let handle = taps.handle();
    let client: SocketAddr = "192.0.2.7:5353".parse().expect("an address");
    let wire = [7; 100];
    let mut metadata = Metadata::new();
    assert!(metadata.set("forward/upstream", "192.0.2.53:53"));
    for has_metadata in [false, true] {
        let send = || {
            let now = SystemTime::now();
            let message = Message::client_query(Protocol::Udp, client, now, &wire);
            if has_metadata {
                handle.send_with(&message, &metadata);
            } else {
                handle.send(&message);
            }
        };
        (0..MESSAGES).for_each(|_| send());
        let allocating = (0..MESSAGES).filter(|_| measure(send).count_total > 0);
        // Messages are collected in chunks of up to 64 KiB, and each new chunk needs an allocation. An early flush may
        // end a chunk before it is full. But if a batch has less than 2 KiB, the flush copies its messages, and the
        // batch keeps its buffer. A message has 150 bytes. So at most about one message in 13 needs an allocation.
        let allocating = allocating.count();
        assert!(
            allocating < MESSAGES / 10,
            "{allocating} of {MESSAGES} messages"
        );
    }
    taps.drain_blocking(Duration::from_millis(100));
}
