//! Tests of the responses of the admin endpoint while the router starts, runs, reloads and drains.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tapfan::{
    admin::{RouterStatus, Server},
    health::{Counts, Disconnect, DropReason, RouterPhase, State},
    internals::Mode,
    supervisor::{ErrorReason, MessageType, Supervisor, View},
};
use tokio::{runtime::Handle, task::block_in_place, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::Certificates,
    collector::{self, Collector},
    exposition::Exposition,
    http::{get, request},
    router::{Folder, Router, parse},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, recorded},
    wait::until,
};

const OPEN_METRICS: &str =
    "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";

/// Starts an admin endpoint on a free port. `lines` are further lines of the Tapfile.
pub(crate) fn serve(view: View, lines: &str) -> (Server, SocketAddr) {
    serve_for(view, lines, &Handle::current())
}

/// Starts an admin endpoint for a router that runs on the tokio runtime `runtime`. `lines` are
/// further lines of the Tapfile.
pub(crate) fn serve_for(view: View, lines: &str, runtime: &Handle) -> (Server, SocketAddr) {
    let mut server = Server::start(view, runtime).expect("a thread");
    apply(&mut server, lines);
    let address = server.address().expect("an address");
    (server, address)
}

fn apply(server: &mut Server, lines: &str) {
    let config = parse(&format!(
        "listen @in\ndnstap @out\nadmin 127.0.0.1:0\n{lines}"
    ));
    let sockets = server.bind(&config.admin).expect("free ports");
    server.apply(sockets);
}

fn status(address: SocketAddr) -> RouterStatus {
    let answer = block_in_place(|| get(address, "/status"));
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).expect("the status")
}

pub(crate) fn metrics(address: SocketAddr) -> Exposition {
    Exposition::read(&block_in_place(|| get(address, "/metrics")).body)
}

/// A thread that requests `/metrics` continuously and asserts that every ledger balances.
pub(crate) struct Scraper {
    enough: CancellationToken,
    scrapes: Arc<AtomicU64>,
    thread: thread::JoinHandle<Exposition>,
}

