//! Tests of `tapfan replay`: either the whole capture reaches the listener, or the command reports
//! a failure.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use prost::Message as _;
use tapfan::proto::Dnstap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    task::spawn_blocking,
};

use crate::{
    certificates::Certificates,
    collector::Collector,
    router::{Folder, Router},
    sender,
    traffic::{numbered, numbers_of, recorded},
    wait::{until, with_timeout},
    wire::{self, ACCEPT, FINISH, READY, START, STOP},
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn command<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    command.arg("replay").args(arguments);
    command
}

/// Runs the command to its end on another thread, so that the router of the test can continue.
async fn run(mut command: Command) -> Output {
    let run = spawn_blocking(move || command.stdin(Stdio::null()).output());
    with_timeout("the replay ends", run)
        .await
        .expect("no panic")
        .expect("run")
}

/// Asserts that the command succeeded, and returns what it printed, without the time and the rate.
fn printed(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    without_time(&String::from_utf8_lossy(&output.stdout))
}

fn without_time(line: &str) -> String {
    let (before, after) = line.split_once(" in ").expect("the time");
    let (_, after) = after.split_once("frames/s)").expect("the rate");
    format!("{before}{after}")
}

fn capture(folder: &Folder, name: &str, frames: u64) -> PathBuf {
    let path = folder.path(name);
    let frames = wire::data((0..frames).map(numbered));
    fs::write(&path, [START, &frames, STOP].concat()).expect("written");
    path
}

