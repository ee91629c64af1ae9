//! Tests that the router, under load, pauses before it reads again. So it handles several frames
//! each time it wakes up.

use std::{fs, io::Write as _, os::unix::net::UnixStream, path::Path, thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    binary::Tapfan,
    collector::Collector,
    router::Folder,
    traffic::{numbered, numbers_of},
    wire::{self, START},
};

const FRAMES: usize = 2000;

/// Returns how often the threads of a process have begun to wait.
fn waits(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let waits_of = |task: &Path| {
        let status = fs::read_to_string(task.join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<usize>().ok()
    };
    tasks.filter_map(|task| waits_of(&task.ok()?.path())).sum()
}

/// Sends frames one by one, two every millisecond.
fn send_singly(path: &Path) {
    let mut stream = UnixStream::connect(path).expect("connected");
    stream.write_all(START).expect("written");
    for number in 0..FRAMES as u64 {
        let frame = wire::data([numbered(number)]);
        stream.write_all(&frame).expect("written");
        thread::sleep(Duration::from_micros(500));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_sent_one_by_one_are_collected_and_none_is_lost() {
    let folder = Folder::new();
    let collectors = ["a", "b"].map(|name| Collector::unix(folder.path(name)).listening());
    let tapfile = |latency: &str| {
        format!(
            "latency {latency}\nadmin off\nlisten unix://{}\ndnstap {} full\ndnstap {} full\n",
            folder.display("in"),
            collectors[0].socket(),
            collectors[1].socket()
        )
    };
    let mut tapfan = Tapfan::run(&folder, &tapfile("10ms"));
    for _ in &collectors {
        tapfan.wait_for_log("sink is up").await;
    }
    let before = waits(tapfan.pid());
    let path = folder.path("in");
    tokio::task::spawn_blocking(move || send_singly(&path))
        .await
        .expect("sent");
    for collector in &collectors {
        collector.got(FRAMES).await;
    }
    let waits = waits(tapfan.pid()) - before;
    // If the router did not pause to collect frames, it would wait once for each frame.
    assert!(waits < FRAMES / 2, "{waits} waits for {FRAMES} frames");
    fs::write(folder.path("Tapfile"), tapfile("1ms")).expect("written");
    tapfan.signal(Signal::SIGHUP);
    tapfan.wait_for_log("latency 1ms").await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
    for collector in &collectors {
        assert!(
            numbers_of(&collector.frames())
                .into_iter()
                .eq(0..FRAMES as u64)
        );
    }
}
