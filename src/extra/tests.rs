//! Tests of the values of placeholders in handmade frames. `tests/templates.rs` uses recorded frames.

use prost::Message as _;

use super::*;
use crate::dnstap::proto::{Dnstap, Message};

/// A query for `wWw.Example.` with an OPT record. The record has the UDP size 1232 and the bit `DO`.
const QUERY: &[u8] = b"\x04\x1d\x01\x20\0\x01\0\0\0\0\0\x01\x03wWw\x07Example\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";
/// The response to `QUERY`, with the code `NXDOMAIN`.
const RESPONSE: &[u8] = b"\x04\x1d\x85\xb3\0\x01\0\0\0\0\0\0\x03wWw\x07Example\0\0\x1c\0\x01";

/// All placeholders of CoreDNS, in the order of their table in the documentation.
const ALL: &str = "{type} {class} {name} {proto} {remote} {port} {local} {size} {>id} {>opcode} {>do} {>bufsize} {rcode} {rsize} {>rflags} {duration}";

fn query() -> Message {
    Message {
        r#type: 5,
        socket_protocol: Some(1),
        query_address: Some(vec![192, 0, 2, 1]),
        query_port: Some(40_212),
        response_address: Some(vec![
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
        ]),
        response_port: Some(53),
        query_time_sec: Some(1_700_000_000),
        query_time_nsec: Some(999_000_000),
        query_message: Some(QUERY.into()),
        ..Message::default()
    }
}

fn response() -> Message {
    Message {
        r#type: 6,
        query_message: None,
        response_time_sec: Some(1_700_000_001),
        response_time_nsec: Some(120_000),
        response_message: Some(RESPONSE.into()),
        ..query()
    }
}

fn frame(message: Message) -> Vec<u8> {
    let tap = Dnstap {
        r#type: 1,
        message: Some(message),
        ..Dnstap::default()
    };
    tap.encode_to_vec()
}

fn evaluate(template: &str, tapped: &Tapped<'_>) -> String {
    let mut value = Value::default();
    Template::new(template).evaluate(tapped, &mut value);
    String::from_utf8(value.bytes().to_vec()).expect("text")
}

fn value(template: &str, message: Message) -> String {
    evaluate(
        template,
        &Tapped {
            frame: &frame(message),
            ..Tapped::default()
        },
    )
}

/// Returns the text of `{name} {type} {class}` for a question in the wire format of DNS.
fn question(question: &[u8]) -> String {
    let header = b"\0\0\0\0\0\x01\0\0\0\0\0\0";
    let query_message = Some([header, question].concat());
    value(
        "{name} {type} {class}",
        Message {
            query_message,
            ..query()
        },
    )
}

#[test]
fn a_query_has_the_values_of_a_query() {
    assert_eq!(
        value(ALL, query()),
        "AAAA IN www.example. udp 192.0.2.1 40212 [2001:db8::53] 40 1053 0 true 1232 - - - -"
    );
}

#[test]
fn a_response_has_the_values_of_a_response_and_what_it_repeats_of_the_query() {
    assert_eq!(
        value(ALL, response()),
        "AAAA IN www.example. udp 192.0.2.1 40212 [2001:db8::53] - 1053 0 - - NXDOMAIN 29 qr,aa,rd,ra,ad,cd 0.00112s"
    );
    let both = Message {
        query_message: Some(QUERY.into()),
        ..response()
    };
    assert_eq!(
        value("{size} {>do} {>bufsize} {rcode}", both),
        "40 true 1232 NXDOMAIN"
    );
}

#[test]
fn what_is_not_in_a_frame_is_a_dash() {
    let dashes = ["-"; 16].join(" ");
    assert_eq!(
        value(
            ALL,
            Message {
                r#type: 5,
                ..Message::default()
            }
        ),
        dashes
    );
    for no_dnstap in [b"".as_slice(), b"\xff\xff", b"\x0a\x05a"] {
        let tapped = Tapped {
            frame: no_dnstap,
            ..Tapped::default()
        };
        assert_eq!(evaluate(ALL, &tapped), dashes);
    }
}

