//! Tests of the option `spool`: frames in a folder survive long outages, the end of the router, and a full disk.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use tapfan::{
    health::{DropReason, SinkStatus, State},
    internals::Mode,
};
use tokio::task::block_in_place;

use crate::{
    binary::Tapfan,
    collector::Collector,
    exposition::Exposition,
    http::get,
    router::{Folder, Router},
    sender::{Load, LoadProfile, OnHalfClose, Sender, Target},
    traffic::{numbered, numbered_large, numbers_of},
    wait::until,
};

/// A number of frames that is larger than the queue in memory, which holds 10,000.
const MANY: u64 = 60_000;

fn tapfile(folder: &Folder, collector: &Collector, spool: &str) -> String {
    let (listen, socket) = (folder.display("in"), collector.socket());
    format!(
        "listen unix://{listen}\ndrain 1s\ndnstap {socket} full {{\n name a\n spool {}/{spool}\n}}\n",
        folder.display("")
    )
}

/// Sends frames, and waits until the router has read them. The disk of a busy machine may be slower than the sender.
async fn send(router: &Router, numbers: std::ops::Range<u64>) {
    for first in numbers.clone().step_by(5000) {
        send_at_once(router, first..numbers.end.min(first + 5000)).await;
        spooled(router, 0).await;
    }
}

async fn send_at_once(router: &Router, numbers: std::ops::Range<u64>) {
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    let offered = router.counts(0).frames + (numbers.end - numbers.start);
    for first in numbers.clone().step_by(1000) {
        let last = numbers.end.min(first + 1000);
        sender.send((first..last).map(numbered)).await;
    }
    sender.stop().await;
    until("the router has read all frames", || {
        router.counts(0).frames == offered
    })
    .await;
}

fn sink(router: &Router) -> SinkStatus {
    router.view().snapshot().sinks.remove(0)
}

/// Waits until at most `memory` of the frames that the router has read and not delivered are not on the disk.
async fn spooled(router: &Router, memory: u64) {
    until("all frames are on the disk", || {
        let sink = sink(router);
        let (spool, ledger) = (sink.spool.expect("a spool"), sink.ledger);
        let done = ledger.delivered + ledger.dropped_total();
        spool.frames + memory >= ledger.offered.saturating_sub(done)
    })
    .await;
}

