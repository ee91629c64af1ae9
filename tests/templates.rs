//! Templates of `extra` on recorded queries and responses of BIND, Unbound, dnsdist and CoreDNS.
//!
//! The recording of CoreDNS contains the values that CoreDNS itself computed for the same template. The tests expect
//! tapfan to compute the same values. For the other servers, the expected values come from prost and a minimal DNS
//! parser.

use prost::Message as _;
use tapfan::{
    capture::FileReader,
    internals::{Tapped, Template, Value},
    proto::{Dnstap, Message},
};

/// The template that `tests/data/coredns.sh` gave to CoreDNS.
const LINE: &str = "{type}|{class}|{name}|{proto}|{remote}|{port}|{local}|{size}|{>id}|{>opcode}|{>do}|{>bufsize}|{rcode}|{rsize}|{>rflags}|{duration}|{/forward/upstream}|{/none/none}|{/}|{nmae}|{{port}}|}";

/// The names of the values in [`LINE`], in their order.
const NAMES: [&str; 22] = [
    "type", "class", "name", "proto", "remote", "port", "local", "size", "id", "opcode", "do",
    "bufsize", "rcode", "rsize", "rflags", "duration", "upstream", "none", "empty", "unknown",
    "braces", "brace",
];

const CLIENT_QUERY: i32 = 5;
const CLIENT_RESPONSE: i32 = 6;
const FORWARDER_QUERY: i32 = 7;

fn frames(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/data/{name}.fstrm", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).expect("a recording");
    let frames = FileReader::new(file.as_slice()).expect("a file of dnstap");
    frames.map(|frame| frame.expect("whole").to_vec()).collect()
}

fn evaluate(template: &Template, frame: &[u8]) -> String {
    let mut value = Value::default();
    let tapped = Tapped {
        frame,
        ..Tapped::default()
    };
    template.evaluate(&tapped, &mut value);
    String::from_utf8(value.bytes().to_vec()).expect("text")
}

/// Returns the placeholders whose values CoreDNS knows although a frame of this type does not contain them.
fn unknown_in(kind: i32) -> &'static [&'static str] {
    match kind {
        CLIENT_QUERY => &["local"],
        CLIENT_RESPONSE => &["local", "size", "do", "bufsize"],
        // CoreDNS fills in the values of its client instead of those of its own connection to the upstream.
        FORWARDER_QUERY => &["local", "remote", "port", "proto", "bufsize", "braces"],
        _ => &[
            "local", "remote", "port", "proto", "size", "do", "bufsize", "braces",
        ],
    }
}

