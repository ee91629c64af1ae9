//! Tests of sinks with filters: each sink gets exactly the frames that its rules keep. The frames arrive unchanged or
//! without client addresses, and excluded frames do not count as lost.

use std::{collections::HashSet, fs};

use bytes::Bytes;
use prost::Message as _;
use tapfan::{
    admin::RouterStatus,
    health::{Exclusion, State},
    internals::Mode,
    proto::{Dnstap, Policy, message::Type, policy::Match},
};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Scraper, metrics, serve},
    collector::{Behaviour, Collector},
    http::get,
    reload::steady,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, recorded},
    wait::until,
    wire,
};

const SAMPLE_KEY: &str = "00112233445566778899aabbccddeeff\n";
const PSEUDONYM_KEY: &str = "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301\n";

fn decode(frame: &[u8]) -> Dnstap {
    Dnstap::decode(frame).expect("dnstap")
}

fn type_of(frame: &[u8]) -> Type {
    decode(frame).message.expect("a message").r#type()
}

fn is_of_client(frame: &[u8]) -> bool {
    matches!(type_of(frame), Type::ClientQuery | Type::ClientResponse)
}

fn is_between(frame: &[u8]) -> bool {
    use Type::{ForwarderQuery, ForwarderResponse, ResolverQuery, ResolverResponse};
    matches!(
        type_of(frame),
        ForwarderQuery | ForwarderResponse | ResolverQuery | ResolverResponse
    )
}

/// Returns whether the frame has a response with one of these codes.
fn has_code(frame: &[u8], codes: &[u8]) -> bool {
    let message = decode(frame).message.expect("a message");
    let is_response = message.r#type().as_str_name().ends_with("RESPONSE");
    let code = message.response_message.and_then(|dns| dns.get(3).copied());
    is_response && code.is_some_and(|flags| codes.contains(&(flags & 15)))
}

/// Returns the recorded frames, in which each client has an address that begins with 0xdead. No other bytes of the
/// frames do.
fn with_own_addresses() -> Vec<Bytes> {
    let number = |place: usize| u16::try_from(place).expect("few").to_be_bytes();
    let each = recorded().into_iter().enumerate().map(|(place, frame)| {
        if is_between(&frame) {
            return frame;
        }
        let mut tap = decode(&frame);
        let message = tap.message.as_mut().expect("a message");
        // The address is made from the identifier, so that the query and the response of a transaction get the same
        // address.
        let dns = message
            .query_message
            .as_ref()
            .or(message.response_message.as_ref());
        let id = dns.and_then(|dns| dns.first_chunk::<2>().copied());
        let [high, low] = id.unwrap_or_else(|| number(place));
        let address = [0xde, 0xad, high, low];
        message.query_address = Some(if place % 3 == 0 && id.is_none() {
            [[0; 12].as_slice(), &address].concat()
        } else {
            address.to_vec()
        });
        if place % 4 == 1 {
            message.policy = Some(Policy {
                r#match: Some(Match::ClientIp.into()),
                value: Some(address.to_vec()),
                ..Policy::default()
            });
        }
        tap.encode_to_vec().into()
    });
    each.collect()
}

