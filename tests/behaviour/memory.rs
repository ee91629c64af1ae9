//! Tests of the option `memory`, the limit on the memory of the whole router.

use nix::sys::signal::Signal;
use tapfan::{
    admin::{RouterStatus, SinkStatus},
    health::DropReason,
    internals::Mode,
};
use tokio::task::block_in_place;

use crate::{
    binary::Tapfan,
    cgroup::Cgroup,
    collector::{Behaviour, Collector},
    http::get,
    router::{Folder, Router},
    sender::{Sender, Target},
    traffic::{numbered_large, numbers_of},
    wait::{until, with_timeout},
};

const MIB: usize = 1 << 20;

/// The number of frames in a batch. Each frame has about 4 KiB.
const BATCH: u64 = 64;

fn batch(number: u64) -> impl Iterator<Item = bytes::Bytes> {
    (number * BATCH..(number + 1) * BATCH).map(|number| numbered_large(number, 4096))
}

fn lost(sink: &SinkStatus) -> u64 {
    sink.ledger.dropped.values().sum()
}

/// The test limits the memory of the router with a cgroup. If this process cannot create a cgroup,
/// the test limits the address space instead, and sets the router's own limit with `memory`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_larger_than_memory_harms_neither_the_router_nor_a_good_sink() {
    const BATCHES: u64 = 800;
    let folder = Folder::new();
    let good = Collector::unix(folder.path("good"))
        .numbers_only()
        .listening();
    let stalled = Collector::unix(folder.path("stalled")).numbers_only();
    stalled.behave(Behaviour::Hangs);
    let stalled = stalled.listening();
    let cgroup = Cgroup::new(96 * MIB);
    let (before, memory) = match &cgroup {
        Some(cgroup) => (cgroup.enter(), ""),
        None => (
            "ulimit -v 600000; export TOKIO_WORKER_THREADS=2 MALLOC_ARENA_MAX=2;".to_owned(),
            "memory 72MiB\n",
        ),
    };
    let tapfile = format!(
        "{memory}admin 127.0.0.1:0\ndrain 30s\nlisten unix://in\ndnstap good full {{\n name good\n}}\n\
         dnstap stalled full 1 4096 {{\n name stalled\n write_timeout 10m\n}}"
    );
    let mut tapfan = Tapfan::run_after(&before, &folder, &tapfile);
    tapfan.wait_for_log("tapfan is running").await;
    tapfan
        .wait_for_log("may hold 131140MiB together, more than")
        .await;
    let admin = tapfan.address_of("admin", 1).await;
    let status = || -> RouterStatus {
        let answer = block_in_place(|| get(admin, "/status"));
        serde_json::from_str(&answer.body).expect("a status")
    };
    stalled
        .until("the sink has connected", |connections| {
            !connections.is_empty()
        })
        .await;

    let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
    for number in 0..BATCHES {
        with_timeout("the router reads", sender.send(batch(number))).await;
        // Waits for the good collector, so that the sender sends no faster than that collector
        // reads.
        let so_far = usize::try_from((number + 1) * BATCH).expect("few");
        if number % 8 == 7 {
            good.got(so_far).await;
            assert!(tapfan.is_running(), "{}", tapfan.log());
        }
    }
    sender.stop().await;
    let sent = BATCHES * BATCH;
    good.got(usize::try_from(sent).expect("few")).await;
    assert!(numbers_of(&good.frames()).into_iter().eq(0..sent));

    let now = status();
    assert_eq!(now.memory.limit_bytes, 72 * MIB as u64);
    assert!(
        now.memory.held_bytes <= now.memory.limit_bytes,
        "{:?}",
        now.memory
    );
    let [first, second] = now.sinks.as_slice() else {
        panic!("two sinks: {now:?}");
    };
    assert_eq!((lost(first), first.ledger.offered), (0, sent));
    let dropped = second.ledger.dropped["memory"];
    assert_eq!((lost(second), second.ledger.offered), (dropped, sent));
    assert!(second.ledger.balances() && dropped > sent / 2, "{second:?}");
    // The stalled sink uses most of the memory.
    assert!(second.queue.bytes > 48 * MIB as u64, "{second:?}");
    assert_eq!(second.dropped_by_sender.senders[0].frames, dropped);

    // When the stalled collector reads again, it gets every frame that was not dropped.
    stalled.behave(Behaviour::Good);
    stalled
        .got(usize::try_from(sent - dropped).expect("few"))
        .await;
    until("all memory is released", || status().memory.held_bytes == 0).await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0), "{}", tapfan.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_the_memory_limit_and_edited_frames_count() {
    let folder = Folder::new();
    let good = Collector::unix(folder.path("good"))
        .numbers_only()
        .listening();
    let stalled = Collector::unix(folder.path("stalled")).numbers_only();
    stalled.behave(Behaviour::Hangs);
    let stalled = stalled.listening();
    let tapfile = |memory: &str| {
        format!(
            "{memory}\nlisten unix://{}\ndnstap {} full\ndnstap {} full {{\n identity edge-1\n}}",
            folder.display("in"),
            good.socket(),
            stalled.socket(),
        )
    };
    let mut router = Router::start(&tapfile("memory 1GiB"));
    router.all_up().await;
    let auditor = router.audit();
    let memory = router.view().memory().clone();
    let mut sender = Sender::open(&router.target(0), Mode::Bidirectional).await;
    for number in 0..80 {
        sender.send(batch(number)).await;
        good.got(usize::try_from((number + 1) * BATCH).expect("few"))
            .await;
    }
    assert!(
        memory.held() > 16 * MIB,
        "{memory:?} {:?}",
        router.ledger(1)
    );
    assert_eq!(router.ledger(1).dropped_total(), 0);

    let changes = router.reload(&tapfile("memory 16MiB")).expect("good");
    assert_eq!(
        changes.to_string(),
        "unfinished_frames 8MiB; memory 16MiB",
        "unfinished frames get at most half of it"
    );
    for number in 80..120 {
        sender.send(batch(number)).await;
        good.got(usize::try_from((number + 1) * BATCH).expect("few"))
            .await;
    }
    assert!(memory.held() <= 16 * MIB, "{memory:?}");
    let ledger = router.ledger(1);
    let dropped = ledger.dropped(DropReason::Memory);
    assert!(
        dropped > 0 && ledger.dropped_total() == dropped,
        "{ledger:?}"
    );
    sender.stop().await;
    stalled.behave(Behaviour::Good);
    auditor.finish();
    let report = router.drain().await;
    assert_eq!(report.sinks[0].ledger.delivered, 120 * BATCH);
    assert_eq!(report.sinks[1].ledger.delivered, 120 * BATCH - dropped);
    assert_eq!(memory.held(), 0, "all memory is released");
}
