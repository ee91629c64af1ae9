//! Tests that compare the text of messages with the text that miekg/dns writes. `tests/data/dns/generate.go` wrote both
//! the messages and the texts.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{rdata, write};
use crate::dns::{Message, Section};

/// A message, and its text.
struct Sample {
    wire: Vec<u8>,
    text: String,
}

fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for line in include_str!("../../../tests/data/dns/records.txt").lines() {
        if let Some(wire) = line.strip_prefix("wire ") {
            let wire = data_encoding::HEXLOWER.decode(wire.as_bytes());
            samples.push(Sample {
                wire: wire.expect("hexadecimal"),
                text: String::new(),
            });
        } else if let (Some(sample), Some(line)) = (samples.last_mut(), line.strip_prefix('|')) {
            sample.text += line;
            sample.text.push('\n');
        }
    }
    samples
}

/// Applies the intended differences from miekg/dns to a text of miekg/dns. `docs/dump.md` gives the reason for each
/// difference.
fn with_differences(text: &str) -> String {
    text.replace("status: BADSIG", "status: BADVERS")
        .replace("opcode: , ", "opcode: OPCODE8, ")
}

fn written(wire: &[u8]) -> Result<String, String> {
    let mut out = b"before".to_vec();
    let result = write(wire, &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    let out = out.strip_prefix("before").expect("appended").to_owned();
    match result {
        Ok(()) => Ok(out),
        Err(error) => {
            assert_eq!(out, "", "nothing is appended");
            Err(error.to_string())
        }
    }
}

#[test]
fn messages_are_written_as_golang_dnstap_does() {
    let samples = samples();
    assert!(samples.len() > 120, "{}", samples.len());
    for Sample { wire, text } in samples {
        let written = written(&wire).expect("whole");
        assert_eq!(written, with_differences(&text));
    }
}

#[test]
fn every_type_with_a_row_has_a_sample() {
    let mut found = BTreeSet::new();
    for sample in samples() {
        let message = Message::read(&sample.wire).expect("whole");
        for section in [Section::Answer, Section::Authority, Section::Additional] {
            found.extend(message.records(section).map(|record| record.rtype));
        }
    }
    for record_type in rdata::types() {
        // Record type 10 needs no sample, because its text intentionally differs from that of miekg/dns.
        let differs = record_type == 10;
        assert!(found.contains(&record_type) || differs, "{record_type}");
    }
}

#[test]
fn bytes_that_a_terminal_would_obey_are_escaped() {
    let mut null = b"\0\x01\x80\0\0\0\0\x01\0\0\0\0\0\0\x0a\0\x01\0\0\0\0\0\x02\x1b[".to_vec();
    insta::assert_snapshot!(written(&null).expect("whole"), @r"
    ;; opcode: QUERY, status: NOERROR, id: 1
    ;; flags: qr; QUERY: 0, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0

    ;; ANSWER SECTION:
    ;.	0	IN	NULL	\# 2 1b5b
    ");
    // Control bytes in the texts of two EDNS options: EDE (Extended DNS Error) and NSID (name server identifier).
    null.truncate(12);
    null[7] = 0;
    null[11] = 1;
    null.extend_from_slice(
        b"\0\0\x29\x04\xd0\0\0\0\0\0\x12\0\x0f\0\x06\0\x01\x1b[\xff\x07\0\x03\0\x04\x1ba\x9b\xe9",
    );
    insta::assert_snapshot!(written(&null).expect("whole"), @r"
    ;; opcode: QUERY, status: NOERROR, id: 1
    ;; flags: qr; QUERY: 0, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 1

    ;; OPT PSEUDOSECTION:
    ; EDNS: version 0; flags: ; udp: 1232
    ; EDE: 1 (Unsupported DNSKEY Algorithm): (\027[\255\007)
    ; NSID: 1b619be9  (\027)(a)(\155)(é)
    ");
}

#[test]
fn errors_say_where_and_why() {
    let message = |record: &[u8]| [b"\0\x01\x80\0\0\0\0\x01\0\0\0\0\0".as_slice(), record].concat();
    let all: Vec<String> = [
        message(b"\0\x01\0\x01\0\0\0\0\0\x03abc"),
        message(b"\0\x01\0\x01\0\0\0\0\0\x05abcde"),
        message(b"\0\x0f\0\x01\0\0\0\0\0\x03\0\x01\x05"),
        message(b"\0\x10\0\x01\0\0\0\0\0\x03\x03ab"),
        message(b"\0\x2f\0\x01\0\0\0\0\0\x04\0\0\x21\x00"),
        message(b"\0\x2f\0\x01\0\0\0\0\0\x07\0\x01\x01\x40\0\x01\x40"),
        message(b"\0\x41\0\x01\0\0\0\0\0\x08\0\x01\0\0\x03\0\x01\x35"),
        message(b"\0\x2a\0\x01\0\0\0\0\0\x05\0\x01\x18\x01\0"),
        message(b"\0\x2a\0\x01\0\0\0\0\0\x05\0\x03\x18\x01\x01"),
    ]
    .iter()
    .map(|wire| written(wire).expect_err("broken"))
    .collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    byte 23: a field is longer than its record
    byte 27: the record is longer than its fields
    byte 25: the message ends in the middle of the data of a record
    byte 24: a field is longer than its record
    byte 24: a window of a type bitmap has a length that is not allowed
    byte 27: the windows of a type bitmap are not in order
    byte 26: a port is not two bytes
    byte 23: an address prefix ends with a zero byte
    byte 23: an address prefix is neither IPv4 nor IPv6
    ");
}

proptest! {
    /// Tests record data with random bytes, in a message that is otherwise valid.
    #[test]
    fn any_data_of_any_type_is_written_or_refused(
        record_type in prop::sample::select(rdata::types().chain([65280]).collect::<Vec<u16>>()),
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut wire = b"\0\x01\x80\0\0\0\0\x01\0\0\0\0\0".to_vec();
        wire.extend_from_slice(&record_type.to_be_bytes());
        wire.extend_from_slice(b"\0\x01\0\0\0\0");
        wire.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        wire.extend_from_slice(&data);
        if let Ok(text) = written(&wire) {
            let is_plain = |char: char| char == '\n' || char == '\t' || !char.is_control();
            prop_assert!(text.chars().all(is_plain), "{text:?}");
        }
    }
}
