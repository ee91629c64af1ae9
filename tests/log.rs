//! The log when nobody reads it any more, and when a sender would fill it.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    process::{Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const TAPFAN: &str = env!("CARGO_BIN_EXE_tapfan");

/// A device that takes no byte.
fn full() -> File {
    let device = OpenOptions::new().write(true).open("/dev/full");
    device.expect("Linux has it")
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
fn the_router_goes_on_and_drains_when_its_log_is_lost() {
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
    let pid = Pid::from_raw(i32::try_from(tapfan.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    let status = tapfan.wait().expect("our child");
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn the_status_of_a_check_does_not_depend_on_who_reads_it() {
    assert_eq!(check("listen @in\ndnstap /s 2\n").code(), Some(0));
    assert_eq!(check("listen @in\n").code(), Some(2));
    let mut command = Command::new(TAPFAN);
    command.args(["--log-level", "a=b=c", "check"]);
    let status = command.stderr(full()).status().expect("was built");
    assert_eq!(status.code(), Some(2));
}
