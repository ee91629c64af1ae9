//! Tests of several listeners behind one router: their names and identities, and sinks that get the
//! frames of some listeners only.

use bytes::Bytes;
use prost::Message as _;
use tapfan::{internals::Mode, proto::Dnstap};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::Collector,
    reload::steady,
    router::{Folder, Router},
    sender::{Load, LoadProfile, Sender},
    traffic::{numbered, numbers_of},
    wait::until,
};

/// The field `identity` at the beginning of a numbered frame.
const IDENTITY: &[u8] = b"\x0a\x05tests";

/// Creates a numbered frame without an identity.
fn nameless(number: u64) -> Bytes {
    let frame = numbered(number);
    assert!(frame.starts_with(IDENTITY));
    frame.slice(IDENTITY.len()..)
}

/// Returns the frame with this identity instead of its own. The identity is the first field of the frame.
fn identified(frame: &[u8], identity: &str) -> Vec<u8> {
    let rest = frame.strip_prefix(IDENTITY).unwrap_or(frame);
    let length = u8::try_from(identity.len()).expect("short");
    let expected = [&[0x0a, length], identity.as_bytes(), rest].concat();
    // Checks that the bytes above are a valid frame that differs only in its identity.
    let mut tap = Dnstap::decode(frame).expect("dnstap");
    tap.identity = Some(identity.into());
    assert_eq!(Dnstap::decode(&*expected), Ok(tap));
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sink_gets_the_frames_of_its_listeners_byte_for_byte() {
    let folder = Folder::new();
    let [all, one, two] = ["all", "one", "two"].map(|name| Collector::unix(folder.path(name)));
    let [all, one, two] = [all, one, two].map(Collector::listening);
    let router = Router::start(&format!(
        "listen unix://{} {{\n name ns1\n}}\n\
         listen tcp://127.0.0.1:0 {{\n name ns2\n identity ns2.example\n}}\n\
         dnstap {} full\n\
         dnstap {} full {{\n from ns1\n extra {{/tap/listener}}\n}}\n\
         dnstap {} full {{\n from ns2\n identity_prefix fra1/\n}}",
        folder.display("in"),
        all.socket(),
        one.socket(),
        two.socket(),
    ));
    let audit = router.audit();
    router.all_up().await;
    let mut first = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let mut second = Sender::open(&router.target(1), Mode::Bidirectional).await;
    // Each sender sends frames with an identity and frames without one.
    let frame = |number: u64| match number % 3 {
        0 => nameless(number),
        _ => numbered(number),
    };
    for start in (0..3000).step_by(100) {
        first.send((start..start + 50).map(frame)).await;
        second.send((start + 50..start + 100).map(frame)).await;
    }
    first.stop().await;
    second.stop().await;
    all.got(3000).await;
    one.got(1500).await;
    two.got(1500).await;
    let is_first = |number: &u64| number % 100 < 50;
    let of_second = |number: u64| match number % 3 {
        0 => identified(&nameless(number), "ns2.example"),
        _ => numbered(number).to_vec(),
    };
    let mut got = all.frames();
    got.sort_by_key(|frame| numbers_of([frame]));
    let expected = (0..3000).map(|number| {
        if is_first(&number) {
            frame(number).to_vec()
        } else {
            of_second(number)
        }
    });
    assert!(got.into_iter().eq(expected));
    let got = one.frames();
    assert_eq!(got.len(), 1500);
    for (got, number) in got.iter().zip((0..3000).filter(is_first)) {
        let mut expected = Dnstap::decode(&*frame(number)).expect("dnstap");
        expected.extra = Some("ns1".into());
        assert_eq!(Dnstap::decode(&**got), Ok(expected));
    }
    let expected = (0..3000).filter(|number| !is_first(number));
    let expected = expected.map(|number| match number % 3 {
        0 => identified(&nameless(number), "fra1/ns2.example"),
        _ => identified(&numbered(number), "fra1/tests"),
    });
    assert!(two.frames().into_iter().eq(expected));
    let status = router.view().snapshot();
    let listeners: Vec<_> = status.listeners.iter().map(|it| &*it.name).collect();
    assert_eq!(listeners, ["ns1", "ns2"]);
    assert_eq!(status.listeners[1].configured, "tcp://127.0.0.1:0");
    let from: Vec<_> = status.sinks.iter().map(|it| it.from.join(" ")).collect();
    assert_eq!(from, ["", "ns1", "ns2"]);
    let offered = [0, 1, 2].map(|sink| router.ledger(sink).offered);
    assert_eq!(offered, [3000, 1500, 1500]);
    let report = router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
    // Frames that a sink does not get are not counted as lost.
    for sink in &report.sinks {
        assert_eq!(sink.ledger.dropped_total(), 0, "{}", sink.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_gets_another_name_and_its_sinks_miss_no_frame() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |name: &str| {
        format!(
            "drain 1s\nlisten unix://{} {{\n name {name}\n}}\n\
             listen @{} {{\n name other\n}}\n\
             dnstap {} full {{\n name out\n from {name}\n}}\n\
             dnstap {} full {{\n name rest\n}}",
            folder.display("in"),
            folder.display("other"),
            collector.socket(),
            folder.display("nobody"),
        )
    };
    let mut router = Router::start(&tapfile("a"));
    let audit = router.audit();
    router.up(0).await;
    let load = Load::start(&router.target(0), steady(20_000, 0)).await;
    for name in ["b", "c", "a"].repeat(6) {
        let before = router.ledger(0).offered;
        let changes = router.reload(&tapfile(name)).expect("sound").to_string();
        assert_eq!(changes, format!("changed out, {name}"));
        until("frames arrive after the reload", || {
            router.ledger(0).offered > before + 50
        })
        .await;
    }
    assert_eq!(router.view().snapshot().listeners[0].name, "a");
    let sent = load.end().await;
    collector.got(usize::try_from(sent).expect("few")).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..sent));
    // The sink kept its connection, because only its sources changed.
    assert_eq!(collector.streams(), 1);
    assert_eq!(router.counts(0).accepted, 1);
    router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_the_sources_of_a_sink_and_the_identity_of_open_connections() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |first: &str, from: &str| {
        format!(
            "drain 1s\nlisten unix://{} {{\n name ns1\n{first}}}\n\
             listen unix://{} {{\n name ns2\n}}\n\
             dnstap {} full {{\n name out\n{from}}}\n\
             dnstap {} full {{\n name rest\n}}",
            folder.display("one"),
            folder.display("two"),
            collector.socket(),
            folder.display("nobody"),
        )
    };
    let mut router = Router::start(&tapfile("", " from ns2\n"));
    router.up(0).await;
    let mut senders = Vec::new();
    for listener in [0, 1] {
        senders.push(Sender::open(&router.target(listener), Mode::Bidirectional).await);
    }
    let mut total = 0;
    let mut expected = Vec::new();
    for (first, from, gets) in [
        ("", " from ns2\n", [false, true]),
        ("", " from ns1\n", [true, false]),
        (" identity x\n", " from ns1 ns2\n", [true, true]),
        (" identity yy\n", "", [true, true]),
        ("", " from ns2 ns1\n", [true, true]),
    ] {
        router.reload(&tapfile(first, from)).expect("sound");
        for (listener, is_given) in gets.into_iter().enumerate() {
            total += 1;
            senders[listener].send([nameless(total)]).await;
            until("the frame is offered", || router.ledger(1).offered == total).await;
            let frame = match first {
                " identity x\n" if listener == 0 => identified(&nameless(total), "x"),
                " identity yy\n" if listener == 0 => identified(&nameless(total), "yy"),
                _ => nameless(total).to_vec(),
            };
            expected.extend(is_given.then_some(frame));
        }
    }
    collector.got(expected.len()).await;
    assert!(collector.frames().into_iter().eq(expected));
    assert_eq!(collector.streams(), 1);
    // A removed listener asks its senders to end their streams. The frames that they still send go to the same sinks as
    // before.
    let only = format!(
        "drain 1s\nlisten unix://{} {{\n name ns1\n}}\n\
         dnstap {} full {{\n name out\n from ns1\n}}",
        folder.display("one"),
        collector.socket(),
    );
    router.reload(&only).expect("sound");
    router.reload(&only).expect("sound");
    let before = router.ledger(0).offered;
    let mut leaving = senders.pop().expect("two senders");
    leaving.send([nameless(1), nameless(2)]).await;
    leaving.close().await;
    until("the last frames are offered", || {
        router.ledger(0).offered == before + 2
    })
    .await;
    router.drain_after_changes(CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_listeners_exchange_their_names() {
    exchange_names(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_listeners_of_a_sink_that_waits_exchange_their_names() {
    exchange_names(true).await;
}

/// Exchanges the names of two listeners under load. Each frame must have the name, the identity, the prefix and the sink
/// of the same configuration.
async fn exchange_names(waits: bool) {
    /// The number of the second sender's first frame.
    const SECOND: u64 = 1 << 32;
    let folder = Folder::new();
    let collectors = ["follows", "of-a", "of-b"].map(|name| {
        if waits {
            Collector::dialling()
        } else {
            Collector::unix(folder.path(name)).listening()
        }
    });
    let socket = |name: &str| {
        let way = if waits { "listen " } else { "" };
        format!("{way}unix://{}", folder.display(name))
    };
    // The sink `follows` always gets the frames of the first listener, and its edits contain the name of that listener.
    let tapfile = |first: &str, second: &str| {
        format!(
            "drain 1s\n\
             listen unix://{} {{\n name {first}\n identity {first}\n}}\n\
             listen unix://{} {{\n name {second}\n identity {second}\n}}\n\
             dnstap {} full {{\n name follows\n from {first}\n identity_prefix {first}/\n \
             extra \"{first} {{/tap/listener}} {{/tap/identity}} {{/tap/extra}}\"\n}}\n\
             dnstap {} full {{\n name of-a\n from a\n extra \"{{/tap/listener}} {{/tap/extra}}\"\n}}\n\
             dnstap {} full {{\n name of-b\n from b\n extra \"{{/tap/listener}} {{/tap/extra}}\"\n}}",
            folder.display("one"),
            folder.display("two"),
            socket("follows"),
            socket("of-a"),
            socket("of-b"),
        )
    };
    let mut router = Router::start(&tapfile("a", "b"));
    let audit = router.audit();
    let [mut follows, mut of_a, mut of_b] = collectors;
    if waits {
        for (sink, collector) in [&mut follows, &mut of_a, &mut of_b].into_iter().enumerate() {
            collector.follow(&router.waiting(sink)).await;
        }
    }
    router.all_up().await;
    let load = |first| LoadProfile {
        frame: nameless,
        ..steady(20_000, first)
    };
    let first = Load::start(&router.target(0), load(0)).await;
    let second = Load::start(&router.target(1), load(SECOND)).await;
    for (one, two) in [("b", "a"), ("a", "b")].repeat(10) {
        let before = router.ledger(0).offered;
        router.reload(&tapfile(one, two)).expect("sound");
        until("frames from after the reload are delivered", || {
            router.ledger(0).delivered > before + 50
        })
        .await;
    }
    let (first, second) = (first.end().await, second.end().await);
    let count = |number| usize::try_from(number).expect("few");
    follows.got(count(first)).await;
    until("both sinks have delivered all frames", || {
        of_a.frames().len() + of_b.frames().len() >= count(first + second)
    })
    .await;
    let numbers = follows.frames().into_iter().map(|frame| {
        let (identity, text, number) = parts(&frame);
        let is_of = |name: &str| {
            identity == format!("{name}/{name}") && text == format!("{name} {name} {name} ")
        };
        assert!(is_of("a") || is_of("b"), "{identity} {text}");
        number
    });
    assert!(numbers.eq(0..first));
    let mut both = Vec::new();
    for (name, collector) in [("a", &of_a), ("b", &of_b)] {
        for frame in collector.frames() {
            let (identity, text, number) = parts(&frame);
            assert_eq!((&*identity, &*text), (name, &*format!("{name} ")));
            both.push(number);
        }
    }
    both.sort_unstable();
    assert!(
        both.into_iter()
            .eq((0..first).chain(SECOND..SECOND + second))
    );
    router.drain_after_changes(CancellationToken::new()).await;
    audit.finish();
}

/// Returns the identity of a numbered frame, the text before the number in its extra field, and the number.
fn parts(frame: &[u8]) -> (String, String, u64) {
    let tap = Dnstap::decode(frame).expect("dnstap");
    let (text, number) = tap.extra().split_last_chunk().expect("a number");
    let [identity, text] =
        [tap.identity(), text].map(|part| String::from_utf8(part.to_vec()).expect("text"));
    (identity, text, u64::from_be_bytes(*number))
}