async fn delivered(collector: &Collector, numbers: std::ops::Range<u64>) {
    let frames = usize::try_from(numbers.end - numbers.start).expect("few");
    collector.got(frames).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(numbers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_outlasts_the_queue_loses_nothing() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let router = Router::start(&tapfile(&folder, &collector, "s 1GiB"));
    send(&router, 0..MANY).await;
    let waiting = sink(&router);
    assert_eq!(
        (waiting.ledger.queued, waiting.ledger.dropped_total()),
        (MANY, 0)
    );
    let spool = waiting.spool.expect("a spool");
    assert_eq!((spool.frames, spool.recovered), (MANY, 0));
    assert!(
        spool.bytes > MANY * 80 && spool.oldest_seconds.is_some(),
        "{spool:?}"
    );
    assert!(waiting.queue.frames <= waiting.queue.capacity_frames);
    collector.listen();
    delivered(&collector, 0..MANY).await;
    // A sink that has caught up no longer reads from the disk.
    send(&router, MANY..MANY + 1000).await;
    delivered(&collector, 0..MANY + 1000).await;
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, MANY + 1000);
    collector.assert_stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_leaves_what_is_not_delivered_for_the_next_start() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let tapfile = tapfile(&folder, &collector, "s 1GiB");
    let router = Router::start(&tapfile);
    send(&router, 0..MANY).await;
    let report = router.drain_into_spools().await;
    let ledger = &report.sinks[0].ledger;
    assert_eq!((ledger.queued, ledger.dropped_total()), (MANY, 0));

    let router = Router::start(&tapfile);
    let found = sink(&router);
    assert_eq!((found.ledger.offered, found.ledger.queued), (MANY, MANY));
    assert_eq!(found.spool.expect("a spool").recovered, MANY);
    send(&router, MANY..MANY + 10).await;
    collector.listen();
    delivered(&collector, 0..MANY + 10).await;
    router.drain_into_spools().await;

    // Nothing is sent twice.
    let router = Router::start(&tapfile);
    assert_eq!(router.ledger(0).offered, 0);
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_drops_the_newest_frames_or_the_oldest() {
    let folder = Folder::new();
    for (when_full, reason) in [
        ("newest", DropReason::QueueFull),
        ("oldest", DropReason::SpoolOldest),
    ] {
        let mut collector = Collector::unix(folder.path(&format!("out-{when_full}")));
        let spool = format!("{when_full} 1MiB {{\n when_full {when_full}\n }}");
        let router = Router::start(&tapfile(&folder, &collector, &spool));
        match reason {
            DropReason::QueueFull => send_at_once(&router, 0..MANY).await,
            // Frames in memory stay there when the spool deletes their files. They use up to three quarters of the
            // queue.
            _ => {
                for first in (0..MANY).step_by(2000) {
                    send_at_once(&router, first..first + 2000).await;
                    spooled(&router, 7500).await;
                }
            }
        }
        until("the spool is full", || {
            sink(&router).ledger.dropped_total() > 0
        })
        .await;
        // The counts stop changing when all frames are read and written.
        let mut before = None;
        until("nothing changes any more", || {
            std::thread::sleep(Duration::from_millis(300));
            let now = router.ledger(0);
            let is_same = before.as_ref() == Some(&now);
            before = Some(now);
            is_same
        })
        .await;
        let ledger = router.ledger(0);
        assert!(ledger.balances(), "{ledger:?}");
        assert_eq!(ledger.dropped_total(), ledger.dropped(reason), "{ledger:?}");
        let spool = sink(&router).spool.expect("a spool");
        assert!(spool.bytes <= 1 << 20, "{spool:?}");
        collector.listen();
        let kept = MANY - ledger.dropped(reason);
        collector.got(usize::try_from(kept).expect("few")).await;
        let numbers = numbers_of(&collector.frames());
        assert!(numbers.is_sorted(), "in order");
        assert_eq!(numbers.len() as u64, kept);
        match reason {
            // A spool accepts new frames again when older frames were delivered.
            DropReason::QueueFull => {
                assert_eq!(numbers.first(), Some(&0));
                send(&router, MANY..MANY + 100).await;
                collector
                    .until("gets new frames", |connections| {
                        let last = connections
                            .iter()
                            .filter_map(|it| it.frames.last())
                            .next_back();
                        last.is_some_and(|frame| numbers_of([frame]) == [MANY + 99])
                    })
                    .await;
            }
            _ => assert_eq!(numbers.last(), Some(&(MANY - 1))),
        }
        router.drain_into_spools().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_is_longer_than_the_spool_costs_no_other_frame() {
    // With `written` and `kernel`, the sink sends the long frame although it does not fit into the spool.
    for (confirm, lost) in [("finish", 1), ("kernel", 0), ("written", 0)] {
        let folder = Folder::new();
        let mut collector = Collector::unix(folder.path("out"));
        let tapfile = tapfile(&folder, &collector, "s 1MiB")
            .replacen("\ndrain", " { max_frame 4MiB }\ndrain", 1)
            .replacen("name a", &format!("name a\n confirm {confirm}"), 1);
        let router = Router::start(&tapfile);
        let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
        // The router puts all frames into one chunk, or only the long frame and the frames after it.
        let long = numbered_large(1, 1_500_000);
        let frames = [numbered(0), long].into_iter().chain((2..20).map(numbered));
        sender.send(frames).await;
        sender.stop().await;
        until("the first frame is on the disk", || {
            sink(&router).spool.is_some_and(|spool| spool.frames > 0)
        })
        .await;
        collector.listen();
        collector.got(20 - lost).await;
        let others = (0..20).filter(|number| *number != 1 || lost == 0);
        assert!(numbers_of(&collector.frames()).into_iter().eq(others));
        until("the long frame is dropped, if it is not sent", || {
            router.ledger(0).dropped(DropReason::QueueFull) == lost as u64
        })
        .await;
        assert_eq!(router.ledger(0).dropped_total(), lost as u64);
        router.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_older_than_the_age_are_dropped_as_expired() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let spool = "s 64MiB {\n age 1s\n segment 64KiB\n }";
    let router = Router::start(&tapfile(&folder, &collector, spool));
    send(&router, 0..MANY).await;
    until("all frames have expired", || {
        router.ledger(0).dropped(DropReason::Expired) == MANY
    })
    .await;
    let ledger = router.ledger(0);
    assert!(ledger.balances() && ledger.queued == 0, "{ledger:?}");
    collector.listen();
    send(&router, MANY..MANY + 10).await;
    delivered(&collector, MANY..MANY + 10).await;
    router.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_used_refuses_the_start_with_its_reason() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"));
    let good = tapfile(&folder, &collector, "s 1MiB");
    let refused = |tapfile: &str| {
        let Err(error) = Router::try_start(tapfile) else {
            panic!("started");
        };
        error.to_string()
    };
    let missing = refused(&good.replace("/s ", "/no/s "));
    assert!(
        missing.contains("creates only the last folder"),
        "{missing}"
    );
    let router = Router::start(&good);
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).expect("a folder").permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder.path("s")), 0o700);
    let second = refused(&good.replace("/in\n", "/in2\n"));
    assert!(
        second.contains("another router or sink uses this spool"),
        "{second}"
    );
    router.drain().await;
    let other = refused(&good.replace("name a", "name b"));
    assert!(
        other.contains("belong to the sink \"a\", not to \"b\""),
        "{other}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_spool_and_changes_its_limits() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let first = tapfile(&folder, &collector, "s 1MiB");
    let mut router = Router::start(&first);
    send(&router, 0..1000).await;
    // A change of the spool's settings needs no new connection.
    let larger = first.replace("1MiB", "1GiB");
    router.reload(&larger).expect("reloaded");
    until("the size has changed", || {
        sink(&router).spool.expect("a spool").size_bytes == 1 << 30
    })
    .await;
    // A changed sink keeps its frames.
    let identity = larger.replace(" name a", " name a\n identity x");
    router.reload(&identity).expect("reloaded");
    send(&router, 1000..MANY).await;
    assert_eq!(router.ledger(0).dropped_total(), 0);
    for changed in [
        identity.replace("/s ", "/t "),
        identity.replace(" spool", " # spool"),
    ] {
        let error = router.reload(&changed).expect_err("refused");
        assert!(
            error.to_string().contains("a running sink keeps its spool"),
            "{error}"
        );
    }
    collector.listen();
    delivered(&collector, 0..MANY).await;

    // A removed sink leaves its frames on the disk.
    collector.kill().await;
    router.until(0, "is down", |it| it.state != State::Up).await;
    send(&router, MANY..MANY + 10).await;
    let queues = router.queues(0);
    let other = Collector::unix(folder.path("other"));
    let without = format!(
        "listen unix://{}\ndnstap {}\n",
        folder.display("in"),
        other.socket()
    );
    router.reload(&without).expect("reloaded");
    until("the removed sink has ended", || {
        let ledger = queues.ledger();
        ledger.balances() && ledger.held_bytes == 0
    })
    .await;
    let ledger = queues.ledger();
    assert_eq!(
        (ledger.queued, ledger.dropped_total()),
        (10, 0),
        "{ledger:?}"
    );
    router.drain_into_spools().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_removed_and_added_again_during_its_drain_gets_its_frames() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    // The drain of the removed sink would take ten minutes.
    let with = tapfile(&folder, &collector, "s 64MiB").replace("drain 1s", "drain 10m");
    let rest = with.find("dnstap").expect("a sink");
    let without = format!("{}dnstap {}\n", &with[..rest], folder.display("nobody"));
    let mut router = Router::start(&with);
    send(&router, 0..1000).await;
    let before = router.queues(0);
    router.reload(&without).expect("reloaded");
    router
        .reload(&with)
        .expect("the old sink releases the folder");
    let ledger = before.ledger();
    assert_eq!((ledger.queued, ledger.dropped_total()), (1000, 0));
    assert_eq!(router.ledger(0).queued, 1000);
    send(&router, 1000..1500).await;
    collector.listen();
    delivered(&collector, 0..1500).await;
    router
        .reload(&with.replace("drain 10m", "drain 1s"))
        .expect("reloaded");
    router.drain_into_spools().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_reload_does_not_end_the_drain_of_a_removed_sink() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let with = tapfile(&folder, &collector, "s 64MiB").replace("drain 1s", "drain 10m");
    let rest = with.find("dnstap").expect("a sink");
    let without = format!("{}dnstap {}\n", &with[..rest], folder.display("nobody"));
    let mut router = Router::start(&with);
    send(&router, 0..1000).await;
    let before = router.queues(0);
    router.reload(&without).expect("reloaded");
    let unusable = format!("{with}listen unix://{}\n", folder.display("missing/in"));
    router.reload(&unusable).expect_err("no such folder");
    collector.listen();
    delivered(&collector, 0..1000).await;
    until("the removed sink delivers", || {
        before.ledger().delivered == 1000
    })
    .await;
    router
        .reload(&without.replace("drain 10m", "drain 1s"))
        .expect("reloaded");
    router.drain_into_spools().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_to_confirm_written_spares_the_disk() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    collector.listen();
    let written = tapfile(&folder, &collector, "s 64MiB");
    let finish = written.replace(" spool ", " confirm finish\n spool ");
    assert_ne!(written, finish);
    let mut router = Router::start(&finish);
    let on_disk = || -> u64 {
        let files = fs::read_dir(folder.path("s")).expect("a folder");
        let segments = files.filter_map(|file| {
            let file = file.expect("a file");
            let is_segment = file.path().extension().is_some_and(|it| it == "seg");
            is_segment.then(|| file.metadata().expect("a file").len())
        });
        segments.sum()
    };
    send(&router, 0..10).await;
    delivered(&collector, 0..10).await;
    assert!(on_disk() > 0, "each frame is written before it is sent");
    router.reload(&written).expect("reloaded");
    // On a busy machine, the sink may not deliver a frame within milliseconds. Then the frame is written.
    for number in 10..1000 {
        let before = on_disk();
        send(&router, number..number + 1).await;
        delivered(&collector, 0..number + 1).await;
        if on_disk() == before {
            router.drain_into_spools().await;
            return;
        }
    }
    panic!("each frame was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_deletes_the_frames_that_are_confirmed() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&tapfile(&folder, &collector, "s 64MiB"));
    send(&router, 0..1000).await;
    delivered(&collector, 0..1000).await;
    router.drain_into_spools().await;
    let files = fs::read_dir(folder.path("s")).expect("a folder");
    let mut files: Vec<_> = files.map(|it| it.expect("a file").file_name()).collect();
    files.sort();
    assert_eq!(files, ["checkpoint", "lock"]);
}

// === the program ===
//
// The queues of these sinks have room for all frames, so that a slow disk of a busy machine loses none.

pub(crate) struct Run {
    tapfan: Tapfan,
    admin: SocketAddr,
}

impl Run {
    pub(crate) async fn start(folder: &Folder, before: &str, sink: &str) -> Self {
        let tapfile = format!("listen unix://in\nadmin 127.0.0.1:0\ndrain 2s\ndnstap {sink}\n");
        let tapfan = Tapfan::run_after(before, folder, &tapfile);
        tapfan.wait_for_log("tapfan is running").await;
        let admin = tapfan.address_of("admin", 1).await;
        Self { tapfan, admin }
    }

    pub(crate) fn metrics(&self) -> Exposition {
        let answer = block_in_place(|| get(self.admin, "/metrics"));
        let read = Exposition::read(&answer.body);
        read.adds_up();
        read
    }

    pub(crate) fn of_sink(&self, name: &str) -> u64 {
        let value = self
            .metrics()
            .value(&format!("tapfan_sink_{name}{{sink=\"a\"}}"));
        // A whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let value = value as u64;
        value
    }

    pub(crate) async fn kill(mut self) {
        self.tapfan.signal(Signal::SIGKILL);
        self.tapfan.exit().await;
    }

    pub(crate) async fn end(mut self) -> String {
        self.tapfan.signal(Signal::SIGTERM);
        assert_eq!(
            self.tapfan.exit().await.code(),
            Some(0),
            "{}",
            self.tapfan.log()
        );
        self.tapfan.log()
    }
}

/// Returns how often the thread of the spool has begun to wait.
fn waits_of_spool(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let mut tasks = tasks.map(|task| task.expect("a task").path());
    let is_spool = |task: &PathBuf| {
        let name = fs::read_to_string(task.join("comm"));
        name.is_ok_and(|name| name.trim() == "spool-a")
    };
    let task = tasks.find(is_spool).expect("a thread of the spool");
    let status = fs::read_to_string(task.join("status")).expect("the thread runs");
    let prefix = "voluntary_ctxt_switches:";
    let line = status.lines().find_map(|line| line.strip_prefix(prefix));
    line.and_then(|line| line.trim().parse().ok())
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_of_an_idle_spool_hardly_wakes_up() {
    for is_up in [true, false] {
        let folder = Folder::new();
        let mut collector = Collector::unix(folder.path("out"));
        if is_up {
            collector.listen();
        }
        let run = Run::start(&folder, "", "out full {\n name a\n spool s 64MiB\n}").await;
        let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
        sender.send((0..100).map(numbered)).await;
        sender.stop().await;
        // The thread writes, syncs and notes what is done, and then rests. A thread that looked every 2 ms would wait a
        // thousand times in two seconds.
        let mut least = u64::MAX;
        for _ in 0..10 {
            let before = waits_of_spool(run.tapfan.pid());
            tokio::time::sleep(Duration::from_secs(2)).await;
            least = least.min(waits_of_spool(run.tapfan.pid()) - before);
            if least <= 3 {
                break;
            }
        }
        assert!(least <= 3, "{least} waits in two seconds");
        run.end().await;
    }
}

pub(crate) async fn load(folder: &Folder, first: u64) -> Load {
    let profile = LoadProfile {
        mode: Mode::Unidirectional,
        on_half_close: OnHalfClose::Ignore,
        rate: 20_000,
        frame: numbered,
        first,
    };
    Load::start(&Target::Unix(folder.path("in")), profile).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_router_loses_nothing_that_was_on_the_disk() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out")).numbers_only();
    let sink = "out full 1 64 {\n name a\n spool s 1GiB {\n  segment 256KiB\n }\n}";
    let (mut first, mut sure) = (0, BTreeSet::new());
    for round in 0..4 {
        let run = Run::start(&folder, "", sink).await;
        let load = load(&folder, first).await;
        until("many frames are on the disk", || {
            run.of_sink("spool_frames") > 15_000 * (round + 1)
        })
        .await;
        let known = run.of_sink("spool_frames") - run.of_sink("spool_recovered_frames_total");
        run.kill().await;
        // The numbers of a run's frames have no gaps, so the first `known` frames of this run were on the disk.
        sure.extend(first..first + known);
        first += load.ended().await;
    }
    collector.listen();
    let run = Run::start(&folder, "", sink).await;
    let recovered = run.of_sink("spool_recovered_frames_total");
    collector
        .got(usize::try_from(recovered).expect("few"))
        .await;
    let got = numbers_of(&collector.frames());
    assert!(
        got.is_sorted_by(|one, next| one < next),
        "in order, and none twice"
    );
    let got = BTreeSet::from_iter(got);
    assert!(sure.is_subset(&got), "{} of {}", got.len(), sure.len());
    let log = run.end().await;
    assert!(!log.contains("dropped=1"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_router_repeats_only_what_was_not_confirmed() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"))
        .numbers_only()
        .listening();
    let sink =
        "out full 1 64 {\n name a\n confirm finish\n spool s 1GiB {\n  segment 256KiB\n }\n}";
    let mut first = 0;
    let (mut sure, mut window) = (BTreeSet::new(), 0);
    for _ in 0..4 {
        let run = Run::start(&folder, "", sink).await;
        let recovered = run.of_sink("spool_recovered_frames_total");
        let load = load(&folder, first).await;
        until("frames are delivered", || {
            run.of_sink("offered_frames_total") > 20_000 + recovered
        })
        .await;
        let metrics = run.metrics();
        let of = |name: &str| metrics.value(&format!("tapfan_sink_{name}{{sink=\"a\"}}"));
        let on_disk = of("spool_frames") + of("delivered_frames_total");
        // A whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let known = on_disk as u64 - recovered;
        run.kill().await;
        sure.extend(first..first + known);
        first += load.ended().await;
    }
    let run = Run::start(&folder, "", sink).await;
    window += run.of_sink("spool_recovered_frames_total");
    until("everything is delivered", || {
        run.of_sink("spool_frames") == 0
    })
    .await;
    let got = numbers_of(&collector.frames());
    let distinct: BTreeSet<_> = got.iter().copied().collect();
    assert!(
        sure.is_subset(&distinct),
        "{} of {}",
        distinct.len(),
        sure.len()
    );
    assert!(window > 0);
    run.end().await;
}

/// Limits the length of the files that the program writes, in units of 1 KiB. A write beyond this limit fails with
/// EFBIG.
fn limit(kibibytes: u64) -> String {
    // Without this trap, SIGXFSZ would end the program.
    format!("trap '' XFSZ; ulimit -f {kibibytes};")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_is_reported_and_new_frames_go_through_memory() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let sink = "out full {\n name a\n spool s 64MiB {\n  segment 16MiB\n }\n}";
    let run = Run::start(&folder, &limit(512), sink).await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    for first in (0..4000).step_by(100) {
        let frames = (first..first + 100).map(|number| numbered_large(number, 400));
        sender.send(frames).await;
    }
    until("the spool is degraded", || {
        run.of_sink("spool_degraded") == 1
    })
    .await;
    until("all frames were read", || {
        run.of_sink("offered_frames_total") == 4000
    })
    .await;
    let log = run.tapfan.log();
    assert_eq!(log.matches("cannot write to the spool").count(), 1, "{log}");
    assert_eq!(
        run.of_sink("queue_frames"),
        4000,
        "all wait, on the disk or in memory"
    );
    collector.listen();
    collector.got(4000).await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..4000));
    // The sink delivers frames while the disk fails.
    sender
        .send((4000..4010).map(|number| numbered_large(number, 400)))
        .await;
    collector.got(4010).await;
    sender.stop().await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_deleted_while_the_router_runs_is_noticed_and_made_usable_again() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let sink = "out full {\n name a\n spool s 64MiB\n}";
    let run = Run::start(&folder, "", sink).await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    // While the collector is down, all frames are written to the disk.
    sender.send((0..10).map(numbered)).await;
    until("the frames are on the disk", || {
        run.of_sink("spool_frames") == 10
    })
    .await;
    fs::remove_dir_all(folder.path("s")).expect("removed");
    sender.send((10..20).map(numbered)).await;
    until("the loss of the folder is noticed", || {
        run.of_sink("spool_degraded") == 1
    })
    .await;
    // New frames wait in memory.
    sender.send((20..30).map(numbered)).await;
    fs::create_dir(folder.path("s")).expect("created");
    until("the folder is used again", || {
        run.of_sink("spool_degraded") == 0
    })
    .await;
    assert!(folder.path("s/lock").exists() && folder.path("s/checkpoint").exists());
    sender.send((30..40).map(numbered)).await;
    // All frames are still in memory, so the sink loses none.
    collector.listen();
    collector.got(40).await;
    sender.stop().await;
    let log = run.end().await;
    for line in [
        "cannot write to the spool",
        "files of the spool were deleted",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    let run = Run::start(&folder, "", sink).await;
    assert_eq!(
        run.of_sink("offered_frames_total"),
        0,
        "no frame is sent again"
    );
    run.end().await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..40));
}

/// Returns the number of the first frame that is not synced, which the checkpoint contains.
fn synced(folder: &Path) -> u64 {
    let bytes = fs::read(folder.join("checkpoint")).expect("a checkpoint");
    let slots = [0, 4096].map(|slot| {
        let number = bytes.get(slot + 32..slot + 40).unwrap_or(&[0; 8]);
        u64::from_be_bytes(number.try_into().expect("8 bytes"))
    });
    slots[0].max(slots[1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_segments_are_noticed_while_the_router_runs() {
    let folder = Folder::new();
    let mut collector = Collector::unix(folder.path("out"));
    let sink = "out full {\n name a\n spool s 64MiB\n}";
    let run = Run::start(&folder, "", sink).await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    until("the frames are on the disk", || {
        synced(&folder.path("s")) == 10
    })
    .await;
    for file in fs::read_dir(folder.path("s")).expect("a folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|it| it == "seg") {
            fs::remove_file(path).expect("removed");
        }
    }
    // The frames are still in memory, but a restart would lose them.
    until("the loss is noticed", || run.of_sink("spool_frames") == 0).await;
    sender.send((10..20).map(numbered)).await;
    until("new frames are on the disk", || {
        run.of_sink("spool_frames") == 10
    })
    .await;
    collector.listen();
    collector.got(20).await;
    sender.stop().await;
    let log = run.end().await;
    let line = "another program has deleted or shortened files of the spool";
    assert_eq!(log.matches(line).count(), 1, "{log}");
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_size_is_reported_if_the_spool_holds_more() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out"));
    let sink = "out full {\n name a\n spool s 64MiB\n}";
    let run = Run::start(&folder, "", sink).await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    sender
        .send((0..4000).map(|number| numbered_large(number, 1000)))
        .await;
    until("the frames are on the disk", || {
        run.of_sink("spool_frames") == 4000
    })
    .await;
    let tapfile = fs::read_to_string(folder.path("Tapfile")).expect("a Tapfile");
    fs::write(folder.path("Tapfile"), tapfile.replace("64MiB", "1MiB")).expect("written");
    run.tapfan.signal(Signal::SIGHUP);
    until("the log says it", || {
        run.tapfan
            .log()
            .contains("the spool holds more than its new SIZE: nothing is deleted")
    })
    .await;
    drop(collector);
    sender.stop().await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sinks_do_not_disturb_each_other() {
    let folder = Folder::new();
    let down = Collector::unix(folder.path("down"));
    let up = Collector::unix(folder.path("up")).listening();
    let sink = |collector: &Collector, name: &str| {
        let path = PathBuf::from(folder.display(name));
        let path = path.display();
        format!(
            "dnstap {} full 1 64 {{\n name {name}\n spool {path}-spool 1GiB\n}}\n",
            collector.socket()
        )
    };
    let router = Router::start(&format!(
        "listen unix://{}\ndrain 1s\n{}{}",
        folder.display("in"),
        sink(&down, "down"),
        sink(&up, "up")
    ));
    let is_up = |health: &tapfan::health::SinkHealth| health.state == State::Up;
    router.until(1, "is up", is_up).await;
    send(&router, 0..MANY).await;
    delivered(&up, 0..MANY).await;
    let report = router.drain_into_spools().await;
    assert_eq!(report.sinks[0].ledger.queued, MANY);
    assert_eq!(report.sinks[1].ledger.delivered, MANY);
}
