//! The log of `tapfan run`: these tests check it when the reader of stderr is gone, and when senders could flood it.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tapfan::internals::Control;

const TAPFAN: &str = env!("CARGO_BIN_EXE_tapfan");

/// Opens a device on which every write fails.
fn full() -> File {
    let device = OpenOptions::new().write(true).open("/dev/full");
    device.expect("Linux has it")
}

fn terminate(tapfan: &Child) {
    let pid = Pid::from_raw(i32::try_from(tapfan.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
}

fn check(tapfile: &str) -> ExitStatus {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Tapfile");
    fs::write(&path, tapfile).expect("the folder is ours");
    let mut command = Command::new(TAPFAN);
    command.arg("check").arg(path).stderr(full());
    command.status().expect("the binary was built")
}

#[test]
fn the_router_keeps_running_and_drains_when_its_log_is_closed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Tapfile");
    let text = "listen tcp://127.0.0.1:0\ndnstap no-such.sock\n";
    fs::write(&path, text).expect("the folder is ours");
    let mut tapfan = Command::new(TAPFAN)
        .args(["run", "-c"])
        .arg(path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let mut log = BufReader::new(tapfan.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("tapfan is running") {
        line.clear();
        let read = log.read_line(&mut line).expect("text");
        assert_ne!(read, 0, "the router ended");
    }
    drop(log);
    terminate(&tapfan);
    let status = tapfan.wait().expect("our child");
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Each change in the Tapfile's folder is an event for the file watcher, including each line that
/// is written to a log file there. A log line about such an event would therefore cause the next
/// event.
#[test]
fn a_log_beside_the_tapfile_does_not_log_its_own_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Tapfile");
    let text = "listen tcp://127.0.0.1:0\nadmin off\ndnstap no-such.sock\n";
    fs::write(&path, text).expect("the folder is ours");
    let log = folder.path().join("log");
    let mut tapfan = Command::new(TAPFAN)
        .args(["run", "--log-level", "trace", "-c"])
        .arg(path)
        .stderr(File::create(&log).expect("the folder is ours"))
        .spawn()
        .expect("the binary was built");
    let said = || fs::read_to_string(&log).expect("text");
    // The first failure to connect is logged after the watch on the folder has started.
    while !(said().contains("tapfan is running") && said().contains("sink cannot be reached")) {
        assert_eq!(tapfan.try_wait().expect("our child"), None, "{}", said());
        thread::sleep(Duration::from_millis(20));
    }
    terminate(&tapfan);
    let status = tapfan.wait().expect("our child");
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!said().contains("inotify event"), "{}", said());
}

#[test]
fn the_exit_status_does_not_depend_on_stderr() {
    assert_eq!(check("listen @in\ndnstap /s 2\n").code(), Some(0));
    assert_eq!(check("listen @in\n").code(), Some(2));
    let mut command = Command::new(TAPFAN);
    command.args(["replay", "--log-level", "a=b=c", "--to", "@x", "capture"]);
    let status = command.stderr(full()).status().expect("was built");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn senders_with_bad_frames_do_not_flood_the_log() {
    const SENDERS: u64 = 200;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let text = "listen in.sock\ndnstap no-such.sock\n";
    fs::write(folder.path().join("Tapfile"), text).expect("the folder is ours");
    let mut tapfan = Command::new(TAPFAN)
        .arg("run")
        .current_dir(&folder)
        .stderr(File::create(&log).expect("the folder is ours"))
        .spawn()
        .expect("the binary was built");
    let socket = folder.path().join("in.sock");
    for _ in 0..SENDERS {
        let mut sender = loop {
            match UnixStream::connect(&socket) {
                Ok(sender) => break sender,
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        };
        let stream = [&Control::start().encode(), b"\0\0\0\x03bad".as_slice()].concat();
        sender.write_all(&stream).expect("room");
    }
    terminate(&tapfan);
    let status = tapfan.wait().expect("our child");
    let log = fs::read_to_string(log).expect("text");
    assert!(status.success(), "{log}");
    assert!(log.contains(&format!("malformed={SENDERS}")), "{log}");
    // At most ten lines each about senders that connect, about bad frames, and about senders that disconnect. The
    // router writes the other lines at its start and its end.
    assert!(log.lines().count() < 60, "{log}");
}

/// Reads the next control frame and ignores its content.
fn read_control(stream: &mut UnixStream) {
    let mut head = [0; 8];
    stream.read_exact(&mut head).expect("a control frame");
    let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let mut rest = vec![0; length as usize];
    stream.read_exact(&mut rest).expect("a control frame");
}

#[test]
fn a_connection_that_cannot_be_replaced_is_logged_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "listen in.sock\ndnstap out.sock {\n    max_age 1s\n}\n";
    fs::write(folder.path().join("Tapfile"), text).expect("the folder is ours");
    let listener = UnixListener::bind(folder.path().join("out.sock")).expect("bound");
    let mut tapfan = Command::new(TAPFAN)
        .args(["run", "--log-level", "debug"])
        .current_dir(&folder)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let (mut collector, _) = listener.accept().expect("a connection");
    read_control(&mut collector);
    let accept = Control::accept().encode();
    collector.write_all(&accept).expect("room");
    read_control(&mut collector);
    drop(listener);

    let log = BufReader::new(tapfan.stderr.take().expect("piped"));
    let (mut warnings, mut retries) = (0, 0);
    let mut lines = log.lines().map(|line| line.expect("text"));
    while retries < 3 {
        let line = lines.next().expect("the router keeps running");
        if line.contains("no new connection can be made; the old one stays in use") {
            assert!(
                line.contains("WARN") && line.contains("reason=rotated"),
                "{line}"
            );
            warnings += 1;
        }
        retries += usize::from(line.contains("the old connection is still in use"));
        assert!(!line.contains("sink is down"), "{line}");
    }
    assert_eq!(warnings, 1);
    terminate(&tapfan);
    drop(collector);
    lines.for_each(drop);
    assert!(tapfan.wait().expect("our child").success());
}
