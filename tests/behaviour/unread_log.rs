//! Tests of a log that no process reads: the router loses log lines, and nothing else.

use std::{
    fs,
    io::{ErrorKind, PipeReader, Read, Write as _},
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tapfan::{admin::RouterStatus, internals::Mode};
use tokio::{
    task::{JoinHandle, block_in_place},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::Collector,
    exposition::Exposition,
    http::{Answer, get},
    router::Folder,
    sender::{Sender, Target},
    traffic::{numbered, numbers_of},
    wait::{until, with_timeout},
    wire::{START, STOP},
};

/// A running `tapfan run`. Only some methods of this type read its stderr.
struct Program {
    child: Child,
    stderr: PipeReader,
    text: String,
}

/// Senders that send garbage. Each of their connections causes log lines.
struct Garbage {
    enough: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

const LOST: &str = "tapfan_log_lines_lost_total";

/// The longest time that a write of the good sender may take. On a busy machine, a write may take a
/// second. If a worker thread of the router blocked on stderr, the write would never end.
const WRITE: Duration = Duration::from_secs(10);

// === impl Program ===

impl Program {
    /// Starts `tapfan run` with this Tapfile. Its stderr is a pipe that holds one page.
    fn run(folder: &Folder, level: &str, tapfile: &str) -> Self {
        let file = folder.path("Tapfile");
        fs::write(&file, tapfile).expect("written");
        let (stderr, theirs) = std::io::pipe().expect("a pipe");
        fcntl(theirs.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).expect("smaller");
        fcntl(stderr.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("set");
        let child = Command::new(env!("CARGO_BIN_EXE_tapfan"))
            .args(["run", "--log-level", level])
            .current_dir(file.parent().expect("a folder"))
            .stdin(Stdio::null())
            .stderr(theirs)
            .spawn()
            .expect("it runs");
        let text = String::new();
        Self {
            child,
            stderr,
            text,
        }
    }

    /// Reads the bytes that are in the pipe, without waiting for more.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stderr.read(&mut bytes) {
                Ok(0) => return,
                Ok(read) => self.text.push_str(&String::from_utf8_lossy(&bytes[..read])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads until the log contains `text`.
    async fn wait_for_log(&mut self, text: &str) {
        until(format_args!("the log contains {text:?}"), || {
            self.read();
            self.text.contains(text)
        })
        .await;
    }

    /// Waits until the log names the admin endpoint's address, and returns it.
    async fn address(&mut self) -> SocketAddr {
        self.wait_for_log("admin endpoint is listening").await;
        self.wait_for_log("tapfan is running").await;
        let (_, rest) = self
            .text
            .split_once("admin endpoint is listening")
            .expect("logged");
        let (_, address) = rest.split_once("address=").expect("an address");
        let address = address.split_whitespace().next().expect("an address");
        address.parse().expect("an address")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("sent");
    }

    async fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        until("tapfan exits", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        status.expect("an exit")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process has exited already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Garbage ===

impl Garbage {
    fn start(target: &Target) -> Self {
        let enough = CancellationToken::new();
        let tasks = (0..2)
            .map(|_| {
                let (enough, target) = (enough.clone(), target.clone());
                tokio::spawn(async move {
                    let bad = [START, b"\0\0\0\x03bad"].concat();
                    while !enough.is_cancelled() {
                        target.exchange(&bad).await;
                    }
                })
            })
            .collect();
        Self { enough, tasks }
    }

    async fn end(self) {
        self.enough.cancel();
        for task in self.tasks {
            with_timeout("the garbage sender ends", task)
                .await
                .expect("no panic");
        }
    }
}

fn ask(address: SocketAddr, path: &str) -> Answer {
    block_in_place(|| get(address, path))
}

/// Returns the number of lost log lines in the metrics.
fn lost(address: SocketAddr) -> Option<f64> {
    Exposition::read(&ask(address, "/metrics").body).get(LOST)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_log_loses_lines_and_nothing_else() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let tapfile = "listen in.sock\nadmin 127.0.0.1:0\ndnstap out.sock full 8 8\n";
    let mut program = Program::run(&folder, "trace", tapfile);
    let address = program.address().await;
    program.wait_for_log("sink is up").await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut good = Sender::open(&target, Mode::Bidirectional).await;

    // From here on the test does not read the log.
    let garbage = Garbage::start(&target);
    let (begun, mut sent) = (Instant::now(), 0);
    while lost(address).is_none_or(|lost| lost < 100.0) {
        let frames = (sent..sent + 100).map(numbered);
        timeout(WRITE, good.send(frames)).await.expect("room");
        sent += 100;
        assert_eq!(ask(address, "/livez").body, "live\n");
        assert!(
            begun.elapsed() < Duration::from_secs(2 * 60),
            "no line is lost"
        );
    }
    // The router must serve the good sender while log lines are being lost.
    for _ in 0..50 {
        let frames = (sent..sent + 100).map(numbered);
        timeout(WRITE, good.send(frames)).await.expect("room");
        sent += 100;
    }
    collector.got(usize::try_from(sent).expect("few")).await;
    assert_eq!(ask(address, "/livez").status, 200);
    assert_eq!(ask(address, "/readyz").status, 200);
    garbage.end().await;
    let status: RouterStatus =
        serde_json::from_str(&ask(address, "/status").body).expect("the status");
    assert!(status.log.lines_lost >= 100, "{:?}", status.log);

    // The test reads the log once more, and then stops reading again.
    program.wait_for_log("log lines were lost").await;
    let garbage = Garbage::start(&target);
    let before = lost(address).expect("a counter");
    until("lines are lost again", || {
        lost(address).expect("a counter") > before
    })
    .await;
    garbage.end().await;
    program.signal(Signal::SIGTERM);
    good.half_closed().await;
    good.write(STOP).await;
    good.cut().await;
    assert_eq!(program.exit().await.code(), Some(0));
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..sent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_works_with_an_unread_log() {
    let folder = Folder::new();
    let tapfile = "listen in.sock\nadmin 127.0.0.1:0\ndnstap nobody.sock\ndrain 1m\n";
    let mut program = Program::run(&folder, "debug", tapfile);
    let address = program.address().await;
    let target = Target::Unix(folder.path("in.sock"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send((0..10).map(numbered)).await;
    let garbage = Garbage::start(&target);
    until("lines are lost", || {
        lost(address).is_some_and(|lost| lost > 0.0)
    })
    .await;
    garbage.end().await;
    program.signal(Signal::SIGINT);
    sender.half_closed().await;
    // A signal that comes shortly after the first one is the same request.
    until("a second signal ends the program", || {
        let is_running = program.child.try_wait().expect("a child").is_none();
        if is_running {
            program.signal(Signal::SIGTERM);
        }
        !is_running
    })
    .await;
    assert_eq!(program.exit().await.code(), Some(0));
}

/// Returns a socket whose buffer is full, and the peer of this socket.
fn full() -> (UnixStream, OwnedFd) {
    let (reader, writer) = UnixStream::pair().expect("a pair");
    writer.set_nonblocking(true).expect("set");
    while (&writer).write(&[b'.'; 4096]).is_ok() {}
    writer.set_nonblocking(false).expect("set");
    (reader, writer.into())
}

#[tokio::test]
async fn a_failed_start_exits_even_with_a_full_stderr() {
    let folder = Folder::new();
    let run = |arguments: &[&str], stderr: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
        command.arg("run").args(arguments);
        command.stdout(Stdio::null()).stderr(stderr);
        command.current_dir(folder.path(""));
        let child = command.spawn().expect("it runs");
        let (stderr, _theirs) = std::io::pipe().expect("a pipe");
        let text = String::new();
        Program {
            child,
            stderr,
            text,
        }
    };
    fs::write(folder.path("bad"), "listen in.sock\ndnsatp out.sock\n").expect("written");
    fs::write(
        folder.path("cannot"),
        "listen no-such-folder/in.sock\nadmin off\ndnstap out.sock\n",
    )
    .expect("written");
    for (arguments, status, said) in [
        (vec!["bad"], 2, "dnsatp"),
        (vec!["missing"], 2, "missing"),
        (vec!["cannot"], 1, "no-such-folder"),
        (vec!["--log-level", "dbug", "cannot"], 2, "dbug"),
        (vec!["--no-such-flag"], 2, "no-such-flag"),
    ] {
        let (_reader, theirs) = full();
        let mut program = run(&arguments, theirs.into());
        assert_eq!(program.exit().await.code(), Some(status), "{arguments:?}");
        // If a process reads stderr, it gets the whole message.
        let (mut reader, theirs) = UnixStream::pair().expect("a pair");
        let mut program = run(&arguments, OwnedFd::from(theirs).into());
        assert_eq!(program.exit().await.code(), Some(status), "{arguments:?}");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