fn contains(frame: &[u8], bytes: &[u8]) -> bool {
    frame.windows(bytes.len()).any(|window| window == bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sink_gets_its_frames_and_nothing_counts_as_lost() {
    let folder = Folder::new();
    fs::write(folder.path("sample.key"), SAMPLE_KEY).expect("written");
    fs::write(folder.path("pseudonym.key"), PSEUDONYM_KEY).expect("written");
    fs::write(folder.path("names"), "# none\nno.such.name.invalid\n").expect("written");
    let archive = Collector::unix(folder.path("archive")).listening();
    let [siem, research, anonymous, nothing] = [(); 4].map(|()| Collector::tcp().listening());
    let router = Router::start(&format!(
        "listen unix://{input}
        dnstap {archive} full 1 2 {{ name stays-archive }}
        dnstap {siem} full 1 2 {{
            name stays-siem
            keep rcode SERVFAIL NXDOMAIN REFUSED
            limit 1000000/s
        }}
        dnstap {research} full 1 2 {{
            name stays-research
            types client
            sample 1/20 {sample_key}
            client_address pseudonym {pseudonym_key}
            strip ecs cookie
            extra \"{{sample}} {{remote}}\"
        }}
        dnstap {anonymous} full 1 2 {{
            name stays-anonymous
            client_address remove
            strip ecs cookie
        }}
        dnstap {nothing} full 1 2 {{ name stays-nothing keep qname_file {names} }}",
        input = folder.display("in"),
        archive = archive.socket(),
        siem = siem.socket(),
        research = research.socket(),
        anonymous = anonymous.socket(),
        nothing = nothing.socket(),
        sample_key = folder.display("sample.key"),
        pseudonym_key = folder.display("pseudonym.key"),
        names = folder.display("names"),
    ));
    let (server, address) = serve(router.view(), "");
    let scraper = Scraper::start(address);
    router.all_up().await;
    let sent = with_own_addresses();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.write_in_pieces(&wire::data(&sent), 7919).await;
    sender.stop().await;
    archive.got(sent.len()).await;
    anonymous.got(sent.len()).await;
    let is_quiet = |sink: usize| {
        let ledger = router.ledger(sink);
        ledger.queued + ledger.in_flight == 0
    };
    until("all sinks have sent their frames", || (0..5).all(is_quiet)).await;

    let answer = block_in_place(|| get(address, "/status"));
    let status: RouterStatus = serde_json::from_str(&answer.body).expect("the status");
    for sink in &status.sinks {
        let name = &sink.name;
        assert_eq!(sink.state, State::Up, "{name}");
        assert_eq!(sink.ledger.dropped_total(), 0, "{name}");
        assert!(sink.ledger.balances(), "{name}");
        let verdict = sink.verdict.as_ref().expect("judged");
        assert_eq!(verdict.word.label(), "ok", "{name}: {}", verdict.sentence);
    }
    let research_status = status.sinks[2].filter.as_ref().expect("a filter");
    assert_eq!(research_status.sample_one_in, 20);
    assert_eq!(research_status.options[0], "types client");
    assert_eq!(status.sinks[0].filter, None);

    let scrape = metrics(address);
    let value = |metric: &str, sink: &str| {
        scrape.value(&format!("tapfan_sink_{metric}{{sink=\"stays-{sink}\"}}"))
    };
    assert!((value("sample_ratio", "research") - 0.05).abs() < 1e-9);
    assert!((value("sample_ratio", "siem") - 1.0).abs() < 1e-9);
    let filtered = "tapfan_sink_excluded_frames_total{sink=\"stays-nothing\",reason=\"filtered\"}";
    assert!((scrape.value(filtered) - 11_000.0).abs() < 0.5);

    let report = router.drain().await;
    let (times, _) = block_in_place(|| scraper.end());
    assert!(times > 3, "{times} scrapes");
    drop(server);
    let ledger = |sink: usize| &report.sinks[sink].ledger;
    assert_eq!(archive.frames(), sent, "byte for byte");
    let failures: Vec<Bytes> = sent
        .iter()
        .filter(|frame| has_code(frame, &[2, 3, 5]))
        .cloned()
        .collect();
    assert!(failures.len() > 500, "{} failures", failures.len());
    assert_eq!(siem.frames(), failures, "byte for byte");
    assert_eq!(nothing.frames().len(), 0);
    assert_eq!(ledger(4).excluded(Exclusion::Filtered), 11_000);

    the_addresses_are_gone(&sent, &research.frames(), &anonymous.frames());
    let clients = sent.iter().filter(|frame| is_of_client(frame)).count() as u64;
    let sampled = ledger(2).excluded(Exclusion::Sampled);
    assert_eq!(ledger(2).excluded(Exclusion::Filtered), 11_000 - clients);
    assert_eq!(ledger(2).delivered + sampled, clients);
    let part = clients / 60..clients / 7;
    assert!(
        part.contains(&ledger(2).delivered),
        "{}",
        ledger(2).delivered
    );
}

/// Checks the frames of the sinks with pseudonyms and without addresses: none of the original addresses is left in
/// them.
fn the_addresses_are_gone(sent: &[Bytes], pseudonyms: &[Bytes], removed: &[Bytes]) {
    for frame in pseudonyms.iter().chain(removed) {
        assert!(!contains(frame, &[0xde, 0xad]), "an address is left");
        // 0xde and 0xad in the text form of an address.
        assert!(!contains(frame, b"222.173."), "an address is left as text");
    }
    assert!(pseudonyms.iter().all(|it| contains(it, b"1/20")));
    for (before, after) in sent.iter().zip(removed) {
        if is_between(before) {
            assert_eq!(before, after, "byte for byte");
            continue;
        }
        let mut expected = decode(before);
        let message = expected.message.as_mut().expect("a message");
        message.query_address = None;
        message.query_port = None;
        message.policy = None;
        assert_eq!(decode(after), expected);
    }
}

fn profile(rate: u64) -> LoadProfile {
    LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame: numbered,
        first: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_rules_apply_without_a_new_connection_and_without_a_loss() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"))
        .numbers_only()
        .listening();
    fs::write(folder.path("names"), "example.org\n").expect("written");
    let tapfile = |options: &str| {
        format!(
            "listen unix://{}\ndrain 5s\ndnstap {} full {{\n name a\n {options}\n}}",
            folder.display("in"),
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile(""));
    router.all_up().await;
    let auditor = router.audit();
    let load = Load::start(&router.target(0), profile(5_000)).await;
    collector.got(100).await;
    // The queue keeps its frames while the rules change.
    collector.behave(Behaviour::Hangs);
    let excluded = |router: &Router| router.ledger(0).excluded_total();
    let changes = router.reload(&tapfile("types resolver")).expect("good");
    assert_eq!(changes.changed.len(), 1);
    until("frames are excluded", || excluded(&router) > 100).await;
    let names = format!("drop qname_file {}", folder.display("names"));
    router.reload(&tapfile(&names)).expect("good");
    let before = router.ledger(0);
    collector.behave(Behaviour::Good);
    until("frames are delivered again", || {
        router.ledger(0).delivered > before.delivered + 1000
    })
    .await;
    // A reload of the same Tapfile changes nothing, unless the content of the file with the names has changed.
    assert!(router.reload(&tapfile(&names)).expect("good").is_empty());
    fs::write(folder.path("names"), ".\n").expect("written");
    let changes = router.reload(&tapfile(&names)).expect("good");
    assert_eq!(changes.changed.len(), 1);
    // If the list has an error, the router refuses the reload and keeps the old rules.
    fs::write(folder.path("names"), "good.example\nb..ad\n").expect("written");
    let refused = router.reload(&tapfile(&names)).expect_err("refused");
    assert!(refused.to_string().contains("line 2"), "{refused}");

    auditor.finish();
    let drain = router.drain_after_changes(CancellationToken::new());
    let (report, sent) = tokio::join!(drain, load.ended());
    let ledger = &report.sinks[0].ledger;
    assert_eq!(ledger.offered, sent);
    assert_eq!(ledger.dropped_total(), 0, "{ledger:?}");
    assert_eq!(ledger.delivered + ledger.excluded_total(), sent);
    assert_eq!(collector.streams(), 1, "the connection stays");
    assert_eq!(collector.frames().len() as u64, ledger.delivered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_above_a_limit_are_counted_and_are_no_loss() {
    let folder = Folder::new();
    let collectors = [(); 2].map(|()| Collector::tcp().numbers_only().listening());
    let router = Router::start(&format!(
        "listen unix://{}
        dnstap {} full {{ name stays-limited limit 100/s }}
        dnstap {} full {{ name stays-all }}",
        folder.display("in"),
        collectors[0].socket(),
        collectors[1].socket(),
    ));
    router.all_up().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..5_000).map(numbered)).await;
    sender.stop().await;
    collectors[1].got(5_000).await;
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    let limited = ledger.excluded(Exclusion::RateLimited);
    assert_eq!(limited + ledger.delivered, 5_000, "{ledger:?}");
    assert!(ledger.delivered >= 100 && limited > 3_000, "{ledger:?}");
    let delivered: HashSet<Bytes> = collectors[0].frames().into_iter().collect();
    assert_eq!(delivered.len() as u64, ledger.delivered);
}

/// Creates a numbered frame with a response.
fn response(number: u64) -> Bytes {
    let mut frame = numbered(number).to_vec();
    let types = [8, Type::ClientQuery as u8];
    let mut fields = frame.windows(types.len());
    let place = fields.position(|field| field == types).expect("a type");
    frame[place + 1] = Type::ClientResponse as u8;
    assert_eq!(type_of(&frame), Type::ClientResponse);
    frame.into()
}

/// The sink gets the queries of one listener or the responses of another, and a reload changes both. So every frame of
/// its listener passes its filter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_the_filter_and_the_listeners_of_a_sink_together() {
    /// Each of these sinks makes the reload longer.
    const OTHERS: usize = 300;
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |from: &str, types: &str| {
        let path = |name: &str| folder.display(name);
        let listeners = ["queries", "responses", "idle"];
        let listeners =
            listeners.map(|name| format!("listen unix://{} {{\n name {name}\n}}\n", path(name)));
        let others = (0..OTHERS).map(|number| {
            let nobody = path("nobody");
            format!("dnstap {nobody} full {{\n name {number}\n from idle\n types {types}\n}}\n")
        });
        let socket = collector.socket();
        let follows =
            format!("dnstap {socket} full {{\n name follows\n from {from}\n types {types}\n}}\n");
        let all = listeners.into_iter().chain([follows]).chain(others);
        format!("drain 1s\n{}", all.collect::<String>())
    };
    let tapfiles = [
        tapfile("queries", "client_query"),
        tapfile("responses", "client_response"),
    ];
    let mut router = Router::start(&tapfiles[0]);
    router.up(0).await;
    let queries = Load::start(&router.target(0), steady(20_000, 0)).await;
    let responses = LoadProfile {
        frame: response,
        ..steady(20_000, 0)
    };
    let responses = Load::start(&router.target(1), responses).await;
    for tapfile in tapfiles.iter().cycle().skip(1).take(10) {
        let before = router.ledger(0).offered;
        router.reload(tapfile).expect("sound");
        until("frames arrive after the reload", || {
            router.ledger(0).offered > before + 50
        })
        .await;
    }
    queries.end().await;
    responses.end().await;
    let report = router.drain_after_changes(CancellationToken::new()).await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.excluded_total(), ledger.dropped_total()), (0, 0));
    assert_eq!(collector.frames().len() as u64, ledger.delivered);
}
