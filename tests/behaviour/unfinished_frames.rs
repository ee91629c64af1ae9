//! Tests of senders that stop in the middle of long frames. The memory for such frames is limited,
//! and other senders must not be affected.

use tapfan::{internals::Mode, supervisor::ErrorReason};
use tokio::io::AsyncWriteExt;

use crate::{
    binary::Tapfan,
    cgroup::Cgroup,
    collector::Collector,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender, Target},
    traffic::{numbered, numbered_large, numbers_of},
    wait::until,
    wire::{self, START},
};

const MIB: usize = 1 << 20;

/// Opens a connection and sends the first `sent` bytes of a frame of 1 MiB.
async fn stop_inside(target: &Target, sent: usize) -> tapfan::internals::Stream {
    let mut stream = target.dial().await.expect("connected");
    let frame = wire::data([numbered_large(0, MIB - 100)]);
    stream.write_all(START).await.expect("written");
    // Ignores errors, because the router may close this connection during the write.
    let _ = stream.write_all(&frame[..sent]).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_senders_that_hold_most_memory_are_closed_and_others_unaffected() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "unfinished_frames 4MiB\nlisten unix://{}\nlisten tcp://127.0.0.1:0\ndnstap {} full 1 4",
        folder.display("in"),
        collector.socket()
    ));
    router.up(0).await;
    let profile = |frame, first, rate| LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate,
        frame,
        first,
    };
    let small = Load::start(&router.target(0), profile(numbered, 0, 2000)).await;
    // The frames of the good sender are long, too, but they are complete.
    let large_frames = |number| numbered_large(number, 300_000);
    let large = Load::start(&router.target(0), profile(large_frames, 1 << 32, 100)).await;
    let unfinished = router.view().unfinished_frames().clone();
    assert_eq!(unfinished.limit(), 4 * MIB);
    let mut stopped = Vec::new();
    for each in 0..20 {
        // Opens the connections on both listeners in turn, because the limit applies to both
        // listeners together.
        stopped.push(stop_inside(&router.target(each % 2), 900_000).await);
        assert!(unfinished.held() <= 4 * MIB);
    }
    let closed = || {
        let of = |listener| router.counts(listener).errors(ErrorReason::Unfinished);
        of(0) + of(1)
    };
    // Within the limit, four unfinished frames of 900 kB fit. The router may have to close one of
    // these four connections because it needs the memory for frames of the good sender.
    until("the other connections are closed", || closed() >= 15).await;
    assert!(closed() <= 18, "{}", closed());
    let sent = small.end().await + large.end().await;
    drop(stopped);
    until("all connections have ended", || {
        router.counts(0).connections + router.counts(1).connections == 0
    })
    .await;
    assert_eq!(unfinished.held(), 0);
    for reason in [ErrorReason::Stalled, ErrorReason::Protocol] {
        assert_eq!(router.counts(0).errors(reason), 0);
    }
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, sent);
}

#[tokio::test]
async fn a_lower_limit_applies_at_the_reload() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let tapfile = |bound: &str| {
        format!(
            "{bound}\nlisten unix://{} {{ max_frame 1MiB\n }}\ndnstap {} full",
            folder.display("in"),
            collector.socket()
        )
    };
    let mut router = Router::start(&tapfile(""));
    let mut stopped = Vec::new();
    for _ in 0..5 {
        stopped.push(stop_inside(&router.target(0), 300_000).await);
    }
    let unfinished = router.view().unfinished_frames().clone();
    assert_eq!(unfinished.limit(), 64 * MIB, "the default");
    until("all unfinished frames are buffered", || {
        unfinished.held() >= 5 * 300_000
    })
    .await;
    let changes = router
        .reload(&tapfile("unfinished_frames 1MiB"))
        .expect("good");
    assert_eq!(changes.to_string(), "unfinished_frames 1MiB");
    // Each buffer holds 300,000 bytes, and may be up to twice as large as its data. So one to three
    // buffers fit into 1 MiB: the router closes two to four of the five connections.
    until("some connections are closed", || {
        let counts = router.counts(0);
        let closed = counts.errors(ErrorReason::Unfinished);
        (2..=4).contains(&closed) && counts.connections == 5 - closed
    })
    .await;
    assert!(unfinished.held() <= MIB);
}

/// The test limits the memory of the router with a cgroup. If this process cannot create a cgroup,
/// the test limits the address space instead. The address space is less exact, because threads map
/// more memory than they use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_with_64_mib_survives_hundreds_of_unfinished_frames() {
    const SENDERS: usize = 300;
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let cgroup = Cgroup::new(64 * MIB);
    let before = match &cgroup {
        Some(cgroup) => cgroup.enter(),
        None => "ulimit -v 400000; export TOKIO_WORKER_THREADS=2 MALLOC_ARENA_MAX=2;".to_owned(),
    };
    let tapfile = "unfinished_frames 16MiB\nadmin off\nlisten unix://in\ndnstap out full 1 4";
    let mut tapfan = Tapfan::run_after(&before, &folder, tapfile);
    tapfan.wait_for_log("tapfan is running").await;
    let target = Target::Unix(folder.path("in"));
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate: 1000,
        frame: numbered,
        first: 0,
    };
    let good = Load::start(&target, profile).await;
    let mut stopped = Vec::new();
    for _ in 0..SENDERS {
        stopped.push(stop_inside(&target, MIB - 1000).await);
    }
    let so_far = good.sent();
    until("the good sender continues", || good.sent() > so_far + 1000).await;
    // A new sender can still connect.
    let mut late = Sender::open(&target, Mode::Bidirectional).await;
    late.send([numbered(1 << 40)]).await;
    late.stop().await;
    let sent = good.end().await;
    collector.got(usize::try_from(sent).expect("few") + 1).await;
    let mut numbers = numbers_of(&collector.frames());
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..sent).chain([1 << 40])));
    assert!(tapfan.is_running(), "{}", tapfan.log());
    tapfan.wait_for_log("reason=unfinished").await;
    drop(stopped);
}
