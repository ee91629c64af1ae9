//! Measures the cost of validating and editing frames in the module `dnstap`. For comparison, also
//! measures the cost of decoding them with prost. The frames are recorded traffic of BIND, Unbound
//! and dnsdist.
//!
//! Run it with `cargo bench --bench rewrite`. Each iteration processes all recorded frames. The
//! item counter shows frames per second. The cost of one frame is the inverse of that number.

mod recorded;

use bytes::BytesMut;
use divan::{
    Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use prost::Message as _;
use tapfan::{
    internals::{ExtraField, FieldValues, Rewrite, Tapped, Template, Value, validate},
    proto::Dnstap,
};

fn main() {
    divan::main();
}

/// Runs `each` over every frame, with an empty buffer that has room for the output.
fn run(bencher: Bencher<'_, '_>, mut each: impl FnMut(&[u8], &mut BytesMut)) {
    let frames = recorded::frames().expect("the recordings");
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let mut out = BytesMut::with_capacity(4 * bytes);
    bencher
        .counter(ItemsCount::new(frames.len()))
        .counter(BytesCount::new(bytes))
        .bench_local(|| {
            out.clear();
            for frame in &frames {
                each(black_box(frame), &mut out);
            }
            black_box(out.len())
        });
}

#[divan::bench]
fn validate_frame(bencher: Bencher<'_, '_>) {
    run(bencher, |frame, _| validate(frame).expect("dnstap"));
}

#[divan::bench]
fn strip(bencher: Bencher<'_, '_>) {
    let rewrite = Rewrite::new(false, &FieldValues::default());
    run(bencher, |frame, out| {
        rewrite.apply(frame, out).expect("dnstap");
    });
}

#[divan::bench]
fn edit(bencher: Bencher<'_, '_>) {
    let rewrite = Rewrite::new(true, &edits());
    run(bencher, |frame, out| {
        rewrite.apply(frame, out).expect("dnstap");
    });
}

#[divan::bench]
fn strip_and_edit(bencher: Bencher<'_, '_>) {
    let rewrite = Rewrite::new(false, &edits());
    run(bencher, |frame, out| {
        rewrite.apply(frame, out).expect("dnstap");
    });
}

#[divan::bench]
fn extra_of_literal_text(bencher: Bencher<'_, '_>) {
    let extra = Some("rack 7, a text as long as a name".into());
    let rewrite = Rewrite::new(
        true,
        &FieldValues {
            extra,
            ..FieldValues::default()
        },
    );
    run(bencher, |frame, out| {
        rewrite.apply(frame, out).expect("dnstap");
    });
}

#[divan::bench(args = ["{remote}", "{name} {type}", "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" {rcode} {>rflags} {rsize} {duration}"])]
fn extra_of_template(bencher: Bencher<'_, '_>, text: &str) {
    let rewrite = Rewrite::new(true, &FieldValues::default());
    let template = Template::new(text);
    let mut value = Value::default();
    let mut field = ExtraField::default();
    run(bencher, |frame, out| {
        let tapped = Tapped {
            frame,
            ..Tapped::default()
        };
        template.evaluate(&tapped, &mut value);
        field.set(value.bytes());
        rewrite
            .apply_with_extra(frame, &field, out)
            .expect("dnstap");
    });
}

#[divan::bench]
fn prost_decode(bencher: Bencher<'_, '_>) {
    run(bencher, |frame, _| {
        black_box(Dnstap::decode(frame).expect("dnstap"));
    });
}

#[divan::bench]
fn prost_decode_encode(bencher: Bencher<'_, '_>) {
    run(bencher, |frame, out| {
        let tap = Dnstap::decode(frame).expect("dnstap");
        tap.encode(out).expect("room");
    });
}

fn edits() -> FieldValues {
    FieldValues {
        identity: Some("edge-1.example.net".into()),
        version: Some("tapfan 0.1.0".into()),
        extra: Some("rack 7".into()),
    }
}