impl Scraper {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (enough, scrapes) = (CancellationToken::new(), Arc::<AtomicU64>::default());
        let (until, count) = (enough.clone(), Arc::clone(&scrapes));
        let thread = thread::spawn(move || {
            // The counters of the previous scrape, for the sinks that are in every scrape.
            let mut last: BTreeMap<String, f64> = BTreeMap::new();
            loop {
                let is_last = until.is_cancelled();
                let headers = if count.load(Relaxed).is_multiple_of(2) {
                    OPEN_METRICS
                } else {
                    ""
                };
                let answer = request(address, "GET", "/metrics", headers, "");
                assert_eq!(answer.status, 200);
                let scrape = Exposition::read(&answer.body);
                scrape.adds_up();
                for name in [
                    "tapfan_sink_offered_frames_total",
                    "tapfan_sink_excluded_frames_total",
                    "tapfan_sink_delivered_frames_total",
                    "tapfan_sink_dropped_frames_total",
                    "tapfan_sink_latency_seconds_count",
                ] {
                    for (series, value) in scrape.of(name) {
                        if series.contains("stays-") {
                            let before = last.insert(series.to_owned(), value).unwrap_or(0.0);
                            assert!(value >= before, "{series} went from {before} to {value}");
                        }
                    }
                }
                count.fetch_add(1, Relaxed);
                if is_last {
                    return scrape;
                }
            }
        });
        Self {
            enough,
            scrapes,
            thread,
        }
    }

    /// Stops the thread. Returns the number of scrapes, and the last scrape.
    pub(crate) fn end(self) -> (u64, Exposition) {
        self.enough.cancel();
        let last = self.thread.join().expect("every scrape balances");
        (self.scrapes.load(Relaxed), last)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scrape_balances_through_outages_drops_reloads_and_a_drain() {
    let folder = Folder::new();
    let good = Collector::unix(folder.path("good"))
        .numbers_only()
        .listening();
    let mut fails = Collector::tcp().numbers_only().listening();
    let hangs = Collector::unix(folder.path("hangs"))
        .numbers_only()
        .listening();
    hangs.behave(collector::Behaviour::Hangs);
    let comes_and_goes = Collector::tcp().numbers_only().listening();
    let tapfile = {
        let sink = |collector: &Collector, name: &str, more: &str| {
            format!(
                "dnstap {} full {{\nname {name}\n{more}\n}}\n",
                collector.socket()
            )
        };
        let sinks = [
            sink(&good, "stays-good", ""),
            sink(&fails, "stays-fails", "queue_bytes 1MiB"),
            sink(&hangs, "stays-hangs", "queue_bytes 1MiB"),
        ];
        let fixed = format!(
            "listen {}\ndrain 3s\n{}",
            folder.display("in"),
            sinks.concat()
        );
        move |more: &str| format!("{fixed}{more}")
    };
    let fourth = format!("dnstap {} {{\nname passes\n}}\n", comes_and_goes.socket());
    let mut router = Router::start(&tapfile(""));
    let (server, address) = serve(router.view(), "");
    let scraper = Scraper::start(address);
    router.up(0).await;
    let load = Load::start(
        &router.target(0),
        LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Stop,
            rate: 20_000,
            frame: numbered,
            first: 0,
        },
    )
    .await;
    for round in 0..3 {
        good.got(30_000 * (round + 1)).await;
        fails.kill().await;
        router.reload(&tapfile(&fourth)).expect("good");
        router.up(3).await;
        good.got(30_000 * (round + 1) + 15_000).await;
        fails.listen();
        router.up(1).await;
        router.reload(&tapfile("")).expect("good");
    }
    // A removed sink stays in the metrics until it is drained.
    until("the removed sink is gone", || {
        !metrics(address).sinks().contains(&"passes".to_owned())
    })
    .await;
    assert!(server.address().is_some());
    let sent = {
        let drain = router.drain_after_changes(CancellationToken::new());
        let (report, sent) = tokio::join!(drain, load.ended());
        assert_eq!(report.sinks.len(), 3);
        f64::from(u32::try_from(sent).expect("few"))
    };
    let (times, last) = block_in_place(|| scraper.end());
    assert!(times > 100, "{times} scrapes");
    assert!((last.value("tapfan_phase{phase=\"draining\"}") - 1.0).abs() < 0.1);
    for (series, offered) in last.of("tapfan_sink_offered_frames_total") {
        assert!(
            (offered - sent).abs() < 0.5,
            "{series}: {offered} of {sent}"
        );
    }
    let dropped = |sink, reason| {
        last.value(&format!(
            "tapfan_sink_dropped_frames_total{{sink=\"{sink}\",reason=\"{reason}\"}}"
        ))
    };
    assert!(dropped("stays-fails", "queue_full") > 0.0);
    assert!(dropped("stays-hangs", "queue_full") > 0.0);
    assert!(dropped("stays-hangs", "shutdown") > 0.0);
    assert!(last.value("tapfan_sink_write_stalls_total{sink=\"stays-hangs\"}") > 0.0);
    let ended = last.of("tapfan_sink_disconnects_total");
    let ended = ended.filter(|(series, _)| series.contains("stays-fails"));
    let ended: f64 = ended.map(|(_, times)| times).sum();
    assert!(ended >= 3.0, "{ended}");
    assert!((last.value("tapfan_reloads_total{result=\"success\"}") - 6.0).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_starts_at_zero() {
    let folder = Folder::new();
    let router = Router::start(&format!(
        "listen {}\ndnstap {} {{ name \"a \\\"b\\\" \\c\" }}\n",
        folder.display("in"),
        folder.display("out")
    ));
    let (_server, address) = serve(router.view(), "");
    let scrape = metrics(address);
    let listener = folder.display("in");
    let sink = r#"a \"b\" \\c"#;
    let of = |name: &str, of: &str, name_of: &str, label: &str, values: &[&str]| {
        for value in values {
            let series = format!("{name}{{{of}=\"{name_of}\",{label}=\"{value}\"}}");
            assert!(scrape.get(&series).is_some(), "{series} of {scrape:#?}");
        }
    };
    let reasons = ErrorReason::ALL.map(ErrorReason::label);
    of(
        "tapfan_listener_errors_total",
        "listener",
        &listener,
        "reason",
        &reasons,
    );
    let types = MessageType::ALL.map(MessageType::label);
    of(
        "tapfan_listener_message_frames_total",
        "listener",
        &listener,
        "type",
        &types,
    );
    let reasons = DropReason::ALL.map(DropReason::label);
    of(
        "tapfan_sink_dropped_frames_total",
        "sink",
        sink,
        "reason",
        &reasons,
    );
    of(
        "tapfan_sink_disconnects_total",
        "sink",
        sink,
        "reason",
        &Disconnect::LABELS,
    );
    of(
        "tapfan_sink_state",
        "sink",
        sink,
        "state",
        &State::ALL.map(State::label),
    );
    of(
        "tapfan_sink_connects_total",
        "sink",
        sink,
        "result",
        &["success", "failure"],
    );
    for name in [
        "tapfan_listener_connections",
        "tapfan_listener_frames_total",
        "tapfan_listener_bytes_total",
    ] {
        assert!(
            scrape
                .value(&format!("{name}{{listener=\"{listener}\"}}"))
                .abs()
                < 0.1
        );
    }
    for name in [
        "up",
        "offered_frames_total",
        "delivered_frames_total",
        "delivered_bytes_total",
        "queue_frames",
        "queue_bytes",
        "inflight_frames",
        "latency_seconds_count",
        "write_stalls_total",
    ] {
        assert!(
            scrape
                .value(&format!("tapfan_sink_{name}{{sink=\"{sink}\"}}"))
                .abs()
                < 0.1
        );
    }
    let capacity = format!("tapfan_sink_queue_capacity_frames{{sink=\"{sink}\"}}");
    assert!((scrape.value(&capacity) - 10_000.0).abs() < 0.1);
    assert!(scrape.of("tapfan_build_info").count() == 1);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_have_an_expiry_metric_and_every_metric_has_help() {
    let certificates = Certificates::new();
    let path = |name| certificates.path(name).display().to_string();
    let (cert, key) = (path("server.crt"), path("server.key"));
    let router = Router::start(&format!(
        "listen tls://127.0.0.1:0 {{\ncert {cert}\nkey {key}\n}}\ndnstap @tapfan-test-nobody\n"
    ));
    let (_server, address) = serve(router.view(), "");
    let scrape = metrics(address);
    let (series, expires) = scrape
        .of("tapfan_certificate_expiry_timestamp_seconds")
        .next()
        .expect("a certificate");
    assert!(series.contains("listener=\"tls://127.0.0.1:0\"") && series.contains(&cert));
    assert!(expires > scrape.value("process_start_time_seconds"));
    for (name, kind) in &scrape.types {
        assert!(scrape.helped.contains(name), "{name} has no help");
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name} is a {kind}"
        );
    }
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_counted_by_message_type() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen {}\ndnstap {} full\n",
        folder.display("in"),
        collector.socket()
    ));
    let (_server, address) = serve(router.view(), "");
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let frames = recorded();
    sender.send(&frames).await;
    sender.stop().await;
    collector.got(frames.len()).await;
    let mut expected: Counts = MessageType::ALL.map(|of| (of.label().into(), 0)).into();
    for frame in &frames {
        use prost::Message as _;
        let tap = tapfan::proto::Dnstap::decode(frame.clone()).expect("dnstap");
        let of = tap.message.expect("a message").r#type().as_str_name();
        *expected.get_mut(of).expect("a known type") += 1;
    }
    let status = status(address);
    assert_eq!(status.listeners[0].message_frames, expected);
    assert_eq!(status.listeners[0].frames, 11_000);
    assert!(status.sinks[0].ledger.balances());
    assert_eq!(status.sinks[0].latency.counts.iter().sum::<u64>(), 11_000);
    assert!(status.sinks[0].latency.p99_seconds >= status.sinks[0].latency.p50_seconds);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_follow_the_phase_and_depend_on_sinks_only_with_ready_when() {
    let folder = Folder::new();
    let mut one = Collector::unix(folder.path("one"));
    let mut two = Collector::unix(folder.path("two"));
    let tapfile = format!(
        "listen {}\ndrain 1s\ndnstap {} {{ name one }}\ndnstap {} {{ name two }}\n",
        folder.display("in"),
        one.socket(),
        two.socket()
    );
    let view = View::new();
    let (mut server, address) = serve(view.clone(), "");
    let probe = |path: &str| {
        let answer = block_in_place(|| get(address, path));
        (answer.status, answer.body)
    };
    let ready = || {
        let ready = probe("/readyz");
        // Compares only the status codes of `/healthz` and `/readyz`: the bodies contain times,
        // which may differ.
        assert_eq!(probe("/healthz").0, ready.0);
        assert_eq!(probe("/livez"), (200, "live\n".to_owned()));
        ready
    };
    assert_eq!(ready(), (503, "not ready: starting\n".to_owned()));
    assert_eq!(status(address).phase, RouterPhase::Starting);
    let supervisor = Supervisor::start_in(view, &parse(&tapfile)).expect("good");
    until("both sinks have failed", || {
        let status = status(address);
        status.sinks.iter().all(|sink| sink.failed_connects > 0)
    })
    .await;
    let (code, body) = ready();
    assert_eq!(code, 200, "ready_when is not set, so sinks do not matter");
    assert!(body.starts_with("ready\ndegraded: one: "), "{body}");
    assert!(body.contains("is it running?"), "{body}");
    for when in ["any", "all"] {
        apply(&mut server, &format!("ready_when {when}"));
        assert_eq!(ready().0, 503, "{when}, with none up");
    }
    let is_up = |place: usize| move || status(address).sinks[place].state == State::Up;
    one.listen();
    until("one is up", is_up(0)).await;
    let (code, body) = ready();
    assert_eq!(code, 503, "all, with one up");
    assert!(
        body.starts_with("not ready: not every sink is up, and ready_when is all\ndegraded: two: "),
        "{body}"
    );
    apply(&mut server, "ready_when any");
    assert_eq!(ready().0, 200, "any, with one up");
    two.listen();
    until("two is up", is_up(1)).await;
    apply(&mut server, "ready_when all");
    assert_eq!(ready(), (200, "ready\n".to_owned()));
    // This collector never sends FINISH, so that the drain lasts long enough for the test to
    // observe it.
    two.behave(collector::Behaviour::NeverFinishes);
    let draining = tokio::spawn(supervisor.drain(CancellationToken::new()));
    until("the router drains", || {
        probe("/readyz") == (503, "not ready: draining\n".to_owned())
    })
    .await;
    let report = draining.await.expect("drained");
    assert_eq!(report.sinks.len(), 2);
    assert_eq!(ready(), (503, "not ready: draining\n".to_owned()));
    assert_eq!(status(address).sinks[0].state, State::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_shows_errors_and_reloads() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |options: &str| {
        format!(
            "listen {}\ndnstap {} {options} {{ name siem }}\n",
            folder.display("in"),
            collector.socket()
        )
    };
    let (before, after) = (tapfile(""), tapfile("full"));
    let mut router = Router::start(&before);
    let (_server, address) = serve(router.view(), "");
    router.up(0).await;
    let first = status(address);
    assert_eq!(first.phase, RouterPhase::Running);
    assert_eq!(first.reloads.last, None);
    let sink = &first.sinks[0];
    assert_eq!(
        (sink.state, sink.connects, sink.failures),
        (State::Up, 1, 0)
    );
    assert_eq!(sink.endpoint.as_deref(), Some(collector.socket().as_str()));
    assert_eq!(sink.endpoints.len(), 1);
    assert_eq!(sink.last_error, None);
    assert!(first.now >= sink.since && sink.since >= first.started);
    router.reload(&after).expect("good");
    let bad = format!("listen {}\ndnstap @x\n", folder.display("no/such/folder"));
    let error = router.reload(&bad).expect_err("no such folder");
    let second = status(address);
    assert_eq!((second.reloads.succeeded, second.reloads.failed), (1, 1));
    let last = second.reloads.last.expect("a reload");
    assert_eq!((last.error, last.changes), (Some(error.to_string()), None));
    assert!(second.reloads.last_success.expect("a time") <= last.at);
    assert_eq!(second.sinks[0].mode, tapfan::admin::SinkMode::Full);
    collector.kill().await;
    until("the status shows the failure", || {
        let sink = &status(address).sinks[0];
        sink.last_error.is_some() && sink.state == State::Backoff && sink.next_attempt.is_some()
    })
    .await;
    sleep(Duration::ZERO).await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_separate_probes_address_serves_only_probes_and_metrics() {
    let router = Router::start("listen @tapfan-test-probes-apart\ndnstap @tapfan-test-nobody\n");
    let (mut server, admin) = serve(router.view(), "probes 127.0.0.1:0");
    let probes = server.probes_address().expect("an address");
    block_in_place(|| {
        for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
            for address in [admin, probes] {
                assert_eq!(get(address, path).status, 200, "{path}");
                let head = request(address, "HEAD", path, "", "");
                assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
                let refused = request(address, "POST", path, "", "x");
                assert_eq!(refused.status, 405, "{path}");
                assert!(refused.head.contains("allow: get,head"), "{}", refused.head);
            }
        }
        assert_eq!(get(admin, "/status").status, 200);
        for path in ["/status", "/log-level", "/", "/events"] {
            let answer = get(probes, path);
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.body.contains("/livez") && !answer.body.contains("/status"));
        }
        assert!(get(admin, "/nowhere").body.contains("/status"));
    });
    // The new configuration has no `probes` address. The reload closes the old one, and keeps the
    // admin address.
    apply(&mut server, "");
    assert_eq!(server.probes_address(), None);
    assert_eq!(server.address(), Some(admin));
    until("the port is closed", || {
        std::net::TcpStream::connect(probes).is_err()
    })
    .await;
    assert_eq!(block_in_place(|| get(admin, "/livez")).status, 200);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_use_the_format_that_the_client_accepts() {
    let router = Router::start("listen @tapfan-test-formats\ndnstap @tapfan-test-nobody\n");
    let (_server, address) = serve(router.view(), "");
    let ask = |headers| block_in_place(|| request(address, "GET", "/metrics", headers, ""));
    let open_metrics = ask(OPEN_METRICS);
    assert!(
        open_metrics
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open_metrics.body.ends_with("# EOF\n"));
    assert!(
        open_metrics
            .body
            .contains("# TYPE tapfan_sink_offered_frames counter\n")
    );
    let text = ask("accept: */*\r\n");
    assert!(
        text.head
            .contains("content-type: text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(!text.body.contains("# EOF"));
    assert!(
        text.body
            .contains("# TYPE tapfan_sink_offered_frames_total counter\n")
    );
    let names = |body: &str| {
        let read = Exposition::read(body);
        read.names()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&open_metrics.body), names(&text.body));
    router.drain().await;
}
