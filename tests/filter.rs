//! The filters, samples, limits and privacy options of sinks on recorded frames of BIND, Unbound, dnsdist, CoreDNS and
//! PowerDNS Recursor.
//!
//! The expected results come from prost and hickory-proto. The recordings contain only a few client addresses and
//! options of EDNS, so the tests give each transaction an address of its own, a Client Subnet and a cookie.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::Message as Dns,
    rr::rdata::opt::{EdnsCode, EdnsOption},
};
use ipcrypt_rs::IpcryptPfx;
use proptest::prelude::*;
use prost::Message as _;
use tapfan::{
    capture::FileReader,
    internals::{
        Chunk,
        filter::{
            ClientAddress, Filter, Kind, Pseudonyms, Sample, SampleKey, Screen, Screened, Verdict,
        },
        validate,
    },
    proto::{Dnstap, Message, SocketProtocol, message::Type},
};

const SERVERS: [&str; 5] = ["bind", "unbound", "dnsdist", "coredns", "recursor"];

const KEY: [u8; 16] = *b"a key of a test.";

/// The cookie that some recorded queries of CoreDNS contain.
const COOKIE_OF_DIG: &[u8] = b"cookie!!";

fn recorded(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/data/{name}.fstrm", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).expect("a recording");
    let frames = FileReader::new(file.as_slice()).expect("a file of dnstap");
    frames.map(|frame| frame.expect("whole").to_vec()).collect()
}

fn all_recorded() -> Vec<Vec<u8>> {
    SERVERS.into_iter().flat_map(recorded).collect()
}

fn chunk<T: AsRef<[u8]>>(frames: &[T]) -> Chunk {
    let mut wire = Vec::new();
    for frame in frames.iter().map(AsRef::as_ref) {
        let length = u32::try_from(frame.len()).expect("short");
        wire.extend_from_slice(&length.to_be_bytes());
        wire.extend_from_slice(frame);
    }
    Chunk::from_wire(wire.into()).expect("frames")
}

/// Checks that every missing frame is counted, and returns the frames for the sink.
fn frames_of(screened: &Screened, of: usize) -> Vec<Vec<u8>> {
    let chunk = screened.chunk.as_ref();
    let frames: Vec<Vec<u8>> =
        chunk.map_or(vec![], |chunk| chunk.frames().map(<[u8]>::to_vec).collect());
    let Screened {
        filtered,
        sampled,
        rate_limited,
        malformed,
        ..
    } = *screened;
    let missing = of - frames.len();
    assert_eq!(
        filtered + sampled + rate_limited + malformed,
        missing as u64
    );
    frames
}

fn screen(screen: &Screen, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let screened = screen.screen(&chunk(frames), Instant::now());
    frames_of(&screened, frames.len())
}

/// A frame, as prost and hickory-proto see it.
struct Seen {
    message: Message,
    dns: Option<Dns>,
}

impl Seen {
    fn new(frame: &[u8]) -> Self {
        let message = Dnstap::decode(frame).expect("dnstap").message.expect("one");
        let octets = if message.r#type % 2 == 1 {
            message.query_message.as_deref()
        } else {
            message.response_message.as_deref()
        };
        let dns = octets.and_then(|octets| Dns::from_vec(octets).ok());
        Self { message, dns }
    }

    fn is_between_servers(&self) -> bool {
        let name = self.message.r#type().as_str_name();
        name.starts_with("RESOLVER") || name.starts_with("FORWARDER")
    }

    fn matches(&self, kind: Kind, word: &str) -> bool {
        match kind {
            Kind::Type => {
                let name = self.message.r#type().as_str_name().to_lowercase();
                name == word || name.rsplit_once('_').is_some_and(|(pair, _)| pair == word)
            }
            Kind::Qname => self.question().is_some_and(|(name, _)| {
                let (is_only_below, suffix) = match word.strip_prefix("*.") {
                    Some(suffix) => (true, suffix),
                    None => (false, word),
                };
                let suffix = format!(".{}.", suffix.to_lowercase().trim_matches('.'));
                let suffix = suffix.replace("..", ".");
                let dotted = format!(".{}", name.trim_start_matches('.'));
                dotted.ends_with(&suffix) && !(is_only_below && dotted == suffix)
            }),
            Kind::Qtype => self.question().is_some_and(|(_, qtype)| qtype == word),
            Kind::Rcode => {
                let code = self.dns.as_ref().map(|dns| dns.metadata.response_code);
                let code = code.filter(|_| self.message.r#type % 2 == 0).map(u16::from);
                let known = [
                    ("NOERROR", 0),
                    ("SERVFAIL", 2),
                    ("NXDOMAIN", 3),
                    ("REFUSED", 5),
                ];
                let wanted = known.into_iter().find(|(name, _)| *name == word);
                code == Some(wanted.expect("a known word").1)
            }
            Kind::Client => self.client().is_some_and(|client| is_within(client, word)),
            Kind::Protocol => {
                let protocol = self.message.socket_protocol.map(SocketProtocol::try_from);
                protocol
                    .is_some_and(|it| it.is_ok_and(|it| it.as_str_name().to_lowercase() == word))
            }
            _ => unreachable!("a new kind needs its oracle"),
        }
    }

    fn question(&self) -> Option<(String, String)> {
        let query = self.dns.as_ref()?.queries.first()?;
        let name = query.name().to_lowercase().to_ascii();
        Some((name, query.query_type().to_string()))
    }

    fn client(&self) -> Option<IpAddr> {
        let address = self.message.query_address.as_deref()?;
        (!self.is_between_servers()).then(|| address_of(address))
    }
}

