//! Fuzzes the validation and the rewriting of frames, and compares both with prost. prost must decode every valid
//! frame. An edit must have the same effect as on a decoded message, and must keep fields outside the schema.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tapfan::{
    internals::{FieldValues, Malformed, Rewrite, message_type, validate},
    proto::Dnstap,
};

/// Derives the two settings of a rewrite (`full`, and the fields to set) from the first byte of an input.
fn wanted(choice: u8) -> (bool, FieldValues) {
    let value = |bit: u8, value: &'static [u8]| {
        (choice & (1 << bit) != 0).then(|| {
            if choice & 1 << 4 == 0 {
                Bytes::from_static(value)
            } else {
                // This value is so long that its length takes two bytes.
                Bytes::from(value.repeat(100))
            }
        })
    };
    let edits = FieldValues {
        identity: value(1, b"edge-1"),
        version: value(2, b"tapfan"),
        extra: value(3, b""),
    };
    (choice & 1 != 0, edits)
}

fn by_prost(full: bool, edits: &FieldValues, frame: &[u8]) -> Dnstap {
    let mut tap = Dnstap::decode(frame).expect("valid frames decode");
    if let (Some(message), false) = (&mut tap.message, full) {
        message.query_message = None;
        message.response_message = None;
    }
    for (field, edit) in [
        (&mut tap.identity, &edits.identity),
        (&mut tap.version, &edits.version),
        (&mut tap.extra, &edits.extra),
    ] {
        if let Some(value) = edit {
            *field = Some(value.to_vec());
        }
    }
    tap
}

/// Returns whether prost can accept a frame that `validate` refuses with this error. The documentation of `validate`
/// says why.
fn is_stricter_than_prost(error: Malformed) -> bool {
    use Malformed as M;
    matches!(
        error,
        // A compressed frame can parse as unknown fields. But in that case, it does not have the fields that dnstap
        // requires.
        M::Compressed { .. }
            | M::Missing { .. }
            | M::Tag { .. }
            | M::Length { .. }
            | M::Nesting { .. }
    )
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Returns the encoded fields of `bytes` whose number is outside the schema. If `nested` is set, also returns such
/// fields of nested messages.
fn unknown(mut bytes: &[u8], lowest: u64, nested: bool) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut depth = 0_u32;
    let mut group = bytes;
    while !bytes.is_empty() {
        let start = bytes;
        let tag = varint(&mut bytes).expect("validated") & 0xffff_ffff;
        let mut content = None;
        match tag & 7 {
            0 => drop(varint(&mut bytes)),
            1 => bytes = &bytes[8..],
            2 => {
                let length =
                    usize::try_from(varint(&mut bytes).expect("validated")).expect("64 bits");
                content = Some(&bytes[..length]);
                bytes = &bytes[length..];
            }
            3 => {
                if depth == 0 {
                    group = start;
                }
                depth += 1;
                continue;
            }
            4 => {
                depth -= 1;
                if depth == 0 {
                    found.push(group[..group.len() - bytes.len()].to_vec());
                }
                continue;
            }
            5 => bytes = &bytes[4..],
            other => panic!("wire type {other} passed"),
        }
        if depth > 0 {
            continue;
        }
        if tag >> 3 >= lowest {
            found.push(start[..start.len() - bytes.len()].to_vec());
        } else if nested && tag >> 3 == 14 {
            found.extend(unknown(content.expect("a message"), 17, false));
        }
    }
    found
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, frame)) = data.split_first() else {
        return;
    };
    let (full, edits) = wanted(*choice);
    let mut out = BytesMut::from(b"before".as_slice());
    let rewritten = Rewrite::new(full, &edits).apply(frame, &mut out);
    assert!(out.starts_with(b"before"));
    let out = &out[6..];
    match validate(frame) {
        Ok(()) => {
            assert_eq!(rewritten, Ok(()));
            assert_eq!(validate(out), Ok(()));
            assert_eq!(message_type(out), message_type(frame));
            let decoded = Dnstap::decode(out).expect("rewritten frames decode");
            assert_eq!(decoded, by_prost(full, &edits, frame));
            assert_eq!(unknown(out, 16, true), unknown(frame, 16, true));
            if full
                && [&edits.identity, &edits.version, &edits.extra]
                    .iter()
                    .all(|it| it.is_none())
            {
                assert_eq!(out, frame, "unchanged without edits");
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if !is_stricter_than_prost(error) {
                assert!(Dnstap::decode(frame).is_err(), "prost takes it: {error}");
            }
        }
    }
});
