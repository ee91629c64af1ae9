//! Rules applied to recorded frames and to handmade frames.

use super::{ClientAddress, Facts, Filter, Kind, Sample, Screen, Verdict};
use crate::{capture::FileReader, dnstap::RawFrame, frame_stream::Chunk};

const UNBOUND: &[u8] = include_bytes!("../../tests/data/unbound.fstrm");
const SAMPLE: &[u8] = include_bytes!("../../tests/data/dump/sample.fstrm");

fn facts(frame: &[u8]) -> Facts<'_> {
    Facts::of(&RawFrame::read(frame).expect("dnstap"))
}

fn filter(rules: &[(Kind, &str)]) -> Filter {
    let mut filter = Filter::default();
    for (kind, text) in rules {
        filter.add_argument(*kind, text).expect(text);
    }
    filter
}

/// Counts the frames of a capture that pass.
fn passing(capture: &[u8], rules: &[(Kind, &str)]) -> usize {
    let filter = filter(rules);
    let frames = FileReader::new(capture).expect("a capture");
    let frames = frames.map(|frame| frame.expect("whole"));
    let passes = |frame: &bytes::Bytes| filter.passes(&facts(frame));
    frames.filter(passes).count()
}

#[test]
fn rules_count_the_frames_that_golang_dnstaps_output_has() {
    // These counts were made with grep in the output of `dnstap -r unbound.fstrm -y`.
    for (rules, count) in [
        (vec![], 4000),
        (vec![(Kind::Type, "client_query")], CLIENT_QUERIES),
        (vec![(Kind::Type, "CLIENT")], CLIENTS),
        (vec![(Kind::Type, "!client")], 4000 - CLIENTS),
        (vec![(Kind::Type, "client_query,client_response")], CLIENTS),
        (vec![(Kind::Rcode, "NXDOMAIN")], NXDOMAINS),
        (vec![(Kind::Qtype, "aaaa,TYPE16")], AAAA_AND_TXT),
        (
            vec![(Kind::Qtype, "AAAA"), (Kind::Qtype, "TXT")],
            AAAA_AND_TXT,
        ),
        (vec![(Kind::Protocol, "udp")], 4000),
        (vec![(Kind::Protocol, "!udp,tcp")], 0),
        (vec![(Kind::Qname, "example.test")], 4000),
        (vec![(Kind::Qname, "org")], 0),
    ] {
        assert_eq!(passing(UNBOUND, &rules), count, "{rules:?}");
    }
}

const CLIENT_QUERIES: usize = 1555;
const CLIENTS: usize = 3121;
const NXDOMAINS: usize = 269;
const AAAA_AND_TXT: usize = 977;

#[test]
fn a_response_code_is_only_that_of_a_response() {
    let rule = |text| [(Kind::Rcode, text)];
    let keep = passing(SAMPLE, &rule("NOERROR"));
    let drop = passing(SAMPLE, &rule("!NOERROR"));
    assert_eq!(keep + drop, 45);
    // Queries have no response code, so no rule matches them.
    let queries = [(Kind::Type, "client_query"), rule("NOERROR")[0]];
    assert_eq!(passing(SAMPLE, &queries), 0);
    let queries = [(Kind::Type, "client_query"), rule("!NOERROR")[0]];
    assert!(passing(SAMPLE, &queries) > 0);
}

/// Creates a `CLIENT_QUERY` for this name from 192.0.2.77.
fn query(name: &[u8]) -> Vec<u8> {
    let dns = [
        b"\0\x01\0\0\0\x01\0\0\0\0\0\0".as_slice(),
        name,
        b"\0\x01\0\x01",
    ]
    .concat();
    let length = |of: usize| u8::try_from(of).expect("short");
    let message = [
        b"\x08\x05\x22\x04\xc0\0\x02\x4d\x52".as_slice(),
        &[length(dns.len())],
        &dns,
    ]
    .concat();
    [
        &[0x72, length(message.len())],
        message.as_slice(),
        b"\x78\x01",
    ]
    .concat()
}

#[test]
fn the_first_rule_that_matches_decides() {
    let www = query(b"\x03WWW\x07example\x03org\0");
    let apex = query(b"\x07example\x03org\0");
    let root = query(b"\0");
    let broken = query(b"\x3f");
    for (rules, expected) in [
        (vec!["example.org"], [true, true, false, false]),
        (vec!["*.example.org."], [true, false, false, false]),
        (vec!["!example.org"], [false, false, true, true]),
        (vec!["!www.example.org", "org"], [false, true, false, false]),
        (vec!["org", "!www.example.org"], [true, true, false, false]),
        (
            vec!["!*.example.org", "example.org"],
            [false, true, false, false],
        ),
        (vec!["."], [true, true, true, false]),
        (vec!["*."], [true, true, false, false]),
        (vec!["ample.org"], [false, false, false, false]),
    ] {
        let added: Vec<_> = rules.iter().map(|text| (Kind::Qname, *text)).collect();
        let filter = filter(&added);
        let passes = |frame: &[u8]| filter.passes(&facts(frame));
        let found = [&www, &apex, &root, &broken].map(|frame| passes(frame));
        assert_eq!(found, expected, "{rules:?}");
    }
}