fn address_of(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(octets) => octets.into(),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("an address")).to_canonical(),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn bits(address: IpAddr) -> String {
    let bit = |byte: u8, place: u8| if byte >> place & 1 == 1 { '1' } else { '0' };
    let octets = octets(address).into_iter();
    octets
        .flat_map(|byte| (0..8).rev().map(move |place| bit(byte, place)))
        .collect()
}

fn is_within(address: IpAddr, network: &str) -> bool {
    let (base, prefix) = network.split_once('/').expect("a prefix");
    let base: IpAddr = base.parse().expect("an address");
    let prefix: usize = prefix.parse().expect("a number");
    base.is_ipv4() == address.is_ipv4() && bits(base)[..prefix] == bits(address)[..prefix]
}

/// The client of a transaction: its address as it is in the frame, the address of its Client Subnet, and its cookie.
#[derive(Debug, Clone)]
struct Client {
    address: Option<Vec<u8>>,
    port: Option<u32>,
    subnet: Vec<u8>,
    cookie: Vec<u8>,
}

impl Client {
    /// Makes a client with random values, which differ for each transaction.
    fn new(transaction: usize) -> Self {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(transaction as u64 + 1);
        let mut next = || {
            random ^= random >> 29;
            random = random.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            random ^= random >> 32;
            random.to_be_bytes()
        };
        let wide = [next(), next()].concat();
        let mapped = Ipv4Addr::from(<[u8; 4]>::try_from(&next()[..4]).expect("four bytes"));
        let (address, subnet) = match transaction % 3 {
            0 => (next()[..4].to_vec(), next()[..3].to_vec()),
            1 => (wide, [&[0x20, 1], &next()[..5]].concat()),
            _ => (
                mapped.to_ipv6_mapped().octets().to_vec(),
                next()[..4].to_vec(),
            ),
        };
        Self {
            address: Some(address),
            port: Some(1024 + u32::try_from(transaction).expect("few")),
            subnet,
            cookie: [next(), next()].concat(),
        }
    }

    fn source_prefix(&self) -> u8 {
        u8::try_from(self.subnet.len() * 8).expect("an address")
    }

    /// Creates an OPT record with a Client Subnet, a name server identifier and a cookie.
    fn opt(&self) -> Vec<u8> {
        let family = if self.subnet.len() > 4 { 2 } else { 1 };
        let option = |code: u8, data: &[u8]| {
            let length = u8::try_from(data.len()).expect("short");
            [&[0, code, 0, length], data].concat()
        };
        let subnet = [
            &[0, family, self.source_prefix(), 0],
            self.subnet.as_slice(),
        ]
        .concat();
        let options = [
            option(8, &subnet),
            option(3, b"ns"),
            option(10, &self.cookie),
        ]
        .concat();
        let length = u8::try_from(options.len()).expect("short");
        [b"\0\0\x29\x04\xd0\0\0\0\0\0", [length].as_slice(), &options].concat()
    }

