//! Tests that a router with nothing to do hardly ever wakes up.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use nix::sys::signal::Signal;
use tapfan::internals::Mode;
use tokio::task::block_in_place;

use crate::{
    binary::Tapfan,
    collector::Collector,
    router::Folder,
    sender::{Sender, Target},
    traffic::numbered,
};

/// The duration of one measurement, in seconds.
const SECONDS: u64 = 6;

/// The number of wake-ups that are allowed during one measurement. The router needs one wake-up a second, for the
/// history that the page shows. When each regular task had its own tokio timer, the router woke up more than ten times
/// a second.
const WAKE_UPS: u64 = 3 * SECONDS;

/// Returns, for each thread of a process, how often it has begun to wait.
fn waits(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let waits_of = |task: &Path| {
        let status = fs::read_to_string(task.join("status")).ok()?;
        let line = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let waits = line("voluntary_ctxt_switches:")?.trim().parse().ok()?;
        let id = task.file_name()?.to_string_lossy();
        Some((format!("{id} {}", line("Name:")?.trim()), waits))
    };
    tasks
        .filter_map(|task| waits_of(&task.ok()?.path()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_router_wakes_up_about_once_a_second() {
    let folder = Folder::new();
    let collectors = [
        Collector::unix(folder.path("a")),
        Collector::unix(folder.path("b")),
        Collector::tcp(),
    ]
    .map(Collector::listening);
    let mut tapfile = "admin 127.0.0.1:0\nlisten unix://in\n".to_owned();
    for collector in &collectors {
        tapfile += &["dnstap ", &collector.socket(), " full\n"].concat();
    }
    let mut tapfan = Tapfan::run(&folder, &tapfile);
    tapfan.wait_for_log("tapfan is running").await;
    let target = Target::Unix(folder.path("in"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    for collector in &collectors {
        collector.got(1).await;
    }
    // Measures four times and uses only the lowest result, because the router may still do some work of its start
    // during the first measurements.
    let mut quietest = (u64::MAX, String::new());
    for _ in 0..4 {
        let before = waits(tapfan.pid());
        block_in_place(|| thread::sleep(Duration::from_secs(SECONDS)));
        let grown = waits(tapfan.pid()).into_iter().map(|(thread, waits)| {
            let before = before.get(&thread).copied().unwrap_or_default();
            (thread, waits - before)
        });
        let grown: Vec<_> = grown.filter(|(_, waits)| *waits > 0).collect();
        let total = grown.iter().map(|(_, waits)| waits).sum();
        quietest = quietest.min((total, format!("{grown:?}")));
        if quietest.0 <= WAKE_UPS {
            break;
        }
    }
    let (total, by_thread) = quietest;
    assert!(total <= WAKE_UPS, "{total} in {SECONDS} s: {by_thread}");
    // The router must wake up at least sometimes, because it adds a row to the history each second.
    assert!(total >= SECONDS / 2, "{total} in {SECONDS} s: {by_thread}");
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
}
