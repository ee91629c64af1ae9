//! Fuzzes the output formats of `tapfan dump`. For any frame, each format is well-formed, and its length is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapfan::internals::in_every_form;

/// The largest length of an output. The text of each of the two DNS messages has at most 4 MiB plus one record, and the
/// escapes of JSON make it longer.
const LONGEST: usize = 64 << 20;

fn check(frame: &[u8]) {
    let Some(written) = in_every_form(frame) else {
        return;
    };
    let [quiet, yaml, json, flat] = written.try_into().expect("four forms");
    assert_eq!(quiet.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(yaml.ends_with(b"---\n"));
    for object in [&json, &flat] {
        let value: serde_json::Value = serde_json::from_slice(object).expect("JSON");
        assert!(value["type"].is_string());
        assert_eq!(object.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
    for text in [quiet, yaml, json, flat] {
        assert!(
            text.len() < LONGEST,
            "{} bytes of {}",
            text.len(),
            frame.len()
        );
        let text = String::from_utf8(text).expect("UTF-8");
        let is_plain = |char: char| matches!(char, '\n' | '\t') || !char.is_ascii_control();
        assert!(text.chars().all(|char| is_plain(char) || char == '\x7f'));
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).expect("7 bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("7 bits"));
    bytes
}

fuzz_target!(|data: &[u8]| {
    check(data);
    // Also checks a `CLIENT_RESPONSE` whose DNS message is the input.
    let message = [b"\x08\x06\x72".as_slice(), &varint(data.len()), data].concat();
    let frame = [
        b"\x72".as_slice(),
        &varint(message.len()),
        &message,
        b"\x78\x01",
    ]
    .concat();
    check(&frame);
});
