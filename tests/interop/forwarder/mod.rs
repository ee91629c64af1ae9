//! Tests of `examples/forwarder`, a DNS forwarder that taps its traffic. `dig` sends queries to the forwarder, and
//! golang-dnstap's `dnstap` collects the dnstap messages of the forwarder. Each DNS transaction must cause exactly the
//! messages that `CoreDNS` would send. Each message must have the bytes, the addresses and the upstream of the
//! transaction.

mod raw;
mod tap;
mod test_bed;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use socket2::SockRef;

use self::{
    raw::Raw,
    tap::{Kind, Protocol, Tap, extra},
    test_bed::TestBed,
};
use crate::{
    dig::Answer,
    dns::{query, question_name},
    process::{eventually, free_address},
    scripted_upstream::ScriptedUpstream,
};

/// DNS response codes.
const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;

/// Checks that the last tapped message is the response that `dig` printed, and returns the bytes of this message. They
/// must come from the tap, because `dig` does not print the bytes that it received.
fn check_answer(taps: &[Tap], answer: &Answer, name: &str, code: u8, records: &[&str]) -> Vec<u8> {
    assert_eq!(answer.records, records, "{name}");
    let wire = &taps.last().expect("a message").wire;
    assert_eq!(wire.get(..2), Some(&answer.id.to_be_bytes()[..]), "{name}");
    assert_eq!(wire.get(3).map(|byte| byte & 15), Some(code), "{name}");
    assert_eq!(question_name(wire).as_deref(), Some(name));
    for record in records {
        let address: Ipv4Addr = record.parse().expect("an address");
        let has_address = wire.windows(4).any(|bytes| bytes == address.octets());
        assert!(has_address, "{name}: {record} in {wire:02x?}");
    }
    wire.clone()
}

fn transactions_over(protocol: Protocol) {
    let upstreams = ["second", "silent"].map(ScriptedUpstream::start);
    let [first, second] = upstreams.each_ref().map(|upstream| upstream.address);
    let mut bed = TestBed::start(&[first, second]);
    for (name, status, code, records) in [
        ("found.example.test", "NOERROR", NOERROR, &["192.0.2.7"][..]),
        ("absent.example.test", "NXDOMAIN", 3, &[]),
        ("failed.example.test", "SERVFAIL", SERVFAIL, &[]),
        ("refused.example.test", "REFUSED", REFUSED, &[]),
        // The first upstream does not answer queries for this name, so the second upstream does.
        (
            "second.example.test",
            "NOERROR",
            NOERROR,
            &["192.0.2.7"][..],
        ),
    ] {
        let (client, answer) = bed.dig(protocol, name);
        assert_eq!(answer.status, status, "{name}");
        let seen = upstreams.each_ref().map(ScriptedUpstream::seen);
        let attempts = [(first, &seen[0]), (second, &seen[1])];
        let attempts: Vec<_> = attempts
            .into_iter()
            .flat_map(|(upstream, seen)| seen.iter().map(move |seen| (upstream, seen)))
            .collect();
        let (last, _) = *attempts.last().expect("an upstream was asked");
        let is_second = name.starts_with("second");
        assert_eq!(attempts.len(), if is_second { 2 } else { 1 });
        assert_eq!(last, if is_second { second } else { first });

        // The query of `dig` and the query that the forwarder sends are equal except for the ID.
        let query = [&answer.id.to_be_bytes(), &attempts[0].1.query[2..]].concat();
        let mut expected = vec![Tap::client_query(client, &query)];
        for (upstream, seen) in attempts {
            expected.extend(Tap::attempt(client, upstream, seen));
        }
        let taps = bed.taps(expected.len() + 1);
        let response = check_answer(&taps, &answer, name, code, records);
        expected.push(Tap::client_response(client, Some(last), &response));
        assert_eq!(taps, expected, "{name}");
    }
    bed.stop();
}

#[test]
#[ignore = "needs dig and real dnstap tools: tests/interop/install.sh"]
fn a_forwarder_taps_its_transactions_over_udp() {
    transactions_over(Protocol::Udp);
}

#[test]
#[ignore = "needs dig and real dnstap tools: tests/interop/install.sh"]
fn a_forwarder_taps_its_transactions_over_tcp() {
    transactions_over(Protocol::Tcp);
}

#[test]
#[ignore = "needs dig and real dnstap tools: tests/interop/install.sh"]
fn a_forwarder_taps_its_transactions_over_tls() {
    transactions_over(Protocol::Dot);
}

