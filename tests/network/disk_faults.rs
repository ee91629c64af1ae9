//! Tests of a spool whose system calls fail. strace injects the errors.

use std::{
    fs::{self, File},
    process::Command,
};

use tapfan::internals::Mode;

use crate::{
    collector::Collector,
    program::Program,
    router::Folder,
    sender::{Sender, Target},
    traffic::{numbered_large, numbers_of},
    wait::until,
};

/// A system call of the spool that fails.
struct Fault {
    call: &'static str,
    error: &'static str,
    /// The calls that fail, in the syntax of strace's option `--inject`, which counts the calls of each thread.
    when: &'static str,
    /// True if the spool must log that it cannot be written.
    must_log: bool,
}

/// The number of frames, of 400 bytes each. Together they fill about 25 segments.
const FRAMES: u64 = 4000;

const WRITE: &str = "pwritev";
const SYNC: &str = "fdatasync";
const DELETE: &str = "unlink";

const FAULTS: [Fault; 8] = [
    Fault::new(WRITE, "EIO", "10..12", true),
    Fault::new(WRITE, "ENOSPC", "10..30", true),
    Fault::new(WRITE, "ENOSPC", "10+", true),
    // The router starts only if its first two syncs succeed, so the faults begin later. After a failed sync of a
    // segment, the spool writes the records to a new segment and logs nothing.
    Fault::new(SYNC, "EIO", "4", false),
    Fault::new(SYNC, "EIO", "4+3", false),
    Fault::new(SYNC, "EIO", "4+", true),
    Fault::new(DELETE, "EIO", "1..30", false),
    Fault::new(DELETE, "EACCES", "1+", true),
];

// === impl Fault ===

impl Fault {
    const fn new(
        call: &'static str,
        error: &'static str,
        when: &'static str,
        must_log: bool,
    ) -> Self {
        Self {
            call,
            error,
            when,
            must_log,
        }
    }

    /// Starts the router under strace. `-D` makes the router, instead of strace, the child of the test, so that signals
    /// reach the router.
    fn inject(&self, folder: &Folder) -> Program {
        let inject = format!(
            "inject={}:error={}:when={}",
            self.call, self.error, self.when
        );
        let program = Command::new("strace")
            .args(["-D", "-f", "-qq", "-o"])
            .arg(folder.path("calls"))
            .args(["-e", &format!("trace={}", self.call), "-e", &inject])
            .args([env!("CARGO_BIN_EXE_tapfan"), "run"])
            .arg(folder.path("Tapfile"))
            .stderr(File::create(folder.path("log")).expect("a log"))
            .spawn();
        Program(program.expect("strace"))
    }

    fn name(&self) -> String {
        format!("{} {} {}", self.call, self.error, self.when)
    }

    /// Starts the router under strace, and sends all frames.
    async fn send(&self, folder: &Folder, collector: &Collector) -> Program {
        // With `confirm finish`, the sink writes each frame to the disk before it sends the frame.
        let tapfile = format!(
            "listen unix://{}\ndrain 1s\ndnstap {} full 1 64 {{\n name a\n confirm finish {{\n  idle 1s\n }}\n spool {} 64MiB \
             {{\n  sync 10ms\n  segment 64KiB\n }}\n}}\nadmin off\n",
            folder.display("in"),
            collector.socket(),
            folder.display("spool"),
        );
        fs::write(folder.path("Tapfile"), tapfile).expect("written");
        let program = self.inject(folder);
        until("the router runs", || {
            log(folder).contains("tapfan is running")
        })
        .await;
        let mut sender = Sender::open(&Target::Unix(folder.path("in")), Mode::Bidirectional).await;
        for first in (0..FRAMES).step_by(100) {
            let frames = (first..first + 100).map(|number| numbered_large(number, 400));
            sender.send(frames).await;
        }
        sender.stop().await;
        program
    }

    /// Checks that the router keeps as many frames on the disk at its end as it logs, even if calls have failed.
    async fn keeps_what_it_says(&self) {
        let (name, folder) = (self.name(), Folder::new());
        let mut collector = Collector::unix(folder.path("out"));
        let program = self.send(&folder, &collector).await;
        program.ends_well().await;
        let first = log(&folder);
        let kept = first.split("kept=").nth(1).map_or("0", |rest| {
            rest.split(|letter: char| !letter.is_ascii_digit())
                .next()
                .unwrap_or("0")
        });
        let kept: usize = kept.parse().expect("a number");
        collector.listen();
        let program = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .arg("run")
            .arg(folder.path("Tapfile"))
            .stderr(File::create(folder.path("log")).expect("a log"))
            .spawn();
        let program = Program(program.expect("run"));
        until("the router runs", || {
            log(&folder).contains("tapfan is running")
        })
        .await;
        collector.got(kept).await;
        program.ends_well().await;
        let numbers = numbers_of(&collector.frames());
        assert!(
            numbers.is_sorted() && numbers.len() == kept,
            "{name}: {first}"
        );
        assert!(kept > 0, "{name}: {first}");
    }

    async fn costs_no_frame(&self) {
        let (name, folder) = (self.name(), Folder::new());
        let collector = Collector::unix(folder.path("out")).listening();
        let program = self.send(&folder, &collector).await;
        let log = || log(&folder);
        collector.got(usize::try_from(FRAMES).expect("few")).await;
        // Some calls come only after the collector has confirmed the frames.
        let has_logged = || log().contains("cannot write to the spool");
        until("the failure is logged", || has_logged() || !self.must_log).await;
        program.ends_well().await;
        let numbers = numbers_of(&collector.frames());
        assert!(numbers.into_iter().eq(0..FRAMES), "{name}: {}", log());
        let calls = fs::read_to_string(folder.path("calls")).expect("the calls");
        assert!(calls.contains("(INJECTED)"), "{name}: no call failed");
        // The spool must not be damaged.
        let check = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(["spool", "check"])
            .arg(folder.path("spool"))
            .output()
            .expect("run");
        let output = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success(), "{name}: {output}");
    }
}

fn log(folder: &Folder) -> String {
    fs::read_to_string(folder.path("log")).expect("a log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace"]
async fn errors_of_the_disk_cost_only_frames_that_are_counted() {
    for fault in &FAULTS {
        fault.keeps_what_it_says().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs strace"]
async fn no_error_of_the_disk_costs_a_frame_while_the_collector_is_up() {
    for fault in &FAULTS {
        fault.costs_no_frame().await;
    }
}