    /// Puts the client into a recorded frame. Also adds unknown fields to the frame and its message.
    fn put_into(&self, frame: &[u8]) -> Vec<u8> {
        let seen = Seen::new(frame);
        let mut tap = Dnstap::decode(frame).expect("dnstap");
        let is_of_recursor = tap.version().starts_with(b"pdns-recursor");
        let message = tap.message.as_mut().expect("one");
        if !seen.is_between_servers() {
            message.query_address.clone_from(&self.address);
            message.query_port = self.port;
        }
        for octets in [&mut message.query_message, &mut message.response_message] {
            if let Some(octets) = octets
                && is_of_recursor
            {
                remove_opt(octets);
            }
            if let Some(octets) = octets.as_mut().filter(|octets| octets[10..12] == [0, 0]) {
                octets[11] = 1;
                octets.extend(self.opt());
            } else if let Some(octets) = octets
                && self.cookie.iter().all(|byte| *byte == 0)
                && octets.ends_with(COOKIE_OF_DIG)
            {
                // Some queries to CoreDNS have a cookie, as the last of their options.
                let start = octets.len() - COOKIE_OF_DIG.len();
                octets[start..].fill(0);
            }
        }
        let mut inner = tap.message.take().expect("one").encode_to_vec();
        inner.extend(b"\x92\x03\x07unknown");
        let mut frame = tap.encode_to_vec();
        frame.push(0x72);
        prost::encoding::encode_varint(inner.len() as u64, &mut frame);
        frame.extend(inner);
        frame.extend(b"\x9a\x06\x07unknown");
        validate(&frame).expect("still dnstap");
        frame
    }
}

/// Removes the OPT record of the Recursor, which has a Client Subnet and is the last record of a message.
fn remove_opt(octets: &mut Vec<u8>) {
    let is_opt = |start: &usize| {
        let record = &octets[*start..];
        let length = usize::from(record[10]) + 256 * usize::from(record[9]);
        record.starts_with(&[0, 0, 41]) && record.len() == 11 + length
    };
    let start = (12..octets.len().saturating_sub(10)).find(is_opt);
    if let Some(start) = start {
        octets.truncate(start);
        octets[11] -= 1;
    }
}

/// Returns the frames of about a fifth of the transactions.
fn some_traffic() -> Vec<(Vec<u8>, Client)> {
    let all = traffic().into_iter();
    all.filter(|(_, client)| client.port.is_some_and(|port| port % 5 == 0))
        .collect()
}

/// Returns the recorded frames, each with the client of its transaction.
fn traffic() -> Vec<(Vec<u8>, Client)> {
    let mut clients = HashMap::new();
    let mut traffic = Vec::new();
    for frame in all_recorded() {
        let seen = Seen::new(&frame);
        let id = seen.dns.as_ref().map(|dns| dns.metadata.id);
        let transaction = (seen.message.query_address, seen.message.query_port, id);
        let count = clients.len();
        let client = clients
            .entry(transaction)
            .or_insert_with(|| Client::new(count));
        traffic.push((frame, client.clone()));
    }
    traffic
}

fn frames(traffic: &[(Vec<u8>, Client)]) -> Vec<Vec<u8>> {
    traffic
        .iter()
        .map(|(frame, client)| client.put_into(frame))
        .collect()
}