#[test]
#[ignore = "needs dig and real dnstap tools: tests/interop/install.sh"]
fn a_forwarder_taps_attempts_with_dead_upstreams() {
    let dead = [free_address(), free_address()];
    let name = "found.example.test";
    let mut bed = TestBed::start(&dead);
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Dot] {
        let (client, answer) = bed.dig(protocol, name);
        assert_eq!(answer.status, "SERVFAIL");
        let taps = bed.taps(4);
        let response = check_answer(&taps, &answer, name, SERVFAIL, &[]);
        // The queries did not arrive at an upstream, so the test cannot know from which ports the forwarder sent them.
        // Over TCP no connection was made, so even the forwarder has no address to report.
        let own = |tap: &Tap| match protocol {
            Protocol::Udp => {
                let own = tap.query.expect("an address of its own");
                assert!(own.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && own.port() != 0);
                Some(own)
            }
            Protocol::Tcp | Protocol::Dot => None,
        };
        let wire = |id: &[u8]| [id, &taps[0].wire[2..]].concat();
        let mut expected = vec![Tap::client_query(client, &wire(&answer.id.to_be_bytes()))];
        for (upstream, tap) in dead.into_iter().zip(&taps[1..]) {
            expected.push(Tap {
                kind: Kind::ForwarderQuery,
                protocol: client.upstream_protocol(),
                query: own(tap),
                response: Some(upstream),
                extra: extra(upstream),
                wire: wire(&tap.wire[..2]),
            });
        }
        expected.push(Tap::client_response(client, Some(dead[1]), &response));
        assert_eq!(taps, expected, "{protocol:?}");
        assert_eq!(question_name(&taps[0].wire).as_deref(), Some(name));
    }
    bed.stop();
}

/// Queries that the forwarder must not forward, each with a description and the response code of the forwarder's
/// answer. The code is `None` if the forwarder must not answer.
fn not_forwarded() -> Vec<(&'static str, Vec<u8>, Option<u8>)> {
    let good = query("found.example.test", 1, true);
    let altered = |at: usize, byte: u8| {
        let mut query = good.clone();
        query[at] = byte;
        query
    };
    let end = good.len();
    vec![
        ("shorter than a header", good[..11].to_vec(), None),
        ("a response", altered(2, 0x81), None),
        ("cut off", good[..end - 3].to_vec(), Some(FORMERR)),
        (
            "no question",
            {
                let mut query = good[..12].to_vec();
                query[5] = 0;
                query
            },
            Some(FORMERR),
        ),
        ("a label beyond the end", altered(12, 60), Some(FORMERR)),
        ("a status query", altered(2, 2 << 3), Some(NOTIMP)),
        ("a transfer", altered(end - 3, 252), Some(REFUSED)),
    ]
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn a_forwarder_taps_queries_that_it_does_not_forward() {
    let upstream = ScriptedUpstream::start("silent");
    let mut bed = TestBed::start(&[upstream.address]);
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let (mut raw, client) = Raw::connect(bed.dns, protocol);
        for (what, query, code) in not_forwarded() {
            raw.send(&query);
            let mut expected = vec![Tap::client_query(client, &query)];
            if let Some(code) = code {
                let response = raw.receive();
                assert_eq!(response[..2], query[..2], "{what}");
                assert_eq!(response[3] & 15, code, "{what}");
                expected.push(Tap::client_response(client, None, &response));
            }
            bed.expect(what, &expected);
        }
        assert_eq!(upstream.seen(), []);

        // The forwarder still answers a normal query on the same connection.
        let query = query("found.example.test", 2, true);
        raw.send(&query);
        let response = raw.receive();
        let [seen] = &upstream.seen()[..] else {
            panic!("one query is forwarded");
        };
        let mut expected = vec![Tap::client_query(client, &query)];
        expected.extend(Tap::attempt(client, upstream.address, seen));
        let response = Tap::client_response(client, Some(upstream.address), &response);
        expected.push(response);
        bed.expect("a good query", &expected);
    }
    bed.stop();
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn a_forwarder_does_not_tap_a_response_that_no_client_takes() {
    let upstream = ScriptedUpstream::start("silent");
    let mut bed = TestBed::start(&[upstream.address]);
    let (mut raw, client) = Raw::connect(bed.dns, Protocol::Tcp);
    let query = query("silent.example.test", 1, true);
    raw.send(&query);
    let seen = eventually("the query at the upstream", || {
        upstream.seen().pop().ok_or("none")
    });
    let Raw::Tcp(stream) = raw else {
        panic!("a stream");
    };
    // Makes the kernel reset the connection, so that the forwarder cannot write its SERVFAIL response.
    let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("an option of the socket");
    drop(stream);
    let mut expected = vec![Tap::client_query(client, &query)];
    expected.extend(Tap::attempt(client, upstream.address, &seen));
    bed.expect("a client that has gone", &expected);
    bed.stop();
}
