//! Tests of the option `confirm`: the router keeps each frame until the collector has confirmed it, and sends
//! unconfirmed frames again after a broken connection.

use std::time::Duration;

use socket2::SockRef;
use tapfan::{
    health::{SinkHealth, State},
    internals::Mode,
};

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{Behaviour, Collector},
    manual::Manual,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, numbers_of},
    wait::until,
};

async fn load(router: &Router, rate: u64) -> Load {
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame: numbered,
        first: 0,
    };
    Load::start(&router.target(0), profile).await
}

fn tapfile(folder: &Folder, socket: &str, confirm: &str) -> String {
    let listen = folder.display("in");
    format!(
        "listen unix://{listen}\ndnstap {socket} full 1 8 {{\n name a\n confirm {confirm}\n}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_sends_exactly_what_the_peers_kernel_had_not_acknowledged() {
    const FRAMES: u64 = 60_000;
    let folder = Folder::new();
    let collector = Manual::listening();
    let socket = format!("tcp://127.0.0.1:{}", collector.port());
    let router = Router::start(&tapfile(&folder, &socket, "kernel"));
    let stuck = collector.accept().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let frames: Vec<_> = (0..FRAMES).map(numbered).collect();
    let bytes: usize = frames.iter().map(|frame| frame.len() + 4).sum();
    assert!(bytes > 4 << 20, "more than both kernels hold");
    sender.send(&frames).await;
    let stalled = |status: &SinkHealth| status.write_stalls > 0;
    router.until(0, "waits for the collector", stalled).await;
    let held = stuck.unread().await;
    // Counts the whole frames that the collector's kernel has acknowledged, although no program has read them.
    let mut acknowledged = 0;
    let mut end = 0;
    for frame in &frames {
        end += frame.len() + 4;
        if end > held {
            break;
        }
        acknowledged += 1;
    }
    let before = router.ledger(0);
    assert!(before.balances(), "{before:?}");
    assert!(before.unconfirmed + before.in_flight > 0, "{before:?}");
    // The router counts the frames of a batch as delivered only after the write of the batch has ended. So some
    // acknowledged frames may still be counted as in flight.
    assert!(before.delivered <= acknowledged, "{before:?}");
    let linger = Some(Duration::ZERO);
    SockRef::from(&stuck.stream)
        .set_linger(linger)
        .expect("set");
    drop(stuck);
    let stop = tokio::spawn(collector.accept().await.finish());
    sender.stop().await;
    let report = router.drain().await;
    let got = stop.await.expect("no panic").read;
    let expected = frames
        .iter()
        .skip(usize::try_from(acknowledged).expect("few"));
    let expected = crate::wire::data(expected);
    assert_eq!(got.len(), expected.len());
    assert!(
        got == expected,
        "each frame after the acknowledged ones, once"
    );
    let ledger = &report.sinks[0].ledger;
    assert!(ledger.balances());
    assert_eq!(
        (ledger.delivered, ledger.unconfirmed, ledger.held_bytes),
        (FRAMES, 0, 0)
    );
    assert!(ledger.resent > 0, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_level_delivers_everything_to_a_good_collector() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collectors = [
        Collector::unix(folder.path("out"))
            .numbers_only()
            .listening(),
        Collector::tcp().numbers_only().listening(),
        Collector::tls(certificates.collector(ServerCertificate::Good, false))
            .numbers_only()
            .listening(),
    ];
    for confirm in ["written", "kernel", "finish"] {
        let sinks = collectors.each_ref().map(|collector| {
            let socket = collector.socket();
            let ca = if collector.is_tls() {
                format!("ca {}", certificates.path("ca.crt").display())
            } else {
                String::new()
            };
            format!("dnstap {socket} full 1 8 {{\n confirm {confirm}\n {ca}\n}}\n")
        });
        let listen = folder.display("in");
        let router = Router::start(&format!("listen unix://{listen}\n{}", sinks.concat()));
        router.all_up().await;
        let before = collectors
            .each_ref()
            .map(|collector| collector.frames().len());
        let audit = router.audit();
        let load = load(&router, 20_000).await;
        until("some frames were sent", || {
            (0..3).all(|sink| router.ledger(sink).offered > 20_000)
        })
        .await;
        let sent = load.end().await;
        let report = router.drain().await;
        audit.finish();
        for ((collector, sink), before) in collectors.iter().zip(&report.sinks).zip(before) {
            let ledger = &sink.ledger;
            assert_eq!(
                (ledger.delivered, ledger.unconfirmed, ledger.resent),
                (sent, 0, 0),
                "{confirm}"
            );
            let frames = collector.frames().split_off(before);
            assert!(numbers_of(&frames).into_iter().eq(0..sent), "{confirm}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_finish_a_killed_collector_gets_what_it_had_not_read() {
    let folder = Folder::new();
    let mut collector = Collector::tcp().numbers_only().listening();
    let router = Router::start(&tapfile(&folder, &collector.socket(), "finish"));
    router.all_up().await;
    let audit = router.audit();
    let load = load(&router, 20_000).await;
    until("frames arrive", || collector.frames().len() > 10_000).await;
    // The collector stops reading, so the receive buffer of its kernel fills up with frames.
    collector.behave(Behaviour::ReadsSlowly(0, Duration::from_secs(3600)));
    let stalled = |status: &SinkHealth| status.write_stalls > 0;
    router.until(0, "waits for the collector", stalled).await;
    collector.kill().await;
    collector.behave(Behaviour::Good);
    collector.listen();
    let again = router.ledger(0).offered;
    until("frames arrive again", || {
        router.ledger(0).offered > again + 20_000
    })
    .await;
    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    let ledger = &report.sinks[0].ledger;
    assert_eq!(
        (ledger.delivered, ledger.unconfirmed),
        (sent, 0),
        "{ledger:?}"
    );
    assert!(ledger.resent > 0);
    let mut numbers = numbers_of(&collector.frames());
    let received = numbers.len() as u64;
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.into_iter().eq(0..sent), "every frame at least once");
    assert!(received - sent <= ledger.resent, "duplicates are counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_collector_confirms_within_seconds() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"))
        .numbers_only()
        .listening();
    let socket = collector.socket();
    let router = Router::start(&tapfile(&folder, &socket, "finish"));
    router.all_up().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send(&[numbered(0), numbered(1)]).await;
    until("both are written", || router.ledger(0).unconfirmed == 2).await;
    // The sender sends nothing more. So the sink asks for a confirmation after two seconds.
    until("both are confirmed", || router.ledger(0).delivered == 2).await;
    assert_eq!(router.status(0).connects, 2);
    assert_eq!(router.status(0).disconnects["rotated"], 1);
    sender.stop().await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_confirms_degrades_the_sink() {
    let folder = Folder::new();
    let collector = Collector::tcp().numbers_only().listening();
    collector.behave(Behaviour::NeverFinishes);
    let router = Router::start(&tapfile(&folder, &collector.socket(), "finish"));
    router.all_up().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send(&[numbered(0)]).await;
    let degraded = router
        .until(0, "does not confirm", |status| status.degraded)
        .await;
    assert_eq!(degraded.state, State::Up);
    // Three connections end without FINISH. From then on, the sink confirms the frames of a new connection as with
    // `confirm kernel`. The fourth connection was already open at that time, so the frame counts as delivered only on
    // the fifth connection.
    until("the frame is delivered", || router.ledger(0).delivered == 1).await;
    let ledger = router.ledger(0);
    assert_eq!((ledger.resent, ledger.dropped_total()), (4, 0));
    collector.behave(Behaviour::Good);
    sender.stop().await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_sends_again_what_the_end_of_the_stream_did_not_confirm() {
    let folder = Folder::new();
    for endpoints in ["failover", "balance"] {
        let collector = Collector::tcp().numbers_only().listening();
        collector.behave(Behaviour::NeverFinishes);
        let socket = collector.socket_by_name();
        let tapfile = tapfile(&folder, &socket, &format!("finish\n endpoints {endpoints}"));
        let router = Router::start(&format!("{tapfile}drain 30s\n"));
        router.all_up().await;
        let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
        sender.send([numbered(0), numbered(1)]).await;
        until("both are written", || router.ledger(0).unconfirmed == 2).await;
        let queues = router.queues(0);
        sender.stop().await;
        let drain = tokio::spawn(router.drain());
        until("both return to the queue", || {
            let ledger = queues.ledger();
            ledger.queued == 2 || ledger.resent > 0
        })
        .await;
        collector.behave(Behaviour::Good);
        let report = drain.await.expect("no panic");
        let ledger = &report.sinks[0].ledger;
        assert_eq!(
            (ledger.delivered, ledger.unconfirmed, ledger.dropped_total()),
            (2, 0, 0),
            "{endpoints}"
        );
        assert!(ledger.resent >= 2, "{endpoints}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_another_router_confirms_what_it_has_read() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"))
        .numbers_only()
        .listening();
    let between = folder.display("between");
    let second = format!(
        "listen unix://{between}\ndnstap {} full 1 8\n",
        collector.socket()
    );
    let socket = format!("unix://{between}");
    let router = Router::start(&tapfile(&folder, &socket, "finish"));
    let load = load(&router, 20_000).await;
    for round in 1..=3 {
        let next = Router::start(&second);
        let before = collector.frames().len();
        until("frames arrive", || {
            collector.frames().len() > before + 10_000
        })
        .await;
        let report = next.drain().await;
        assert_eq!(report.sinks[0].ledger.dropped_total(), 0);
        let asked = move |status: &SinkHealth| status.disconnects["finished"] == round;
        router.until(0, "was asked to end its stream", asked).await;
        until("all are confirmed", || router.ledger(0).unconfirmed == 0).await;
        assert_eq!(router.ledger(0).resent, 0);
    }
    let last = Router::start(&second);
    let sent = load.end().await;
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.delivered, ledger.resent), (sent, 0), "{ledger:?}");
    last.drain().await;
    let numbers = numbers_of(&collector.frames());
    assert!(numbers.into_iter().eq(0..sent), "every frame exactly once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_balanced_endpoints_gives_up_on_a_collector_that_never_confirms() {
    let folder = Folder::new();
    let collector = Collector::tcp().numbers_only().listening();
    collector.behave(Behaviour::NeverFinishes);
    let socket = collector.socket_by_name();
    let tapfile = tapfile(&folder, &socket, "finish\n endpoints balance");
    let router = Router::start(&format!("{tapfile}drain 2m\n"));
    router.all_up().await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send([numbered(0), numbered(1)]).await;
    until("both are written", || router.ledger(0).unconfirmed == 2).await;
    sender.stop().await;
    // Each stream ends without FINISH. After three of them, the frames are confirmed as with `confirm kernel`.
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.delivered, ledger.dropped_total()), (2, 0));
    assert_eq!(ledger.resent, 6, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unconfirmed_frames_stay_within_their_bound_of_memory() {
    const BYTES: u64 = 1 << 20;
    let folder = Folder::new();
    let collector = Collector::tcp().numbers_only().listening();
    collector.behave(Behaviour::NeverFinishes);
    let (listen, socket) = (folder.display("in"), collector.socket());
    let router = Router::start(&format!(
        "listen unix://{listen}\ndrain 60s\ndnstap {socket} full 1 30 {{\n confirm finish {{ bytes 1MiB }}\n}}\n"
    ));
    router.all_up().await;
    let load = load(&router, 20_000).await;
    let mut most = 0;
    until("the sink waits for FINISH", || {
        let ledger = router.ledger(0);
        most = most.max(ledger.unconfirmed_bytes);
        ledger.queued > 30_000
    })
    .await;
    // The sink checks the bound before each batch, so the last batch may exceed it.
    assert!(most > BYTES && most < 3 * BYTES, "{most}");
    assert!(router.status(0).disconnects["rotated"] > 0);
    collector.behave(Behaviour::Good);
    let sent = load.end().await;
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.delivered, ledger.dropped_total()), (sent, 0));
    let mut numbers = numbers_of(&collector.frames());
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.into_iter().eq(0..sent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_the_bounds_of_finish() {
    let folder = Folder::new();
    let collector = Collector::tcp().numbers_only().listening();
    let tapfile = |every: &str| {
        let confirm = format!("finish {{\n every {every}\n idle 1h\n}}");
        tapfile(&folder, &collector.socket(), &confirm)
    };
    let mut router = Router::start(&tapfile("1h"));
    router.all_up().await;
    let load = load(&router, 1000).await;
    until("frames are written", || router.ledger(0).unconfirmed > 3000).await;
    assert_eq!(router.status(0).connects, 1);
    assert_eq!(router.ledger(0).delivered, 0);
    router.reload(&tapfile("1s")).expect("good");
    let rotated = |status: &SinkHealth| status.disconnects["rotated"] > 1;
    router.until(0, "asks for confirmations", rotated).await;
    let sent = load.end().await;
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.delivered, ledger.resent), (sent, 0));
}