/// Starts a router with a collector that keeps all frames.
fn router(folder: &Folder, listen: &str) -> (Router, Collector) {
    let collector = Collector::unix(folder.path("out")).listening();
    let router = Router::start(&format!(
        "{listen}\ndnstap {} full 1 16",
        collector.socket()
    ));
    (router, collector)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_arrive_whole_over_unix_tcp_and_tls() {
    let certificates = Certificates::new();
    let file = |name: &str| certificates.path(name).display().to_string();
    let captures = ["bind.fstrm", "unbound.fstrm", "dnsdist.fstrm"].map(data);
    for kind in ["unix", "tcp", "tls"] {
        let folder = Folder::new();
        let listen = match kind {
            "unix" => format!("listen unix://{}", folder.display("in")),
            "tcp" => "listen tcp://127.0.0.1:0".to_owned(),
            _ => format!(
                "listen tls://127.0.0.1:0 {{\ncert {}\nkey {}\n}}",
                file("server.crt"),
                file("server.key")
            ),
        };
        let (router, collector) = router(&folder, &listen);
        let mut command = command(&captures);
        match router.target(0) {
            sender::Target::Unix(path) => command.arg("--to").arg(path),
            sender::Target::Tcp(address) if kind == "tls" => command
                .arg(format!("--to=tls://localhost:{}", address.port()))
                .arg("--ca")
                .arg(file("ca.crt")),
            sender::Target::Tcp(address) => command.arg(format!("--to=tcp://{address}")),
            sender::Target::Tls(..) => unreachable!("the router gives the address alone"),
        };
        let output = run(command).await;
        let line = printed(&output);
        assert!(line.starts_with("sent 11000 frames, "), "{line}");
        assert!(
            line.ends_with(" over 1 connection; FINISH received\n"),
            "{line}"
        );
        // The replay has received FINISH. The router sends it only after every frame was offered to
        // the sink.
        assert_eq!(router.ledger(0).offered, 11_000);
        router.drain().await;
        assert!(collector.frames() == recorded(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_captures_are_repeated_over_several_connections() {
    let folder = Folder::new();
    let (router, collector) = router(&folder, &format!("listen unix://{}", folder.display("in")));
    let plain = fs::read(capture(&folder, "plain", 2000)).expect("a file");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain).expect("memory");
    fs::write(folder.path("gzip"), gzip.finish().expect("memory")).expect("written");
    let zstd = zstd::encode_all(&*plain, 1).expect("memory");
    fs::write(folder.path("zstd"), zstd).expect("written");
    let mut command = command([folder.path("gzip"), folder.path("zstd")]);
    command.arg("--to").arg(folder.path("in"));
    command.args(["--loop", "3", "--connections", "4", "--rate", "1000000/s"]);
    let line = printed(&run(command).await);
    assert!(line.starts_with("sent 12000 frames"), "{line}");
    assert!(
        line.ends_with("over 4 connections; FINISH received\n"),
        "{line}"
    );
    assert_eq!(router.counts(0).accepted, 4);
    router.drain().await;
    let mut numbers = numbers_of(&collector.frames());
    numbers.sort_unstable();
    assert!(
        numbers
            .into_iter()
            .eq((0..2000).flat_map(|number| [number; 6]))
    );
}

fn frame_at(seconds: u64) -> Vec<u8> {
    let frame = Dnstap::decode(numbered(0)).expect("a frame");
    let mut message = frame.message.clone().expect("a message");
    message.query_time_sec = Some(seconds);
    message.query_time_nsec = Some(0);
    message.response_time_sec = Some(seconds + 1);
    message.response_time_nsec = Some(0);
    let frame = Dnstap {
        message: Some(message),
        ..frame
    };
    frame.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_rewritten_and_followed() {
    let folder = Folder::new();
    let (router, collector) = router(&folder, &format!("listen unix://{}", folder.display("in")));
    // The times in the capture span ten seconds. The replay runs a thousand times as fast.
    let frames: Vec<Vec<u8>> = (0..10)
        .map(|second| frame_at(1_700_000_000 + second))
        .collect();
    let path = folder.path("capture");
    fs::write(&path, [START, &wire::data(&frames), STOP].concat()).expect("written");
    let before = SystemTime::now();
    let mut command = command([path]);
    command.arg("--to").arg(folder.path("in"));
    command.args(["--speed", "1000x", "--rewrite-time", "now"]);
    printed(&run(command).await);
    router.drain().await;
    let now = SystemTime::now();
    let seconds = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    };
    let received = collector.frames();
    assert_eq!(received.len(), 10);
    for frame in received {
        let message = Dnstap::decode(frame)
            .expect("a frame")
            .message
            .expect("a message");
        let response = message.response_time_sec.expect("a time");
        assert!(
            (seconds(before)..=seconds(now)).contains(&response),
            "{response}"
        );
        assert_eq!(message.query_time_sec, Some(response - 1));
        assert_eq!(message.query_time_nsec, message.response_time_nsec);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_capture_is_sent_as_far_as_it_goes_and_reported() {
    let folder = Folder::new();
    let (router, collector) = router(&folder, &format!("listen unix://{}", folder.display("in")));
    let mut cut = fs::read(capture(&folder, "cut", 100)).expect("a file");
    cut.truncate(cut.len() - STOP.len() - 3);
    fs::write(folder.path("cut"), cut).expect("written");
    let mut command = command([folder.path("cut")]);
    command
        .arg("--to")
        .arg(folder.path("in"))
        .args(["--loop", "0"]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("without a STOP, after 99 whole frames"),
        "{said}"
    );
    router.drain().await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..99));
}

/// A listener must see nothing of a replay whose captures are misspelt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_cannot_be_used_is_reported_before_the_replay_connects() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path("in")).expect("free");
    fs::write(folder.path("page"), "<html>").expect("written");
    let mut command = command([
        capture(&folder, "good", 1),
        "/no/such/capture".into(),
        folder.path("page"),
    ]);
    command.arg("--to").arg(folder.path("in"));
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("tapfan: /no/such/capture: No such file"),
        "{said}"
    );
    assert!(
        said.contains("page: not a Frame Streams file: it does not begin with START"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
    let listener = listener.into_std().expect("a socket");
    let nothing = listener.accept().expect_err("the replay did not connect");
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captures_in_one_file_are_all_sent() {
    let folder = Folder::new();
    let (router, collector) = router(&folder, &format!("listen unix://{}", folder.display("in")));
    let first = fs::read(capture(&folder, "first", 50)).expect("a file");
    let frames = wire::data((50..100).map(numbered));
    let both = [&first[..], START, &frames, STOP].concat();
    fs::write(folder.path("both"), both).expect("written");
    let mut command = command([folder.path("both")]);
    command.arg("--to").arg(folder.path("in"));
    let output = run(command).await;
    assert!(printed(&output).contains("sent 100 frames"));
    router.drain().await;
    assert!(numbers_of(&collector.frames()).into_iter().eq(0..100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_an_endless_replay_in_order() {
    let folder = Folder::new();
    let (router, _collector) = router(&folder, &format!("listen unix://{}", folder.display("in")));
    let mut command = command([capture(&folder, "capture", 100)]);
    command.arg("--to").arg(folder.path("in"));
    command.args(["--loop", "0", "--rate", "2000"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("run");
    until("frames arrive", || router.counts(0).frames > 0).await;
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("sent");
    let output = spawn_blocking(move || child.wait_with_output());
    let output = with_timeout("the replay ends", output)
        .await
        .expect("no panic");
    let line = printed(&output.expect("its output"));
    assert!(line.ends_with("; interrupted; FINISH received\n"), "{line}");
    let sent: u64 = line
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert_eq!(router.counts(0).frames, sent);
    router.drain().await;
}

/// The listener of this test accepts one stream, reads it, and never answers STOP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_replay_without_finish_as_a_failure() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path("in")).expect("free");
    let mut command = command([capture(&folder, "capture", 100)]);
    command.arg("--to").arg(folder.path("in"));
    command.args(["--loop", "0", "--rate", "2000"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    stream.write_all(ACCEPT).await.expect("written");
    let mut got = Vec::new();
    while got.len() < READY.len() + START.len() + 100 {
        stream.read_buf(&mut got).await.expect("frames");
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("sent");
    while !got.ends_with(STOP) {
        stream.read_buf(&mut got).await.expect("STOP");
    }
    // A signal that comes shortly after the first one is the same request.
    until("a second signal ends the replay", || {
        let is_running = child.try_wait().expect("a child").is_none();
        if is_running {
            kill(pid, Signal::SIGINT).expect("sent");
        }
        !is_running
    })
    .await;
    let output = spawn_blocking(move || child.wait_with_output());
    let output = with_timeout("the replay ends", output);
    let output = output.await.expect("no panic").expect("its output");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "tapfan: a second signal ended the replay before its streams had ended cleanly; the listener may have lost the last frames\n"
    );
    let line = without_time(&String::from_utf8_lossy(&output.stdout));
    assert!(
        line.ends_with("; interrupted; did not end cleanly, see the errors\n"),
        "{line}"
    );
}

/// GNU `timeout` signals the process and then the process group of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_signals_of_the_same_moment_end_a_replay_in_order() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path("in")).expect("free");
    let mut command = command([capture(&folder, "capture", 100)]);
    command.arg("--to").arg(folder.path("in"));
    command.args(["--loop", "0", "--rate", "2000"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("run");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    stream.write_all(ACCEPT).await.expect("written");
    let mut got = Vec::new();
    while got.len() < READY.len() + START.len() + 100 {
        stream.read_buf(&mut got).await.expect("frames");
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("sent");
    kill(pid, Signal::SIGTERM).expect("sent");
    while !got.ends_with(STOP) {
        assert!(
            stream.read_buf(&mut got).await.expect("STOP") > 0,
            "no STOP"
        );
    }
    stream.write_all(FINISH).await.expect("written");
    let output = spawn_blocking(move || child.wait_with_output());
    let output = with_timeout("the replay ends", output);
    let output = output.await.expect("no panic").expect("its output");
    let line = printed(&output);
    assert!(line.ends_with("; interrupted; FINISH received\n"), "{line}");
}

/// Accepts one stream on the socket `path`, sends `answer` at its start, and closes the connection
/// after STOP. Returns the bytes received.
async fn listener(path: PathBuf, answer: &'static [u8]) -> Vec<u8> {
    let listener = UnixListener::bind(path).expect("free");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut got = Vec::new();
    stream.write_all(answer).await.expect("written");
    while !got.ends_with(STOP) && stream.read_buf(&mut got).await.expect("read") > 0 {}
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_finish_is_a_failure_unless_none_is_expected() {
    let folder = Folder::new();
    let capture = capture(&folder, "capture", 3);
    for (arguments, answer, opening) in [
        (&[][..], ACCEPT, [READY, START].concat()),
        (&["--unidirectional"], b"".as_slice(), START.to_vec()),
    ] {
        let path = folder.path(&format!("listener{}", arguments.len()));
        let task = tokio::spawn(listener(path.clone(), answer));
        until("the listener listens", || path.exists()).await;
        let mut command = command([&capture]);
        command.arg("--to").arg(&path).args(arguments);
        let output = run(command).await;
        let frames: Vec<Bytes> = (0..3).map(numbered).collect();
        let expected = [&opening, &wire::data(frames), STOP].concat();
        assert!(
            with_timeout("the stream ends", task)
                .await
                .expect("no panic")
                == expected
        );
        if arguments.is_empty() {
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                said,
                "tapfan: the listener closed without FINISH; it may have lost the last frames\n"
            );
            let line = String::from_utf8_lossy(&output.stdout);
            assert!(line.contains("sent 3 frames"), "{line}");
        } else {
            let line = printed(&output);
            assert!(line.ends_with("; ended with STOP\n"), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_reported_before_anything_is_sent() {
    let folder = Folder::new();
    let capture = capture(&folder, "capture", 1).display().to_string();
    let away = folder.display("away");
    for (arguments, status, said) in [
        (
            vec!["--to", "udp://h:1"],
            2,
            "`udp://` does not carry dnstap",
        ),
        (vec!["--to", "file:///tmp/x"], 2, "a listener is not a file"),
        (
            vec!["--to", &away, "--skip-verify"],
            2,
            "the options of TLS are for `tls://`",
        ),
        (
            vec!["--to", &away, "--rate", "5k"],
            2,
            "write a number of frames per second",
        ),
        (
            vec!["--to", &away, "--rate", "1", "--speed", "1x"],
            2,
            "cannot be used with",
        ),
        (vec!["--to", &away], 1, "cannot connect to unix://"),
    ] {
        let mut command = command([&capture]);
        command.args(&arguments);
        let output = run(command).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {complaint}"
        );
        assert!(complaint.contains(said), "{arguments:?}: {complaint}");
        assert!(output.stdout.is_empty());
    }
}