#[test]
fn a_malformed_dns_message_has_the_values_that_can_be_read() {
    let cut = |length: usize| Message {
        query_message: Some(QUERY[..length].into()),
        ..query()
    };
    let wire = "{size} {>id} {>opcode} {name} {type} {>do} {>bufsize}";
    assert_eq!(value(wire, cut(0)), "0 - - - - - -");
    assert_eq!(value(wire, cut(11)), "11 - - - - - -");
    assert_eq!(value(wire, cut(12)), "12 1053 0 - - - -");
    assert_eq!(value(wire, cut(29)), "29 1053 0 www.example. AAAA - -");
    let cut = Message {
        response_message: Some(RESPONSE[..12].into()),
        ..response()
    };
    assert_eq!(
        value("{rcode} {rsize} {>rflags} {name}", cut),
        "NXDOMAIN 12 qr,aa,rd,ra,ad,cd -"
    );
}

#[test]
fn the_buffer_is_at_least_512_bytes_and_65535_over_tcp() {
    let plain = [&QUERY[..11], b"\0", &QUERY[12..29]].concat();
    let sized = |protocol, http_protocol, message: &[u8]| Message {
        socket_protocol: protocol,
        http_protocol,
        query_message: Some(message.into()),
        ..query()
    };
    let small = [&QUERY[..32], b"\0\x64", &QUERY[34..]].concat();
    for (protocol, http, message, expected) in [
        (Some(1), None, plain.as_slice(), "udp false 512"),
        (Some(1), None, &small, "udp true 512"),
        (Some(1), None, QUERY, "udp true 1232"),
        (Some(2), None, &plain, "tcp false 65535"),
        (Some(2), None, QUERY, "tcp true 65535"),
        (Some(2), None, b"", "tcp - 65535"),
        (Some(3), None, QUERY, "tcp true 65535"),
        (Some(4), None, QUERY, "tcp true 65535"),
        (Some(4), Some(2), QUERY, "tcp true 65535"),
        (Some(4), Some(3), QUERY, "udp true 1232"),
        (Some(5), None, QUERY, "udp true 1232"),
        (Some(6), None, QUERY, "tcp true 65535"),
        (Some(7), None, QUERY, "udp true 1232"),
        (None, None, QUERY, "- true 1232"),
    ] {
        let message = sized(protocol, http, message);
        assert_eq!(
            value("{proto} {>do} {>bufsize}", message),
            expected,
            "{protocol:?}"
        );
    }
}

#[test]
fn names_are_escaped_as_coredns_does() {
    assert_eq!(question(b"\0\0\x01\0\x01"), ". A IN");
    assert_eq!(
        question(b"\x0fa.b c'@;()\"\\\x00\x7f\xdf\x03ZzZ\0\x00\xff\0\x01"),
        r#"a\.b\ c\'\@\;\(\)\"\\\000\127\223.zzz. ANY IN"#
    );
    assert_eq!(question(b"\x01a\0\x27\x0f\0\x2a"), "a. TYPE9999 CLASS42");
    let longest = [
        [b"\x3f".as_slice(), &[0xff; 63]].concat().repeat(3),
        [b"\x3d".as_slice(), &[0xff; 61]].concat(),
    ]
    .concat();
    let longest = question(&[longest.as_slice(), b"\0\0\x01\0\xff"].concat());
    assert_eq!(longest.len(), 4 * 250 + 4 + " A CLASS255".len());
}

#[test]
fn response_codes_take_their_upper_bits_from_the_opt_record() {
    let response = |code: u8, extended: u8| {
        let opt = [b"\0\0\x29\x04\xd0".as_slice(), &[extended], b"\0\0\0\0\0"].concat();
        let message = [b"\0\0\x80", [code].as_slice(), b"\0\0\0\0\0\0\0\x01", &opt].concat();
        value(
            "{rcode} {>rflags}",
            Message {
                response_message: Some(message),
                ..response()
            },
        )
    };
    assert_eq!(response(0, 0), "NOERROR qr");
    assert_eq!(response(4, 0), "NOTIMP qr");
    assert_eq!(response(0, 1), "BADVERS qr");
    assert_eq!(response(7, 1), "BADCOOKIE qr");
    assert_eq!(response(12, 0), "12 qr");
    assert_eq!(response(0x4f, 0xff), "4095 qr,z");
}