#[test]
fn values_are_those_of_coredns_where_both_know_them() {
    let template = Template::new(LINE);
    let (mut compared, mut kinds) = (0, [0; 9]);
    for frame in frames("coredns") {
        let tap = Dnstap::decode(frame.as_slice()).expect("dnstap");
        let message = tap.message.expect("a message");
        let theirs = String::from_utf8(tap.extra.expect("an extra")).expect("text");
        let ours = evaluate(&template, &frame);
        let [theirs, ours] = [&theirs, &ours].map(|line| line.split('|').collect::<Vec<_>>());
        assert_eq!((theirs.len(), ours.len()), (NAMES.len(), NAMES.len()));
        for ((name, theirs), ours) in NAMES.iter().zip(&theirs).zip(&ours) {
            // These values are not compared. CoreDNS evaluates the placeholders of the response before there is a
            // response, and tapfan has no metadata `upstream`.
            let is_later = matches!(
                *name,
                "rcode" | "rsize" | "rflags" | "duration" | "upstream"
            );
            if is_later || unknown_in(message.r#type).contains(name) {
                continue;
            }
            assert_eq!(ours, theirs, "{name} of {message:?}");
            compared += 1;
        }
        kinds[usize::try_from(message.r#type).expect("a type")] += 1;
    }
    assert!(kinds[5..=8].iter().all(|count| *count > 20), "{kinds:?}");
    assert!(compared > 3000, "only {compared} values");
}

/// CoreDNS evaluates the placeholders of the response before there is a response. tapfan takes their values from the
/// frame.
#[test]
fn responses_of_coredns_have_values_that_it_leaves_out() {
    let template = Template::new("{local} {rcode} {rsize} {>rflags} {duration}");
    let mut codes = std::collections::BTreeSet::new();
    for frame in frames("coredns") {
        let tap = Dnstap::decode(frame.as_slice()).expect("dnstap");
        let message = tap.message.expect("a message");
        let value = evaluate(&template, &frame);
        let [_, rcode, rsize, rflags, duration] = value.split(' ').collect::<Vec<_>>()[..] else {
            panic!("five values: {value}");
        };
        if let Some(response) = &message.response_message {
            assert_eq!(rsize, response.len().to_string());
            assert!(rflags.starts_with("qr"), "{rflags}");
            assert_eq!(duration, seconds(&message));
            codes.insert(rcode.to_owned());
        } else {
            assert_eq!((rcode, rsize, rflags, duration), ("-", "-", "-", "-"));
        }
    }
    let expected = ["NOERROR", "NXDOMAIN", "REFUSED"];
    assert!(
        expected.iter().all(|code| codes.contains(*code)),
        "{codes:?}"
    );
}

/// Returns the duration of a message. It is computed with floating-point numbers, which are exact enough for a
/// recording.
fn seconds(message: &Message) -> String {
    let time = |seconds: Option<u64>, nanoseconds: Option<u32>| {
        Some(i128::from(seconds?) * 1_000_000_000 + i128::from(nanoseconds?))
    };
    let query = time(message.query_time_sec, message.query_time_nsec);
    let response = time(message.response_time_sec, message.response_time_nsec);
    let (Some(query), Some(response)) = (query, response) else {
        return "-".to_owned();
    };
    let duration = std::time::Duration::from_nanos(
        u64::try_from(response - query).expect("the response is later"),
    );
    format!("{}s", duration.as_secs_f64())
}

fn address(octets: Option<&[u8]>) -> String {
    match octets {
        Some(octets) if octets.len() == 4 => {
            let parts: Vec<String> = octets.iter().map(u8::to_string).collect();
            parts.join(".")
        }
        Some(octets) => {
            let octets = <[u8; 16]>::try_from(octets).expect("an IPv6 address");
            format!("[{}]", std::net::Ipv6Addr::from(octets))
        }
        None => "-".to_owned(),
    }
}

/// Returns the question of a DNS message: the name, the number of the type, and the number of the class.
fn question(message: &[u8]) -> (String, u16, u16) {
    let (mut name, mut at) = (String::new(), 12);
    while message[at] != 0 {
        let length = usize::from(message[at]);
        let label = &message[at + 1..=at + length];
        name.extend(
            label
                .iter()
                .map(|octet| char::from(octet.to_ascii_lowercase())),
        );
        name.push('.');
        at += length + 1;
    }
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    (name, number(at + 1), number(at + 3))
}

/// Returns the type, and the values that a frame of a query or a response must have.
fn expected(message: &Message) -> String {
    let [query, response] = [&message.query_message, &message.response_message];
    let either = query.as_ref().or(response.as_ref()).expect("a DNS message");
    let (name, qtype, class) = question(either);
    let qtype = match qtype {
        1 => "A".to_owned(),
        2 => "NS".to_owned(),
        6 => "SOA".to_owned(),
        12 => "PTR".to_owned(),
        15 => "MX".to_owned(),
        16 => "TXT".to_owned(),
        28 => "AAAA".to_owned(),
        33 => "SRV".to_owned(),
        48 => "DNSKEY".to_owned(),
        65 => "HTTPS".to_owned(),
        255 => "ANY".to_owned(),
        other => format!("TYPE{other}"),
    };
    assert_eq!(class, 1, "all recordings are of class IN");
    let id = u16::from_be_bytes([either[0], either[1]]);
    let length =
        |message: Option<&Vec<u8>>| message.map_or("-".to_owned(), |it| it.len().to_string());
    // All recordings are over UDP. OPT is the last record of a message, and it contains no options, because neither
    // dnsperf nor the servers send any.
    let (dnssec, size) = match query {
        Some(query) if query[11] == 0 => ("false".to_owned(), "512".to_owned()),
        Some(query) => {
            let opt = &query[query.len() - 11..];
            assert_eq!(opt[..3], [0, 0, 41], "an OPT record without options");
            let size = u16::from_be_bytes([opt[3], opt[4]]).max(512);
            ((opt[7] & 0x80 != 0).to_string(), size.to_string())
        }
        None => ("-".to_owned(), "-".to_owned()),
    };
    let rcode = match response.as_ref().map(|response| response[3] & 15) {
        None => "-",
        Some(0) => "NOERROR",
        Some(2) => "SERVFAIL",
        Some(3) => "NXDOMAIN",
        Some(5) => "REFUSED",
        Some(other) => panic!("response code {other}"),
    };
    let flags = response.as_ref().map_or("-".to_owned(), |response| {
        let bits = u16::from_be_bytes([response[2], response[3]]);
        let names = [
            (15, "qr"),
            (10, "aa"),
            (9, "tc"),
            (8, "rd"),
            (7, "ra"),
            (6, "z"),
            (5, "ad"),
            (4, "cd"),
        ];
        let set = names.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
        set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    });
    let port = message
        .query_port
        .map_or("-".to_owned(), |port| port.to_string());
    [
        qtype,
        "IN".to_owned(),
        name,
        "udp".to_owned(),
        address(message.query_address.as_deref()),
        port,
        address(message.response_address.as_deref()),
        length(query.as_ref()),
        id.to_string(),
        (either[2] >> 3 & 15).to_string(),
        dnssec,
        size,
        rcode.to_owned(),
        length(response.as_ref()),
        flags,
        seconds(message),
    ]
    .join("|")
}

#[test]
fn recorded_queries_and_responses_of_three_servers_have_their_values() {
    let line = LINE.split("|{/").next().expect("a start");
    let template = Template::new(line);
    for name in ["bind", "unbound", "dnsdist"] {
        let mut counts = [0, 0];
        for frame in frames(name) {
            let tap = Dnstap::decode(frame.as_slice()).expect("dnstap");
            let message = tap.message.expect("a message");
            assert_eq!(evaluate(&template, &frame), expected(&message), "{name}");
            counts[usize::from(message.response_message.is_some())] += 1;
        }
        assert!(
            counts.iter().all(|count| *count > 1000),
            "{name}: {counts:?}"
        );
    }
}