type Rule<'a> = (Verdict, &'a [&'a str]);

fn add(filter: &mut Filter, kind: Kind, rules: &[Rule<'_>]) {
    for (verdict, words) in rules {
        for word in *words {
            filter.add(kind, *verdict, word).expect(word);
        }
    }
}

/// Returns whether the rules keep the frame. The first rule that matches decides. If no rule matches, the frame is
/// dropped if there is a `keep` rule, and kept otherwise.
fn is_wanted(seen: &Seen, kind: Kind, rules: &[Rule<'_>]) -> bool {
    let matches = |words: &&[&str]| words.iter().any(|word| seen.matches(kind, word));
    let first = rules.iter().find(|(_, words)| matches(words));
    first.map_or_else(
        || rules.iter().all(|(verdict, _)| *verdict == Verdict::Drop),
        |(verdict, _)| *verdict == Verdict::Keep,
    )
}

/// Returns rules of every kind, in every combination of keep and drop.
fn cases() -> Vec<(Kind, Vec<Rule<'static>>)> {
    use Verdict::{Drop, Keep};
    let halves: [(Kind, &[&str], &[&str]); 8] = [
        (Kind::Type, &["client_query", "auth_response"], &["client"]),
        (Kind::Type, &["forwarder", "auth"], &["auth_query"]),
        (
            Kind::Qname,
            &["*.example.test", "Test"],
            &["www.example.test."],
        ),
        (
            Kind::Qname,
            &["a.example.test", "coredns.test"],
            &["example.test"],
        ),
        (Kind::Qtype, &["A", "TXT"], &["AAAA", "A"]),
        (Kind::Rcode, &["NXDOMAIN", "SERVFAIL"], &["NOERROR"]),
        (
            Kind::Client,
            &["0.0.0.0/1", "2000::/4"],
            &["64.0.0.0/2", "8000::/1"],
        ),
        (Kind::Protocol, &["udp"], &["tcp", "dot"]),
    ];
    let mut cases = Vec::new();
    for (kind, one, other) in halves {
        for verdict in [Keep, Drop] {
            cases.push((kind, vec![(verdict, one)]));
            for second in [Keep, Drop] {
                cases.push((kind, vec![(verdict, one), (second, other)]));
                cases.push((kind, vec![(verdict, other), (second, one)]));
            }
        }
    }
    cases
}

#[test]
fn each_rule_selects_the_frames_that_the_oracle_selects() {
    let frames = frames(&traffic());
    let seen: Vec<Seen> = frames.iter().map(|frame| Seen::new(frame)).collect();
    assert!(
        seen.iter().all(|seen| seen.dns.is_some()),
        "hickory reads all"
    );
    let whole = chunk(&frames);
    let mut sizes = HashSet::new();
    for (kind, rules) in cases() {
        let mut filter = Filter::default();
        add(&mut filter, kind, &rules);
        let mut screen = Screen::default();
        screen.filter = filter;
        let pairs = frames.iter().zip(&seen);
        let expected = pairs.filter(|(_, seen)| is_wanted(seen, kind, &rules));
        let expected: Vec<&Vec<u8>> = expected.map(|(frame, _)| frame).collect();
        let screened = screen.screen(&whole, Instant::now());
        let found = frames_of(&screened, frames.len());
        assert!(
            found.iter().eq(expected.iter().copied()),
            "{kind:?} {rules:?}"
        );
        let missing = (frames.len() - expected.len()) as u64;
        assert_eq!(screened.filtered, missing);
        sizes.insert(expected.len());
    }
    assert!(
        sizes.len() > 20,
        "the rules select different frames: {sizes:?}"
    );
}

#[test]
fn rules_of_several_kinds_must_all_let_a_frame_pass() {
    let frames = frames(&traffic());
    let kinds = cases();
    let picked = [0, 21, 43, 58, 62, 70, 5].map(|place| &kinds[place]);
    for pair in picked.windows(2) {
        let mut screen = Screen::default();
        for (kind, rules) in pair {
            add(&mut screen.filter, *kind, rules);
        }
        let wanted = |frame: &&Vec<u8>| {
            let seen = Seen::new(frame);
            pair.iter()
                .all(|(kind, rules)| is_wanted(&seen, *kind, rules))
        };
        let expected: Vec<_> = frames.iter().filter(wanted).cloned().collect();
        assert!(self::screen(&screen, &frames) == expected, "{pair:?}");
    }
}

#[test]
fn a_list_of_names_is_one_rule() {
    let frames = all_recorded();
    let list = b"# comment\n\nA.example.test\r\n  *.b.example.test # below\nb.example.test";
    let mut filter = Filter::default();
    assert_eq!(filter.add_names(Verdict::Drop, list), Ok(3));
    let words: &[&str] = &["A.example.test", "*.b.example.test", "b.example.test"];
    let rules = [(Verdict::Drop, words)];
    let mut screen = Screen::default();
    screen.filter = filter;
    let wanted = |frame: &&Vec<u8>| is_wanted(&Seen::new(frame), Kind::Qname, &rules);
    let expected: Vec<_> = frames.iter().filter(wanted).cloned().collect();
    assert!(self::screen(&screen, &frames) == expected);
    // An empty list of names to keep lets no frame pass.
    for (verdict, expected) in [(Verdict::Keep, 0), (Verdict::Drop, frames.len())] {
        screen.filter = Filter::default();
        assert_eq!(screen.filter.add_names(verdict, b"# empty\n"), Ok(0));
        assert_eq!(self::screen(&screen, &frames).len(), expected);
    }
    let error = Filter::default().add_names(Verdict::Drop, b"a.test\n\nb..test\n");
    let text = error.expect_err("not a name").to_string();
    assert_eq!(
        text,
        "line 3: `b..test` is not a name: write `example.org`, or `*.example.org` for the names below it"
    );
}

fn sample(one_in: u32, key: [u8; 16]) -> Screen {
    let mut screen = Screen::default();
    let one_in = one_in.try_into().expect("not zero");
    screen.sample = Some(Sample::new(one_in, SampleKey::new(key)));
    screen
}

#[test]
fn a_query_and_its_response_are_in_the_sample_together() {
    for server in SERVERS {
        let frames = recorded(server);
        let sampled: HashSet<Vec<u8>> = screen(&sample(4, KEY), &frames).into_iter().collect();
        let mut transactions: HashMap<_, Vec<&Vec<u8>>> = HashMap::new();
        for frame in &frames {
            let Seen { message, dns } = Seen::new(frame);
            let dns = dns.expect("readable");
            let transaction = (message.query_address, message.query_port, dns.metadata.id);
            transactions.entry(transaction).or_default().push(frame);
        }
        let mut pairs = 0;
        for frames in transactions.values() {
            let count = frames
                .iter()
                .filter(|frame| sampled.contains(**frame))
                .count();
            assert!(
                count == 0 || count == frames.len(),
                "{server}: {count} of {}",
                frames.len()
            );
            pairs += usize::from(frames.len() > 1);
        }
        assert!(pairs > 0, "{server} has pairs");
    }
}

#[test]
fn routers_with_the_same_key_choose_the_same_transactions() {
    let frames = all_recorded();
    let first = screen(&sample(3, KEY), &frames);
    assert!(first == screen(&sample(3, KEY), &frames));
    assert!(first != screen(&sample(3, [7; 16]), &frames));
    // With the same key, the frames of a smaller sample are also in a larger sample.
    let larger: HashSet<_> = first.into_iter().collect();
    assert!(
        screen(&sample(6, KEY), &frames)
            .iter()
            .all(|frame| larger.contains(frame))
    );
}

/// Creates a query over DNS over HTTPS and its response. Their identifier is always 0.
fn over_https(number: u32) -> [Vec<u8>; 2] {
    let dns = |flags: u8| {
        let name = format!("{number:08}");
        [
            &[0, 0, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8],
            name.as_bytes(),
            b"\x04test\0\0\x01\0\x01",
        ]
        .concat()
    };
    let tap = |kind: Type, message: Message| {
        let message = Message {
            r#type: kind as i32,
            query_address: Some(vec![192, 0, 2, 1]),
            query_port: Some(443),
            ..message
        };
        let tap = Dnstap {
            message: Some(message),
            r#type: 1,
            ..Dnstap::default()
        };
        tap.encode_to_vec()
    };
    let query = Message {
        query_message: Some(dns(1)),
        ..Message::default()
    };
    let response = Message {
        response_message: Some(dns(0x81)),
        ..Message::default()
    };
    [
        tap(Type::ClientQuery, query),
        tap(Type::ClientResponse, response),
    ]
}

#[test]
fn transactions_over_https_are_distinguished_by_their_question() {
    let mut counts = [0; 3];
    for number in 0..2000 {
        counts[screen(&sample(4, KEY), &over_https(number)).len()] += 1;
    }
    assert_eq!(counts[1], 0, "no half of a transaction");
    assert!((400..600).contains(&counts[2]), "{counts:?}");
}

#[test]
fn the_ratio_of_a_sample_is_exact() {
    const TRANSACTIONS: u32 = 1_000_000;
    let template = recorded("unbound").into_iter();
    let mut template = template.map(|frame| Seen::new(&frame).message);
    let template = template.find(|message| message.r#type() == Type::ClientQuery);
    let mut message = template.expect("a query");
    let screens = [2, 20].map(|one_in| (one_in, sample(one_in, KEY)));
    let mut counts = [0; 2];
    for transactions in 0..TRANSACTIONS / 1000 {
        let frames = (0..1000).map(|number| {
            let number = transactions * 1000 + number;
            message.query_address =
                Some(Ipv4Addr::from(0x0a00_0000 + number / 7).octets().to_vec());
            message.query_port = Some(1024 + number % 50_000);
            let query = message.query_message.as_mut().expect("a query");
            query[..2].copy_from_slice(&(number >> 4).to_be_bytes()[2..]);
            let tap = Dnstap {
                message: Some(message.clone()),
                r#type: 1,
                ..Dnstap::default()
            };
            tap.encode_to_vec()
        });
        let chunk = chunk(&frames.collect::<Vec<_>>());
        for ((_, screen), count) in screens.iter().zip(&mut counts) {
            let screened = screen.screen(&chunk, Instant::now());
            *count += 1000 - u32::try_from(screened.sampled).expect("few");
        }
    }
    for ((one_in, _), count) in screens.iter().zip(counts) {
        let expected = TRANSACTIONS / one_in;
        assert!(
            count.abs_diff(expected) < expected / 100,
            "1/{one_in}: {count}"
        );
    }
}

#[test]
fn a_limit_lets_the_first_frames_pass() {
    let frames = recorded("coredns");
    let mut screen = Screen::default();
    screen.limit = Some("100/s".parse().expect("a rate"));
    screen
        .filter
        .add(Kind::Type, Verdict::Keep, "client")
        .expect("a type");
    let wanted = |frame: &&Vec<u8>| Seen::new(frame).matches(Kind::Type, "client");
    let wanted: Vec<_> = frames.iter().filter(wanted).cloned().collect();
    let whole = chunk(&frames);
    let start = Instant::now();
    for (after, expected) in [(0, 100), (0, 0), (500, 50), (5000, 100)] {
        let screened = screen.screen(&whole, start + Duration::from_millis(after));
        assert!(frames_of(&screened, frames.len()) == wanted[..expected]);
        assert_eq!(screened.rate_limited, (wanted.len() - expected) as u64);
        let unwanted = frames.len() - wanted.len();
        assert_eq!(screened.filtered, unwanted as u64);
    }
}

#[test]
fn a_chunk_whose_frames_all_pass_unchanged_is_not_copied() {
    let frames = recorded("coredns");
    let whole = chunk(&frames);
    let mut screen = Screen::default();
    screen
        .filter
        .add(Kind::Type, Verdict::Drop, "update")
        .expect("a type");
    screen.privacy.strip_ecs = true;
    let screened = screen.screen(&whole, Instant::now());
    let passed = screened.chunk.expect("frames");
    assert_eq!(passed.wire().as_ptr(), whole.wire().as_ptr());
    screen
        .filter
        .add(Kind::Type, Verdict::Keep, "update")
        .expect("a type");
    assert!(screen.screen(&whole, Instant::now()).chunk.is_none());
}

const PSEUDONYM_KEY: &str = "2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a";

/// A function that returns the address that an edit must produce.
type Oracle = Box<dyn Fn(IpAddr) -> IpAddr>;

/// Returns settings of `client_address`, each with its oracle.
fn address_edits() -> Vec<(Option<ClientAddress>, Oracle)> {
    let key = PSEUDONYM_KEY.as_bytes().chunks(2);
    let key = key
        .map(|digits| u8::from_str_radix(str::from_utf8(digits).expect("hex"), 16).expect("hex"));
    let cipher = IpcryptPfx::new(key.collect::<Vec<_>>().try_into().expect("32 bytes"));
    let pseudonyms = Pseudonyms::from_hex(PSEUDONYM_KEY).expect("a key");
    let truncate = |ipv4: u8, ipv6: u8| {
        let setting = ClientAddress::Truncate { ipv4, ipv6 };
        let oracle = move |address: IpAddr| {
            let kept = if address.is_ipv4() { ipv4 } else { ipv6 };
            let bits: String = bits(address)
                .chars()
                .enumerate()
                .map(|(place, bit)| if place < kept.into() { bit } else { '0' })
                .collect();
            let number = u128::from_str_radix(&bits, 2).expect("bits");
            match address {
                IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(number).expect("32 bits")).into(),
                IpAddr::V6(_) => Ipv6Addr::from(number).into(),
            }
        };
        (Some(setting), Box::new(oracle) as Oracle)
    };
    let zero = |address: IpAddr| match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    vec![
        (None, Box::new(|address| address)),
        truncate(24, 48),
        truncate(19, 33),
        truncate(0, 0),
        (
            Some(ClientAddress::Pseudonym(Arc::new(pseudonyms))),
            Box::new(move |address| cipher.encrypt_ipaddr(address)),
        ),
        (Some(ClientAddress::Remove), Box::new(zero)),
    ]
}

/// Returns the bytes of a Client Subnet after the edit of its address.
fn edited_subnet(subnet: &[u8], edit: &dyn Fn(IpAddr) -> IpAddr) -> Vec<u8> {
    let mut whole = subnet.to_vec();
    whole.resize(if subnet.len() > 4 { 16 } else { 4 }, 0);
    octets(edit(address_of(&whole)))[..subnet.len()].to_vec()
}

fn expected_client(client: &Client, screen: &Screen, edit: &dyn Fn(IpAddr) -> IpAddr) -> Client {
    let mut expected = client.clone();
    if matches!(screen.privacy.client_address, Some(ClientAddress::Remove)) {
        (expected.address, expected.port) = (None, None);
    } else if let Some(address) = &mut expected.address {
        let edited = octets(edit(address_of(address)));
        // An IPv4-mapped IPv6 address stays one.
        let kept = address.len() - edited.len();
        address[kept..].copy_from_slice(&edited);
    }
    expected.subnet = if screen.privacy.strip_ecs {
        vec![0; client.subnet.len()]
    } else {
        edited_subnet(&client.subnet, edit)
    };
    if screen.privacy.strip_cookie {
        expected.cookie.fill(0);
    }
    expected
}

#[test]
fn privacy_options_change_the_client_and_nothing_else() {
    let traffic = some_traffic();
    let frames = frames(&traffic);
    for (setting, edit) in address_edits() {
        for (strip_ecs, strip_cookie) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut screen = Screen::default();
            screen.privacy.client_address.clone_from(&setting);
            (screen.privacy.strip_ecs, screen.privacy.strip_cookie) = (strip_ecs, strip_cookie);
            let edited = self::screen(&screen, &frames);
            assert_eq!(edited.len(), frames.len());
            for (edited, (frame, client)) in edited.iter().zip(&traffic) {
                let expected = expected_client(client, &screen, &edit);
                assert_eq!(
                    *edited,
                    expected.put_into(frame),
                    "{:?} {client:?}",
                    screen.privacy
                );
            }
        }
    }
}

#[test]
fn hickory_reads_the_edited_client_subnet() {
    let frames = frames(&traffic());
    let mut screen = Screen::default();
    screen.privacy.client_address = Some(ClientAddress::Truncate { ipv4: 16, ipv6: 24 });
    screen.privacy.strip_cookie = true;
    let mut seen = 0;
    for (edited, frame) in self::screen(&screen, &frames).iter().zip(&frames) {
        let options = [edited, frame].map(|frame| {
            let edns = Seen::new(frame).dns.expect("readable").edns;
            let option = |code| edns.as_ref().and_then(|edns| edns.option(code)).cloned();
            (option(EdnsCode::Subnet), option(EdnsCode::NSID))
        });
        let [
            (Some(EdnsOption::Subnet(subnet)), nsid),
            (Some(EdnsOption::Subnet(before)), nsid_before),
        ] = options
        else {
            continue;
        };
        let prefix = if before.addr().is_ipv4() { 16 } else { 24 };
        assert!(is_within(
            subnet.addr(),
            &format!("{}/{prefix}", before.addr())
        ));
        assert_eq!(bits(subnet.addr())[prefix..].find('1'), None);
        assert_eq!(subnet.source_prefix(), before.source_prefix());
        assert_eq!(nsid, nsid_before);
        seen += 1;
    }
    assert!(seen > 5000, "{seen} frames have a Client Subnet");
}

#[test]
fn no_bytes_of_a_client_are_left_without_its_address_subnet_and_cookie() {
    let traffic = traffic();
    let frames = frames(&traffic);
    let mut screen = Screen::default();
    screen.privacy.client_address = Some(ClientAddress::Remove);
    (screen.privacy.strip_ecs, screen.privacy.strip_cookie) = (true, true);
    let edited = self::screen(&screen, &frames);
    assert_eq!(edited.len(), frames.len());
    let has = |frame: &[u8], bytes: &[u8]| frame.windows(bytes.len()).any(|it| it == bytes);
    let mut found = 0;
    for ((before, after), (_, client)) in frames.iter().zip(&edited).zip(&traffic) {
        let address = client.address.as_deref().expect("an address");
        for bytes in [address, &client.subnet, &client.cookie] {
            found += usize::from(has(before, bytes));
            // Values of fewer than four bytes are not checked, because some frames contain the same bytes by chance.
            assert!(
                bytes.len() < 4 || !has(after, bytes),
                "{bytes:02x?} in {after:02x?}"
            );
        }
        let message = Seen::new(after).message;
        assert_eq!(
            message.query_port.is_some(),
            Seen::new(after).is_between_servers()
        );
    }
    assert!(found > 20_000, "{found} of them were there before");
}

#[test]
fn frames_that_are_not_dnstap_match_no_rule_and_are_not_edited() {
    let frames = [b"not dnstap".to_vec(), recorded("bind").swap_remove(0)];
    let mut screen = Screen::default();
    screen
        .filter
        .add(Kind::Type, Verdict::Drop, "client")
        .expect("a type");
    screen
        .filter
        .add(Kind::Qname, Verdict::Drop, "other.test")
        .expect("a name");
    assert!(self::screen(&screen, &frames) == frames);
    screen.privacy.strip_cookie = true;
    let screened = screen.screen(&chunk(&frames), Instant::now());
    assert_eq!(screened.malformed, 1);
    assert!(frames_of(&screened, 2) == frames[1..]);
    screen
        .filter
        .add(Kind::Type, Verdict::Keep, "auth")
        .expect("a type");
    let screened = screen.screen(&chunk(&frames), Instant::now());
    assert_eq!((screened.filtered, screened.malformed), (1, 0));
}

/// Creates a screen with every option.
fn everything() -> Screen {
    let mut screen = sample(2, KEY);
    for (kind, word) in [
        (Kind::Type, "update_query"),
        (Kind::Qname, "*.b.example.test"),
        (Kind::Qtype, "TXT"),
        (Kind::Rcode, "REFUSED"),
        (Kind::Client, "192.0.2.0/24"),
        (Kind::Protocol, "doq"),
    ] {
        screen.filter.add(kind, Verdict::Drop, word).expect(word);
    }
    screen.limit = Some("1000000/s".parse().expect("a rate"));
    screen.privacy.client_address = Some(ClientAddress::Truncate { ipv4: 24, ipv6: 48 });
    screen.privacy.strip_cookie = true;
    screen
}

#[test]
fn memory_is_allocated_for_a_chunk_and_not_for_a_frame() {
    let frames = frames(&traffic());
    let screen = everything();
    for settings in [
        ClientAddress::Truncate { ipv4: 24, ipv6: 48 },
        ClientAddress::Remove,
    ] {
        let mut screen = screen.clone();
        screen.privacy.client_address = Some(settings);
        let count = |frames: &[Vec<u8>]| {
            let chunk = chunk(frames);
            let now = Instant::now();
            let info = allocation_counter::measure(|| drop(screen.screen(&chunk, now)));
            info.count_total
        };
        let (few, many) = (count(&frames[..100]), count(&frames[..6400]));
        // With 64 times as many frames, the vector of their positions doubles its capacity six more times.
        assert!(
            many <= few + 6,
            "{few} allocations for 100 frames, {many} for 6400"
        );
    }
}

#[test]
fn a_million_names_need_less_than_100_mib() {
    let mut list = String::new();
    for number in 0..1_000_000_u32 {
        use std::fmt::Write as _;
        let hash = number.wrapping_mul(0x9e37_79b1);
        writeln!(list, "{hash:08x}.name-{}.example.org", number % 5000).expect("memory");
    }
    let mut filter = Filter::default();
    let info = allocation_counter::measure(|| {
        filter
            .add_names(Verdict::Drop, list.as_bytes())
            .expect("names");
    });
    assert!(
        info.bytes_max < 100 << 20,
        "{} MiB at most",
        info.bytes_max >> 20
    );
    assert!(
        info.bytes_current < 80 << 20,
        "{} MiB are kept",
        info.bytes_current >> 20
    );
}

static TRAFFIC: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| frames(&traffic()));

proptest! {
    #[test]
    fn any_frames_are_counted_once_and_stay_dnstap(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), 0..11_325_usize, any::<bool>()), 1..8),
        remove: bool,
    ) {
        // Random bytes overwrite the end of each frame, or bytes shortly before its end.
        let frames: Vec<Vec<u8>> = frames.into_iter().map(|(bytes, place, is_valid)| {
            let mut frame = TRAFFIC[place % TRAFFIC.len()].clone();
            let length = frame.len();
            let at = length.saturating_sub(bytes.len() + usize::from(is_valid) * 12);
            for (byte, new) in frame[at..].iter_mut().zip(&bytes) {
                *byte = *new;
            }
            frame
        }).collect();
        let mut screen = everything();
        if remove {
            screen.privacy.client_address = Some(ClientAddress::Remove);
            screen.privacy.strip_ecs = true;
        }
        let screened = screen.screen(&chunk(&frames), Instant::now());
        let passed = frames_of(&screened, frames.len());
        if frames.iter().all(|frame| validate(frame).is_ok()) {
            prop_assert_eq!(screened.malformed, 0);
            prop_assert!(passed.iter().all(|frame| validate(frame).is_ok()));
        }
    }
}
