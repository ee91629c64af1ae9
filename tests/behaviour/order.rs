//! Tests of the guarantees for senders: the router keeps the order of frames, and sends FINISH only
//! after it has passed all frames on to the sinks. Also tests of sinks that connect late.

use tapfan::{health::State, internals::Mode};

use crate::{
    collector::{Collector, Ended},
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender},
    traffic::{number_of, numbered, numbers_of},
    wait::until,
    wire,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_is_sent_after_every_frame_was_offered_to_every_sink() {
    let folder = Folder::new();
    let (one, another) = (
        Collector::unix(folder.path("one")).listening(),
        // This collector does not listen yet, so that the frames stay in the sink's queue.
        Collector::tcp(),
    );
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full\ndnstap {} full\ndrain 1s",
        folder.display("in"),
        one.socket(),
        another.socket()
    ));
    let mut offered = 0;
    for frames in [1, 10, 1000, 5000] {
        let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
        sender.send((0..frames).map(numbered)).await;
        sender.stop().await;
        offered += frames;
        for sink in [0, 1] {
            assert_eq!(router.ledger(sink).offered, offered);
        }
        assert_eq!(router.counts(0).frames, offered);
    }
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_senders_keep_their_order_and_their_frames_whole() {
    const FRAMES: u64 = 4000;
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "listen unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full 1 2",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let senders = (0..4_u64).map(|sender| {
        let target = router.target(usize::from(sender % 2 == 1));
        let numbers = sender * FRAMES..(sender + 1) * FRAMES;
        tokio::spawn(async move {
            let mut stream = Sender::open(&target, Mode::Bidirectional).await;
            let frames = wire::data(numbers.map(numbered));
            // Writes the stream in pieces that end within frames. The size of the pieces differs
            // for each sender.
            let size = 997 + 512 * usize::try_from(sender).expect("few");
            stream.write_in_pieces(&frames, size).await;
            stream.stop().await;
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("no panic");
    }
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, 4 * FRAMES);
    let frames = collector.frames();
    assert!(
        frames
            .iter()
            .all(|frame| *frame == numbered(number_of(frame))),
        "each frame is whole"
    );
    let numbers = numbers_of(&frames);
    for sender in 0..4 {
        let of_sender = numbers
            .iter()
            .copied()
            .filter(|number| number / FRAMES == sender);
        assert!(of_sender.eq(sender * FRAMES..(sender + 1) * FRAMES));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_down_at_the_start_delivers_its_queue_later() {
    let folder = Folder::new();
    let mut late = [Collector::unix(folder.path("late")), Collector::tcp()];
    let router = Router::start(&format!(
        "listen unix://{}\ndnstap {} full\ndnstap {}",
        folder.display("in"),
        late[0].socket(),
        late[1].socket()
    ));
    let audit = router.audit();
    for sink in [0, 1] {
        let is_down = |status: &tapfan::health::SinkHealth| status.state == State::Backoff;
        let status = router.until(sink, "is down", is_down).await;
        let error = status.health.last_error.expect("a reason").error;
        assert!(error.contains("is the collector running") || error.contains("is it running"));
    }
    let load = Load::start(
        &router.target(0),
        LoadProfile {
            mode: Mode::Bidirectional,
            on_half_close: OnHalfClose::Stop,
            rate: 5000,
            frame: numbered,
            first: 0,
        },
    )
    .await;
    until("frames are queued", || {
        router.ledger(0).queued > 1000 && router.ledger(1).queued > 1000
    })
    .await;
    for collector in &mut late {
        collector.listen();
    }
    router.all_up().await;
    let sent = load.end().await;
    let report = router.drain().await;
    audit.finish();
    for (collector, sink) in late.iter().zip(&report.sinks) {
        assert_eq!(sink.ledger.delivered, sent);
        assert!(numbers_of(&collector.frames()).into_iter().eq(0..sent));
        assert_eq!(collector.ended().await, Ended::Stopped);
        collector.inspect(|connections| assert_eq!(connections.len(), 1));
    }
}
