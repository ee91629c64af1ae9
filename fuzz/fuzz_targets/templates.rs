//! Fuzzes templates of `extra`, with any text and any frame. The length of a value must be bounded, a value must not
//! depend on the previous value, and literal text must not change.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tapfan::{
    internals::{
        ExtraField, FieldValues, Labels, Origin, Rewrite, Tapped, Template, VALUE_LIMIT, Value,
        validate,
    },
    proto::Dnstap,
};

/// Every placeholder.
const ALL: &str = "{type}{class}{name}{proto}{remote}{port}{local}{size}{>id}{>opcode}{>do}{>bufsize}{rcode}{rsize}{>rflags}{duration}{/tap/listener}{/tap/peer}{/tap/identity}{/tap/version}{/tap/extra}{/a/b}";

fuzz_target!(|data: &[u8]| {
    // The input has three parts: the length of the template's text, the text, and the frame. The length 0 selects the
    // text `ALL`.
    let Some((&length, rest)) = data.split_first() else {
        return;
    };
    let (text, frame) = rest.split_at(usize::from(length).min(rest.len()));
    let text = String::from_utf8_lossy(text);
    let template = Template::new(if length == 0 { ALL } else { &text });
    let origin = Origin {
        listener: "in",
        peer: "192.0.2.1:7",
    };
    // The bytes of the frame also serve as metadata, because the code must accept any bytes as metadata.
    let tapped = Tapped {
        frame,
        origin: Some(origin),
        labels: Labels::of(frame),
        sample_one_in: 0,
    };

    let mut value = Value::default();
    template.evaluate(&tapped, &mut value);
    assert!(value.bytes().len() <= VALUE_LIMIT);
    let first = value.bytes().to_vec();
    Template::new("another value").evaluate(&tapped, &mut value);
    template.evaluate(&tapped, &mut value);
    assert_eq!(value.bytes(), first, "the same again");
    if template.is_literal() {
        assert_eq!(first, template.text().as_bytes());
    }
    if validate(frame).is_ok() {
        let mut out = BytesMut::new();
        let rewrite = Rewrite::new(true, &FieldValues::default());
        let mut field = ExtraField::default();
        field.set(&first);
        rewrite
            .apply_with_extra(frame, &field, &mut out)
            .expect("a valid frame");
        let tap = Dnstap::decode(out.as_ref()).expect("rewritten frames decode");
        assert_eq!(tap.extra, Some(first));
    }
});
