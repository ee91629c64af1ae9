//! Tests of two senders that share a sink. One of them sends more than the sink can deliver. The
//! other sends little and must lose no frames.

use std::time::Duration;

use tapfan::{admin::RouterStatus, health::DropReason, internals::Mode};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{Behaviour, Collector},
    router::{Folder, Router},
    sender::{Sender, Target},
    traffic::{number_of, numbered},
    wait::{until, with_timeout},
    wire,
};

/// The first frame number of the flooding sender. The frames of the quiet sender have lower
/// numbers.
const LOUD: u64 = 1 << 40;

/// The number of frames in one step of the quiet sender. A step follows whenever the sink has
/// delivered `TAKEN_A_STEP` more frames.
const STEP: u64 = 20;
const STEPS: u64 = 40;
const TAKEN_A_STEP: u64 = 400;

/// Writes frames as fast as the router reads, until `enough` is cancelled. Returns the number of
/// frames written.
async fn flood(target: Target, enough: CancellationToken) -> u64 {
    let mut sender = Sender::open(&target, Mode::Unidirectional).await;
    let frames = 500;
    let wire = wire::data((LOUD..LOUD + frames).map(numbered));
    let mut sent = 0;
    while !enough.is_cancelled() {
        with_timeout("the router reads", sender.write(&wire)).await;
        sent += frames;
    }
    sender.stop().await;
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_costs_a_quiet_sender_nothing() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).numbers_only();
    // The collector reads about 20,000 frames per second.
    collector.behave(Behaviour::ReadsSlowly(2048, Duration::from_millis(1)));
    let collector = collector.listening();
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let auditor = router.audit();
    let lost = || router.ledger(0).dropped(DropReason::QueueFull);
    let enough = CancellationToken::new();
    let flooding = tokio::spawn(flood(router.target(0), enough.clone()));
    until("the queue overflows", || lost() > 0).await;

    let mut quiet = Sender::open(&router.target(1), Mode::Bidirectional).await;
    for step in 0..STEPS {
        // The quiet sender sends one frame for every 20 frames that the sink delivers. This ratio
        // does not depend on the speed of the machine.
        let taken = router.ledger(0).delivered;
        until("the sink delivers frames", || {
            router.ledger(0).delivered >= taken + TAKEN_A_STEP
        })
        .await;
        quiet
            .send((step * STEP..(step + 1) * STEP).map(numbered))
            .await;
    }
    quiet.stop().await;
    enough.cancel();
    let sent = with_timeout("the flood ends", flooding)
        .await
        .expect("no panic");
    collector.behave(Behaviour::Good);
    auditor.finish();

    let losses = router.queues(0).losses();
    let flooder = losses.senders()[0].0.clone();
    let described = (flooder.listener().to_owned(), flooder.peer().to_owned());
    let shown = RouterStatus::of(&router.view()).sinks.remove(0);
    let report = router.drain().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!(ledger.offered, sent + STEP * STEPS);
    let dropped = ledger.dropped(DropReason::QueueFull);
    assert_eq!(ledger.delivered + dropped, ledger.offered);

    let numbers: Vec<_> = collector
        .frames()
        .iter()
        .map(|frame| number_of(frame))
        .collect();
    let from_quiet = numbers.iter().copied().filter(|number| *number < LOUD);
    assert!(
        from_quiet.eq(0..STEP * STEPS),
        "each of the quiet sender's frames, in order"
    );
    assert_eq!((losses.senders().len(), losses.others()), (1, 0));
    assert_eq!(
        losses.of(&flooder),
        dropped,
        "only the flooding sender lost frames"
    );
    let me = format!("pid {}, uid ", std::process::id());
    assert!(described.1.starts_with(&me), "{described:?}");
    assert_eq!(described.0, format!("unix://{}", folder.display("in")));
    let row = &shown.dropped_by_sender.senders[0];
    assert_eq!(
        (&row.listener, &row.peer, row.frames),
        (&described.0, &described.1, dropped)
    );
}
