//! Tests of drains: the router delivers every frame that the senders wrote before it half-closed their connections, and
//! no peer can delay the end of the drain.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use tapfan::{
    health::{DropReason, State},
    internals::Mode,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::{Certificates, ServerCertificate},
    collector::{self, Collector, Ended},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender, Target},
    traffic::{numbered, numbers_of},
    wait::until,
    wire::{self, START, STOP},
};

/// The difference between the first frame numbers of two senders.
const APART: u64 = 1 << 32;

fn numbers_from(frames: &[bytes::Bytes], first: u64) -> Vec<u64> {
    let mut numbers = numbers_of(frames);
    numbers.retain(|number| (first..first + APART).contains(number));
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_written_frame() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let file = |name: &str| certificates.path(name).display().to_string();
    let sinks = [
        Collector::unix(folder.path("out")).listening(),
        Collector::tcp().listening(),
        Collector::tls(certificates.collector(ServerCertificate::Good, false)).listening(),
    ];
    let router = Router::start(&format!(
        "listen unix://{}
        listen tcp://127.0.0.1:0
        listen tls://127.0.0.1:0 {{
            cert {}
            key {}
        }}
        dnstap {} full 1 4
        dnstap {} full 1 4
        dnstap {} full 1 4 {{
            ca {}
        }}",
        folder.display("in"),
        file("server.crt"),
        file("server.key"),
        sinks[0].socket(),
        sinks[1].socket(),
        sinks[2].socket(),
        file("ca.crt"),
    ));
    router.all_up().await;
    let audit = router.audit();
    let targets = [
        router.target(0),
        router.target(1),
        router.tls_target(2, certificates.sender(false)),
    ];
    let mut loads = Vec::new();
    for target in &targets {
        for (mode, on_half_close) in [
            (Mode::Bidirectional, OnHalfClose::Stop),
            (Mode::Unidirectional, OnHalfClose::Close),
        ] {
            let profile = LoadProfile {
                mode,
                on_half_close,
                rate: 2000,
                frame: numbered,
                first: loads.len() as u64 * APART,
            };
            loads.push(Load::start(target, profile).await);
        }
    }
    for load in &loads {
        until("every sender has sent frames", || load.sent() > 500).await;
    }
    let report = router.drain().await;
    audit.finish();
    let mut first = 0;
    for load in loads {
        let sent = load.ended().await;
        for collector in &sinks {
            let numbers = numbers_from(&collector.frames(), first);
            assert!(numbers.into_iter().eq(first..first + sent));
        }
        first += APART;
    }
    for (sink, collector) in report.sinks.iter().zip(&sinks) {
        assert_eq!(sink.ledger.dropped_total(), 0);
        assert_eq!(collector.ended().await, Ended::Stopped);
    }
}

/// This test runs on one thread. The senders write with blocking calls, so the runtime does not see
/// their connections before the drain begins. A fast sender in another process can cause the same
/// situation.
#[tokio::test]
async fn senders_that_wrote_just_before_the_drain_lose_nothing() {
    const SENDERS: u64 = 20;
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let mut open = Vec::new();
    for number in 0..SENDERS {
        let mut stream: Box<dyn Write> = match router.target(usize::from(number % 2 == 1)) {
            Target::Unix(path) => Box::new(UnixStream::connect(path).expect("connected")),
            Target::Tcp(address) | Target::Tls(address, _) => {
                Box::new(TcpStream::connect(address).expect("connected"))
            }
        };
        let frame = wire::data([numbered(number)]);
        stream
            .write_all(&[START, &frame, STOP].concat())
            .expect("written");
        // Closes half of the connections before the drain begins.
        if number >= SENDERS / 2 {
            open.push(stream);
        }
    }
    router.drain().await;
    let mut numbers = numbers_of(&collector.frames());
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..SENDERS), "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_queued_for_a_sink_that_is_down_are_dropped_as_shutdown() {
    let folder = Folder::new();
    let good = Collector::unix(folder.path("good")).listening();
    let down = Collector::tcp();
    let hanging = Collector::tcp().listening();
    hanging.behave(collector::Behaviour::Hangs);
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full\ndnstap {} full\ndnstap {} full\ndrain 1s",
        folder.display("in"),
        good.socket(),
        down.socket(),
        hanging.socket()
    ));
    router.up(0).await;
    router.up(2).await;
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    for first in [0, 4000, 8000] {
        sender.send((first..first + 4000).map(numbered)).await;
    }
    sender.stop().await;
    let begun = Instant::now();
    let report = router.drain().await;
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "the drain ended before its deadline"
    );
    audit.finish();
    let [good, down, hanging] = [0, 1, 2].map(|sink| &report.sinks[sink].ledger);
    assert_eq!(good.delivered + good.dropped(DropReason::QueueFull), 12_000);
    assert_eq!(good.dropped(DropReason::Shutdown), 0);
    assert_eq!(down.delivered, 0);
    assert_eq!(down.dropped(DropReason::QueueFull), 2000);
    assert_eq!(down.dropped(DropReason::Shutdown), 10_000);
    assert_eq!(
        hanging.delivered
            + hanging.dropped(DropReason::QueueFull)
            + hanging.dropped(DropReason::Shutdown),
        12_000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_never_ends_is_closed_and_its_frames_are_delivered() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full 1 4\ndrain 2s",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let goes_on = Load::start(
        &router.target(1),
        LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Ignore,
            rate: 2000,
            frame: numbered,
            first: 0,
        },
    )
    .await;
    let mut silent = Sender::open(&router.target(0), Mode::Unidirectional).await;
    silent.send((APART..APART + 3).map(numbered)).await;
    let draining = tokio::spawn(router.drain());
    // The silent sender sees that the router has half-closed its connection, and writes more
    // frames.
    silent.half_closed().await;
    let before = goes_on.sent();
    silent.send((APART + 3..APART + 5).map(numbered)).await;
    let report = draining.await.expect("no panic");
    silent.cut().await;
    let sent = goes_on.ended().await;
    let frames = collector.frames();
    assert!(
        numbers_from(&frames, APART)
            .into_iter()
            .eq(APART..APART + 5)
    );
    let numbers = numbers_from(&frames, 0);
    let got = numbers.len() as u64;
    assert!(numbers.into_iter().eq(0..got), "no gap");
    assert!(before < got && got <= sent, "{before} < {got} <= {sent}");
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.delivered, ledger.dropped_total()), (got + 5, 0));
    assert_eq!(collector.ended().await, Ended::Stopped);
}

