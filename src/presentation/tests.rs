//! Frames in the formats of golang-dnstap, compared with the output of `dnstap` 0.4.0 for
//! `tests/data/dump/sample.fstrm`:
//!
//! ```sh
//! TZ=UTC dnstap -r sample.fstrm -q >sample.quiet   # and -y >sample.yaml, -j >sample.json
//! ```
//!
//! The capture has frames from BIND, Unbound and dnsdist. Nine more frames were made by hand; they lack fields or have
//! unusual fields.

use super::{Flat, Form, Json, Quiet, Yaml, time::LocalClock};
use crate::{capture::FileReader, dnstap::RawFrame};

const SAMPLE: &[u8] = include_bytes!("../../tests/data/dump/sample.fstrm");

fn written(form: &mut impl Form, capture: &[u8]) -> String {
    let mut out = Vec::new();
    for frame in FileReader::new(capture).expect("a capture") {
        let frame = frame.expect("whole");
        form.write(&RawFrame::read(&frame).expect("dnstap"), &mut out);
    }
    String::from_utf8(out).expect("UTF-8")
}

fn frame(form: &mut impl Form, frame: &[u8]) -> String {
    let mut out = Vec::new();
    form.write(&RawFrame::read(frame).expect("dnstap"), &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn quiet() -> Quiet {
    Quiet::by(LocalClock::utc())
}

fn assert_same(written: &str, expected: &str) {
    for (number, (ours, theirs)) in (1..).zip(written.lines().zip(expected.lines())) {
        assert_eq!(ours, theirs, "line {number}");
    }
    assert_eq!(written.len(), expected.len());
}

#[test]
fn quiet_text_is_that_of_golang_dnstap() {
    let expected = include_str!("../../tests/data/dump/sample.quiet");
    assert_same(&written(&mut quiet(), SAMPLE), expected);
}

#[test]
fn yaml_is_that_of_golang_dnstap() {
    let expected = include_str!("../../tests/data/dump/sample.yaml");
    assert_same(&written(&mut Yaml::default(), SAMPLE), expected);
}

#[test]
fn json_is_that_of_golang_dnstap() {
    let expected = include_str!("../../tests/data/dump/sample.json");
    assert_same(&written(&mut Json::default(), SAMPLE), expected);
}

#[test]
fn flat_json_has_a_field_for_each_fact() {
    let text = written(&mut Flat::default(), SAMPLE);
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(object["type"].is_string());
    }
    let answer = text
        .lines()
        .find(|line| line.contains("\"answer\""))
        .expect("an answer");
    insta::assert_snapshot!(answer);
    let odd = text.lines().nth(36).expect("a frame made by hand");
    insta::assert_snapshot!(odd);
}

/// A message with a type, a protocol and addresses that the schema does not allow. Its DNS messages are cut off.
const ODD: &[u8] =
    b"\x72\x19\x08\x63\x10\x09\x18\x09\x22\x03abc\x2a\x00\x52\x03\0\0\0\x72\x01\0\x5a\x02\x05a\x78\x01";

#[test]
fn values_that_the_schema_does_not_have_are_shown_as_they_are() {
    insta::assert_snapshot!("quiet", frame(&mut quiet(), ODD));
    insta::assert_snapshot!("yaml", frame(&mut Yaml::default(), ODD));
    insta::assert_snapshot!("json", frame(&mut Json::default(), ODD));
    insta::assert_snapshot!("flat", frame(&mut Flat::default(), ODD));
}

#[test]
fn a_frame_that_is_no_message_is_named() {
    let other = b"\x0a\x02ns\x78\x02";
    let text = frame(&mut quiet(), other);
    assert_eq!(text, "[not a message: Dnstap.type 2]\n");
    let text = frame(&mut Yaml::default(), other);
    assert_eq!(text, "type: 2\nidentity: \"ns\"\n---\n");
    let text = frame(&mut Json::default(), other);
    assert_eq!(text, "{\"type\":\"2\",\"identity\":\"ns\"}\n");
    let text = frame(&mut Flat::default(), other);
    assert_eq!(text, "{\"type\":\"2\",\"identity\":\"ns\"}\n");
}

/// tapfan has two letters for every message type. golang-dnstap writes none for the types of stub resolvers, although
/// its help lists them.
#[test]
fn every_message_type_has_two_letters() {
    let mut letters = String::new();
    for number in 1..=14 {
        let line = frame(&mut quiet(), &[0x72, 2, 8, number, 0x78, 1]);
        letters += line.split(' ').nth(1).expect("letters");
        letters.push(' ');
    }
    assert_eq!(letters, "AQ AR RQ RR CQ CR FQ FR SQ SR TQ TR UQ UR ");
}
