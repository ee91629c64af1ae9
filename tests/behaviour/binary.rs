//! Tests of the program `tapfan run`: signals, exit status, log.

use std::{
    env,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tapfan::internals::Mode;
use tokio::io::AsyncWriteExt;

use crate::{
    collector::{Collector, Ended},
    descriptors::idle_sender,
    router::Folder,
    sender::{self, Load, LoadProfile, OnHalfClose, Sender, Target},
    traffic::{numbered, numbers_of},
    wait::{until, with_timeout},
    wire::{self, FINISH, STOP},
};

/// A running `tapfan run`. The folder with the Tapfile is also the working directory of the
/// process.
pub(crate) struct Tapfan {
    child: Child,
    log: PathBuf,
}

/// Returns the program: the one that this crate builds, or the one that the environment variable `TAPFAN` names.
fn program() -> PathBuf {
    let given = env::var_os("TAPFAN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tapfan").into());
    fs::canonicalize(given).expect("a program")
}

impl Tapfan {
    pub(crate) fn run(folder: &Folder, tapfile: &str) -> Self {
        Self::run_after("", folder, tapfile)
    }

    /// Runs the shell commands `before`, and then `tapfan run` in the same shell.
    pub(crate) fn run_after(before: &str, folder: &Folder, tapfile: &str) -> Self {
        Self::run_with(before, [Stdio::null(), Stdio::inherit()], folder, tapfile)
    }

    /// Runs the shell commands `before`, and then `tapfan run` in the same shell. `input` and
    /// `output` become descriptors 0 and 1 of the shell.
    pub(crate) fn run_with(
        before: &str,
        [input, output]: [Stdio; 2],
        folder: &Folder,
        tapfile: &str,
    ) -> Self {
        let file = folder.path("Tapfile");
        fs::write(&file, tapfile).expect("written");
        let log = folder.path("log");
        let child = Command::new("sh")
            .args(["-c", &format!("{before} exec \"$0\" run --log-level info")])
            .arg(program())
            .current_dir(file.parent().expect("a folder"))
            .stdin(input)
            .stdout(output)
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("run");
        Self { child, log }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("sent");
    }

    /// Sends the signal until the process exits. A signal that comes shortly after another one is the
    /// same request, so a single signal might have no effect.
    pub(crate) async fn signal_until_exit(&mut self, signal: Signal) -> ExitStatus {
        until("a second signal ends tapfan", || {
            let is_running = self.is_running();
            if is_running {
                self.signal(signal);
            }
            !is_running
        })
        .await;
        self.exit().await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    pub(crate) async fn wait_for_log(&self, text: &str) {
        until(format_args!("the log contains {text:?}"), || {
            self.log().contains(text)
        })
        .await;
    }

    /// Returns whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        until("tapfan exits", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        status.expect("an exit")
    }
}

impl Drop for Tapfan {
    fn drop(&mut self) {
        // The process has exited already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_nothing_and_exits_0() {
    let folder = Folder::new();
    let collectors = [
        Collector::unix(folder.path("out.sock")).listening(),
        Collector::tcp().listening(),
    ];
    // The paths of the sockets are relative, so tapfan looks for them in its working directory.
    let mut tapfan = Tapfan::run(
        &folder,
        &format!(
            "listen unix://in.sock\ndnstap out.sock full 1 4\ndnstap {} full 1 4",
            collectors[1].socket()
        ),
    );
    tapfan.wait_for_log("tapfan is running").await;
    let profile = LoadProfile {
        mode: Mode::Bidirectional,
        on_half_close: OnHalfClose::Stop,
        rate: 20_000,
        frame: numbered,
        first: 0,
    };
    let load = Load::start(&Target::Unix(folder.path("in.sock")), profile).await;
    for collector in &collectors {
        collector.got(5000).await;
    }
    tapfan.signal(Signal::SIGTERM);
    let sent = load.ended().await;
    assert_eq!(tapfan.exit().await.code(), Some(0));
    for collector in &collectors {
        assert!(numbers_of(&collector.frames()).into_iter().eq(0..sent));
        assert_eq!(collector.ended().await, Ended::Stopped);
    }
    let log = tapfan.log();
    assert_eq!(log.matches("listener's ledger").count(), 1, "{log}");
    assert_eq!(log.matches("sink's ledger").count(), 2, "{log}");
    assert_eq!(
        log.matches(&format!(" delivered={sent} ")).count(),
        2,
        "{log}"
    );
    assert!(!folder.path("in.sock").exists());
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let folder = Folder::new();
    let mut tapfan = Tapfan::run(
        &folder,
        "listen unix://in.sock\ndnstap nobody.sock\ndrain 10m",
    );
    tapfan.wait_for_log("tapfan is running").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    tapfan.signal(Signal::SIGINT);
    sender.half_closed().await;
    // The drain may last ten minutes, but the test waits for much less time. So the test passes only
    // if the second signal ends the drain.
    let exit = tapfan.signal_until_exit(Signal::SIGTERM).await;
    assert_eq!(exit.code(), Some(0));
    let log = tapfan.log();
    assert!(log.contains(" reasons=\"shutdown=10\""), "{log}");
}

/// GNU `timeout` signals the process and then the process group of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_signals_of_the_same_moment_start_one_drain() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let mut tapfan = Tapfan::run(
        &folder,
        "listen in.sock\ndrain 10m\nadmin off\ndnstap out.sock full",
    );
    tapfan.wait_for_log("sink is up").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    tapfan.signal(Signal::SIGTERM);
    tapfan.signal(Signal::SIGINT);
    sender.half_closed().await;
    tapfan.wait_for_log("waiting for senders to end").await;
    sender.send((0..10).map(numbered)).await;
    sender.stop_after_half_close().await;
    assert_eq!(tapfan.exit().await.code(), Some(0));
    collector.got(10).await;
    let log = tapfan.log();
    assert!(!log.contains("exiting now"), "{log}");
    assert!(log.contains("drained; no frame was lost"), "{log}");
}

#[tokio::test]
async fn a_failed_start_exits_with_its_status() {
    let folder = Folder::new();
    let mut broken = Tapfan::run(&folder, "listen unix://in.sock\ndnsatp out.sock");
    assert_eq!(broken.exit().await.code(), Some(2));
    let log = broken.log();
    assert!(log.contains("dnstap"), "no suggestion: {log}");
    let listen = "listen unix://in.sock\ndnstap out.sock";
    let running = Tapfan::run(&folder, listen);
    running.wait_for_log("tapfan is running").await;
    // From here on, the log file contains only the log of the second process.
    let mut second = Tapfan::run(&folder, listen);
    assert_eq!(second.exit().await.code(), Some(1));
    assert!(
        second.log().contains("in use by tapfan"),
        "{}",
        second.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_without_descriptors_waits_for_free_ones() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let mut tapfan = Tapfan::run_after(
        "ulimit -n 64;",
        &folder,
        "listen unix://in.sock\ndnstap out.sock full",
    );
    tapfan.wait_for_log("sink is up").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(target.dial().await.expect("in the backlog"));
    }
    tapfan.wait_for_log("reason=connection_limit").await;
    drop(crowd);
    let let_in = async {
        loop {
            if let Some(stream) = idle_sender(&target).await {
                return stream;
            }
        }
    };
    let mut stream = with_timeout("a sender is admitted", let_in).await;
    let frames = wire::data((0..100).map(numbered));
    let said = [frames.as_slice(), STOP].concat();
    stream.write_all(&said).await.expect("written");
    assert_eq!(sender::rest(&mut stream).await, FINISH);
    collector.got(100).await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
}