/// The test and the router run on one thread. The test does not wait between the last write and
/// `hurry.cancel()`, so the router sees the new data and the cancellation at the same time.
#[tokio::test]
async fn frames_written_before_the_drain_is_cut_short_are_still_read() {
    let folder = Folder::new();
    let collector = Collector::tcp().listening();
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full\ndrain 1m",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let path = folder.path("in");
    let mut sender = UnixStream::connect(path).expect("connected");
    let begin = [START, &wire::data([numbered(0)])].concat();
    sender.write_all(&begin).expect("written");
    collector.got(1).await;
    let hurry = CancellationToken::new();
    let draining = tokio::spawn(router.drain_until(hurry.clone()));
    sender.set_nonblocking(true).expect("set");
    until("the router half-closes", || {
        matches!(sender.read(&mut [0]), Ok(0))
    })
    .await;
    sender.set_nonblocking(false).expect("set");
    let last = wire::data((1..1000).map(numbered));
    sender.write_all(&last).expect("written");
    hurry.cancel();
    let report = draining.await.expect("no panic");
    assert_eq!(report.listeners[0].counts.frames, 1000);
    // The cancellation also ends the sink's drain early. So the sink may drop frames instead of
    // delivering them.
    let ledger = &report.sinks[0].ledger;
    assert_eq!(
        ledger.delivered + ledger.dropped(DropReason::Shutdown),
        1000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_is_cut_short_ends_at_once() {
    let folder = Folder::new();
    let hanging = Collector::tcp().listening();
    hanging.behave(collector::Behaviour::Hangs);
    let never_finishes = Collector::tcp().listening();
    never_finishes.behave(collector::Behaviour::NeverFinishes);
    let down = Collector::tcp();
    let mute = Collector::tcp().listening();
    mute.behave(collector::Behaviour::Silent);
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full\ndnstap {} full\ndnstap {} full\ndnstap {} full\ndrain 10m",
        folder.display("in"),
        hanging.socket(),
        never_finishes.socket(),
        down.socket(),
        mute.socket(),
    ));
    router.up(0).await;
    router.up(1).await;
    // Opens a connection that stays in its handshake, a stream that never ends, and a stream that
    // stops in the middle of a frame.
    let _shaking_hands = router.target(1).dial().await.expect("connected");
    let mut never_ends = Sender::open(&router.target(0), Mode::Bidirectional).await;
    never_ends.send((0..100).map(numbered)).await;
    let mut mid_frame = Sender::open(&router.target(1), Mode::Unidirectional).await;
    mid_frame.write(b"\0\0\0\x10half").await;
    until("all frames are offered", || router.ledger(2).offered == 100).await;
    let hurry = CancellationToken::new();
    let draining = tokio::spawn(router.drain_until(hurry.clone()));
    never_ends.half_closed().await;
    mid_frame.half_closed().await;
    hurry.cancel();
    // The drain may take ten minutes, but the test fails after `TIMEOUT`. So the test passes only
    // if the drain ends early.
    let report = draining.await.expect("no panic");
    for down in &report.sinks[2..] {
        assert_eq!(down.ledger.dropped(DropReason::Shutdown), 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_reconnects_during_the_drain_delivers_its_queue() {
    let folder = Folder::new();
    let mut late = Collector::unix(folder.path("late"));
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full",
        folder.display("in"),
        late.socket()
    ));
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..5000).map(numbered)).await;
    let mut status = router.watch(0);
    let draining = tokio::spawn(router.drain());
    sender.half_closed().await;
    sender.close().await;
    let draining_now = status.wait_for(|status| status.state == State::Draining);
    draining_now.await.expect("the sink exists");
    late.listen();
    let report = draining.await.expect("no panic");
    assert_eq!(report.sinks[0].ledger.delivered, 5000);
    assert!(numbers_of(&late.frames()).into_iter().eq(0..5000));
    assert_eq!(late.ended().await, Ended::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_four_seconds_for_finish() {
    let folder = Folder::new();
    let collector = Collector::tcp().listening();
    collector.behave(collector::Behaviour::NeverFinishes);
    // The drain may take ten minutes, but the test fails after `TIMEOUT`. So the test passes only
    // if the drain ends early.
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full\ndrain 10m",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    sender.send((0..5000).map(numbered)).await;
    sender.stop().await;
    let begun = Instant::now();
    let report = router.drain().await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(4),
        "did not wait for FINISH: {took:?}"
    );
    assert_eq!(report.sinks[0].ledger.delivered, 5000);
    assert_eq!(collector.ended().await, Ended::Stopped);
}