#[test]
fn a_duration_is_exact() {
    let after = |seconds: u64, nanoseconds| {
        let times = Message {
            query_time_sec: Some(10),
            query_time_nsec: Some(0),
            response_time_sec: Some(seconds),
            response_time_nsec: nanoseconds,
            ..response()
        };
        value("{duration}", times)
    };
    assert_eq!(after(10, None), "0s");
    assert_eq!(after(10, Some(1)), "0.000000001s");
    assert_eq!(after(10, Some(35_480)), "0.00003548s");
    assert_eq!(after(13, Some(500_000_000)), "3.5s");
    assert_eq!(
        after(u64::MAX, Some(999_999_999)),
        "18446744073709551605.999999999s"
    );
    assert_eq!(after(9, Some(999_999_999)), "-");
    assert_eq!(after(10, Some(1_000_000_000)), "-");
}

#[test]
fn values_that_the_schema_does_not_have_are_absent() {
    let odd = Message {
        socket_protocol: Some(9),
        query_address: Some(vec![1, 2, 3]),
        response_address: Some(Vec::new()),
        query_port: Some(65_536),
        ..query()
    };
    assert_eq!(value("{proto} {remote} {local} {port}", odd), "- - - -");
}

#[test]
fn metadata_is_that_of_the_message_and_its_source() {
    let tap = Dnstap {
        identity: Some(b"ns1".to_vec()),
        version: Some(Vec::new()),
        extra: None,
        r#type: 1,
        message: Some(query()),
    };
    let frame = tap.encode_to_vec();
    let mut metadata = Metadata::new();
    metadata.set("forward/upstream", "192.0.2.53:53");
    metadata.set("view/name", "");
    let origin = Origin {
        listener: "tcp://127.0.0.1:6000",
        peer: "192.0.2.9:7",
    };
    let mut tapped = Tapped {
        frame: &frame,
        origin: Some(origin),
        labels: metadata.labels(),
        sample_one_in: 0,
    };
    let own = "{/tap/listener} {/tap/peer} {/tap/identity} {/tap/version} {/tap/extra}";
    assert_eq!(
        evaluate(own, &tapped),
        "tcp://127.0.0.1:6000 192.0.2.9:7 ns1  -"
    );
    let labels = "{/forward/upstream}|{/view/name}|{/zone/name}|{/}";
    assert_eq!(evaluate(labels, &tapped), "192.0.2.53:53||-|-");
    tapped.origin = None;
    assert_eq!(evaluate(own, &tapped), "- - ns1  -");
}

#[test]
fn other_text_stays_as_written() {
    assert_eq!(
        value("{{remote}} {nmae} {\"a\":1} } {", query()),
        "{192.0.2.1} {nmae} {\"a\":1} } {"
    );
    assert_eq!(value("", query()), "");
}

#[test]
fn the_sample_of_the_sink_is_filled_in() {
    for (sample_one_in, expected) in [(20, "1/20 {sample"), (1, "1/1 {sample"), (0, "1/1 {sample")]
    {
        let tapped = Tapped {
            sample_one_in,
            ..Tapped::default()
        };
        assert_eq!(evaluate("{sample} {sample", &tapped), expected);
    }
    assert!(Template::new("a{sample}").needs_sample() && !Template::new("{sample").needs_sample());
}

#[test]
fn a_value_replaces_the_one_before_and_is_bounded() {
    let frame = frame(query());
    let tapped = Tapped {
        frame: &frame,
        ..Tapped::default()
    };
    let mut value = Value::default();
    Template::new(&"{name}".repeat(682)).evaluate(&tapped, &mut value);
    assert_eq!(value.bytes().len(), VALUE_LIMIT);
    Template::new("{type}").evaluate(&tapped, &mut value);
    assert_eq!(value.bytes(), b"AAAA");
}