#[test]
fn clients_are_matched_by_prefix() {
    let query = query(b"\0");
    for (rules, expected) in [
        (vec!["192.0.2.77"], true),
        (vec!["192.0.2.0/24"], true),
        (vec!["192.0.2.0/26"], false),
        (vec!["0.0.0.0/0"], true),
        (vec!["::/0"], true),
        (vec!["2001:db8::/32"], false),
        (vec!["::ffff:192.0.2.0/120"], true),
        (vec!["!192.0.2.77", "192.0.2.0/24"], false),
    ] {
        let added: Vec<_> = rules.iter().map(|text| (Kind::Client, *text)).collect();
        let passes = filter(&added).passes(&facts(&query));
        assert_eq!(passes, expected, "{rules:?}");
    }
}

#[test]
fn misspelt_rules_are_refused_with_a_suggestion() {
    let refused = |kind: Kind, text: &str| {
        let error = Filter::default().add_argument(kind, text);
        error.expect_err(text).to_string()
    };
    let all = [
        refused(Kind::Type, "client_qeury"),
        refused(Kind::Type, "client_query,,"),
        refused(Kind::Type, "client,!client_response"),
        refused(Kind::Rcode, "NXDOMIAN"),
        refused(Kind::Qtype, "AAAAA"),
        refused(Kind::Protocol, "https"),
        refused(Kind::Qname, "exa mple.org"),
        refused(Kind::Qname, "a..b"),
        refused(Kind::Client, "192.0.2.0/33"),
        refused(Kind::Client, "localhost"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_sample_has_whole_transactions() {
    let sample: Sample = "1/4".parse().expect("a sample");
    let frames = FileReader::new(UNBOUND).expect("a capture");
    let frames: Vec<_> = frames.map(|frame| frame.expect("whole")).collect();
    let has = |frame: &bytes::Bytes| sample.has(&facts(frame));
    let taken = frames.iter().filter(|frame| has(frame)).count();
    assert!((500..1500).contains(&taken), "{taken} of 4000");
    let all: Sample = "1/1".parse().expect("a sample");
    let all = frames.iter().all(|frame| all.has(&facts(frame)));
    assert!(all);
    for bad in ["", "1", "1/0", "2/3", "1/x", "1/-1"] {
        assert!(bad.parse::<Sample>().is_err(), "{bad}");
    }
}

#[test]
fn a_part_of_a_chunk_keeps_only_its_own_memory() {
    // Message { type }, type: one client query among a hundred authoritative queries.
    let (client, auth) = (b"\x72\x02\x08\x05\x78\x01", b"\x72\x02\x08\x01\x78\x01");
    let mut wire = Vec::new();
    for frame in [client].into_iter().chain([auth; 100]) {
        wire.extend_from_slice(b"\0\0\0\x06");
        wire.extend_from_slice(frame);
    }
    let chunk = Chunk::from_wire(wire.into()).expect("frames");
    for client_address in [None, Some(ClientAddress::Remove)] {
        let mut screen = Screen {
            filter: filter(&[(Kind::Type, "client")]),
            ..Screen::default()
        };
        screen.privacy.client_address = client_address;
        let screened = screen.screen(&chunk, std::time::Instant::now());
        assert_eq!(screened.filtered, 100);
        let part = screened.chunk.expect("one frame");
        assert_eq!((part.len(), part.buffer()), (1, 10));
    }
}

#[test]
fn a_list_may_begin_with_a_byte_order_mark() {
    let added = |list: &[u8]| Filter::default().add_names(Verdict::Drop, list);
    assert_eq!(added(b"\xef\xbb\xbfexample.org\r\nexample.net\r\n"), Ok(2));
    assert_eq!(added(b"\xef\xbb\xbf# names\nexample.org"), Ok(1));
    assert_eq!(added(b"\xef\xbb\xbf"), Ok(0));
    let error =
        added(b"example.org\n\xef\xbb\xbfexample.net").expect_err("it is not at the beginning");
    assert_eq!(error.line, 2);
}

#[test]
fn an_error_in_a_list_does_not_show_a_whole_secret() {
    let key = "339b2e19a0c1d2e3".repeat(4);
    let error = Filter::default().add_names(Verdict::Drop, key.as_bytes());
    let said = error.expect_err("a label is too long").error.to_string();
    assert!(said.contains("339b2e19…"), "{said}");
    assert!(!said.contains("a0c1"), "{said}");
}
