//! Tests of the ledgers of the sinks: each frame that a sink was offered is counted exactly once,
//! as delivered, dropped, queued or in flight. The counts add up at every moment, also during
//! outages, stalls and drains. At the end they match the number of frames that the listeners
//! received.

use tapfan::{health::DropReason, internals::Mode};

use crate::{
    collector::{self, Collector},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{numbered, numbers_of},
    wait::until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ledger_balances_through_outages_stalls_and_a_drain() {
    let folder = Folder::new();
    let good = Collector::unix(folder.path("good")).listening();
    let mut dies = Collector::tcp().listening();
    let stalls = Collector::unix(folder.path("stalls")).listening();
    stalls.behave(collector::Behaviour::Hangs);
    let leaves = Collector::tcp().listening();
    leaves.behave(collector::Behaviour::ClosesAfter(100_001));
    let down = Collector::tcp();
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full 1 8\ndnstap {} {{\n identity x\n }}\ndnstap {} full\ndnstap {} full\ndnstap {} {{\n queue_bytes 3MiB\n }}\ndrain 2s",
        folder.display("in"),
        good.socket(),
        dies.socket(),
        stalls.socket(),
        leaves.socket(),
        down.socket(),
    ));
    for sink in 0..4 {
        router.up(sink).await;
    }
    let audit = router.audit();
    let profile = |on_half_close, first| LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close,
        rate: 10_000,
        frame: numbered,
        first,
    };
    let first = Load::start(&router.target(0), profile(OnHalfClose::Stop, 0)).await;
    let second = Load::start(&router.target(1), profile(OnHalfClose::Ignore, 1 << 32)).await;
    for outage in 1..=3 {
        let before = router.ledger(1).delivered;
        until("frames are delivered", || {
            router.ledger(1).delivered > before + 2000
        })
        .await;
        dies.kill().await;
        let before = router.ledger(1).offered;
        until("frames are queued", || {
            router.ledger(1).offered > before + 2000
        })
        .await;
        dies.listen();
        let again = |status: &tapfan::health::SinkHealth| status.connects > outage;
        router.until(1, "is up again", again).await;
    }
    until("the stalled sink's queue is full", || {
        router.ledger(2).dropped(DropReason::QueueFull) > 0
    })
    .await;
    stalls.behave(collector::Behaviour::Good);
    let before = router.ledger(2).delivered;
    until("the stalled sink delivers again", || {
        router.ledger(2).delivered > before + 10_000
    })
    .await;
    let report = router.drain().await;
    audit.finish();
    let ledgers: Vec<_> = report.sinks.iter().map(|sink| &sink.ledger).collect();
    let taken: u64 = report.listeners.iter().map(|all| all.counts.frames).sum();
    let sent = first.ended().await;
    assert!(taken >= sent && taken <= sent + second.ended().await);
    assert_eq!(ledgers[0].delivered, taken);
    assert_eq!(good.frames().len() as u64, taken);
    assert_eq!(ledgers[2].delivered, stalls.frames().len() as u64);
    assert!(ledgers[3].delivered > 0);
    assert_eq!(ledgers[4].delivered, 0);
    assert!(ledgers[4].dropped(DropReason::Shutdown) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_keeps_the_oldest_frames_and_drops_the_newest() {
    let folder = Folder::new();
    let mut late = Collector::unix(folder.path("late"));
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full",
        folder.display("in"),
        late.socket()
    ));
    let audit = router.audit();
    let mut sender = Sender::open(&router.target(0), Mode::Unidirectional).await;
    for first in (0..24_000).step_by(1000) {
        sender.send((first..first + 1000).map(numbered)).await;
    }
    sender.stop().await;
    let ledger = router.ledger(0);
    assert_eq!((ledger.offered, ledger.queued), (24_000, 10_000));
    assert_eq!(ledger.dropped(DropReason::QueueFull), 14_000);
    late.listen();
    late.got(10_000).await;
    assert!(numbers_of(&late.frames()).into_iter().eq(0..10_000));
    // The queue has room again.
    until("the queue is empty", || router.ledger(0).in_flight == 0).await;
    let mut sender = Sender::open(&router.target(0), Mode::Unidirectional).await;
    sender.send((24_000..25_000).map(numbered)).await;
    sender.stop().await;
    let report = router.drain().await;
    audit.finish();
    assert_eq!(report.sinks[0].ledger.delivered, 11_000);
}
