//! Rules applied to recorded frames and to handmade frames.

use super::{BadRule, Filter, Sample};
use crate::{capture::FileReader, dnstap::RawFrame};

const UNBOUND: &[u8] = include_bytes!("../../tests/data/unbound.fstrm");
const SAMPLE: &[u8] = include_bytes!("../../tests/data/dump/sample.fstrm");

type Add = fn(&mut Filter, &str) -> Result<(), BadRule>;

fn filter(rules: &[(Add, &str)]) -> Filter {
    let mut filter = Filter::default();
    for (add, text) in rules {
        add(&mut filter, text).expect(text);
    }
    filter
}

/// The number of frames of a capture that pass.
fn passing(capture: &[u8], rules: &[(Add, &str)]) -> usize {
    let filter = filter(rules);
    let frames = FileReader::new(capture).expect("a capture");
    let frames = frames.map(|frame| frame.expect("whole"));
    let passes = |frame: &bytes::Bytes| filter.passes(&RawFrame::read(frame).expect("dnstap"));
    frames.filter(passes).count()
}

#[test]
fn rules_count_the_frames_that_golang_dnstaps_output_has() {
    // These counts were made with grep in the output of `dnstap -r unbound.fstrm -y`.
    for (rules, count) in [
        (vec![], 4000),
        (
            vec![(Filter::add_type as Add, "client_query")],
            CLIENT_QUERIES,
        ),
        (vec![(Filter::add_type as Add, "CLIENT")], CLIENTS),
        (vec![(Filter::add_type as Add, "!client")], 4000 - CLIENTS),
        (
            vec![(Filter::add_type as Add, "client_query,client_response")],
            CLIENTS,
        ),
        (vec![(Filter::add_rcode as Add, "NXDOMAIN")], NXDOMAINS),
        (
            vec![(Filter::add_qtype as Add, "aaaa,TYPE16")],
            AAAA_AND_TXT,
        ),
        (
            vec![
                (Filter::add_qtype as Add, "AAAA"),
                (Filter::add_qtype as Add, "TXT"),
            ],
            AAAA_AND_TXT,
        ),
        (vec![(Filter::add_protocol as Add, "udp")], 4000),
        (vec![(Filter::add_protocol as Add, "!udp,tcp")], 0),
        (vec![(Filter::add_qname as Add, "example.test")], 4000),
        (vec![(Filter::add_qname as Add, "org")], 0),
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
    let rule = |text| [(Filter::add_rcode as Add, text)];
    let keep = passing(SAMPLE, &rule("NOERROR"));
    let drop = passing(SAMPLE, &rule("!NOERROR"));
    assert_eq!(keep + drop, 45);
    // Queries have no response code, so no rule matches them.
    let queries = [
        (Filter::add_type as Add, "client_query"),
        rule("NOERROR")[0],
    ];
    assert_eq!(passing(SAMPLE, &queries), 0);
    let queries = [
        (Filter::add_type as Add, "client_query"),
        rule("!NOERROR")[0],
    ];
    assert!(passing(SAMPLE, &queries) > 0);
}

/// A `CLIENT_QUERY` for this name from 192.0.2.77.
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
        let added: Vec<_> = rules
            .iter()
            .map(|text| (Filter::add_qname as Add, *text))
            .collect();
        let filter = filter(&added);
        let passes = |frame: &[u8]| filter.passes(&RawFrame::read(frame).expect("dnstap"));
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
        let added: Vec<_> = rules
            .iter()
            .map(|text| (Filter::add_client as Add, *text))
            .collect();
        let passes = filter(&added).passes(&RawFrame::read(&query).expect("dnstap"));
        assert_eq!(passes, expected, "{rules:?}");
    }
}

#[test]
fn misspelt_rules_are_refused_with_a_suggestion() {
    let refused = |add: Add, text: &str| {
        let error = add(&mut Filter::default(), text).expect_err(text);
        error.to_string()
    };
    let all = [
        refused(Filter::add_type, "client_qeury"),
        refused(Filter::add_type, "client_query,,"),
        refused(Filter::add_type, "client,!client_response"),
        refused(Filter::add_rcode, "NXDOMIAN"),
        refused(Filter::add_qtype, "AAAAA"),
        refused(Filter::add_protocol, "https"),
        refused(Filter::add_qname, "exa mple.org"),
        refused(Filter::add_qname, "a..b"),
        refused(Filter::add_client, "192.0.2.0/33"),
        refused(Filter::add_client, "localhost"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_sample_has_whole_transactions() {
    let sample: Sample = "1/4".parse().expect("a sample");
    let frames = FileReader::new(UNBOUND).expect("a capture");
    let frames: Vec<_> = frames.map(|frame| frame.expect("whole")).collect();
    let has = |frame: &bytes::Bytes| sample.has(&RawFrame::read(frame).expect("dnstap"));
    let taken = frames.iter().filter(|frame| has(frame)).count();
    assert!((500..1500).contains(&taken), "{taken} of 4000");
    let all: Sample = "1/1".parse().expect("a sample");
    let all = frames
        .iter()
        .all(|frame| all.has(&RawFrame::read(frame).expect("dnstap")));
    assert!(all);
    for bad in ["", "1", "1/0", "2/3", "1/x", "1/-1"] {
        assert!(bad.parse::<Sample>().is_err(), "{bad}");
    }
}
