//! `tapfan demo` as a new user runs it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn demo(seconds: u32, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    command
        .args(["demo", "--seconds", &seconds.to_string()])
        .env("TMPDIR", folder)
        .env_remove("RUST_LOG");
    command
}

/// Returns the numbers in a sink's row of the final table, in this order: offered, delivered, dropped, queued, in
/// flight, read, missing, repeated.
fn account(output: &str, sink: &str) -> [u64; 8] {
    let (_, table) = output
        .split_once("\nsink ")
        .expect("a table of the ledgers");
    let row = table
        .lines()
        .find(|line| line.starts_with(sink))
        .expect("a row for each sink");
    let numbers: Vec<u64> = row
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    numbers.try_into().expect("eight numbers")
}

fn assert_adds_up(output: &str) {
    let mut sent = None;
    for sink in ["archive", "analytics", "siem"] {
        let [
            offered,
            delivered,
            dropped,
            queued,
            in_flight,
            read,
            missing,
            repeated,
        ] = account(output, sink);
        assert!(offered > 0, "{output}");
        assert_eq!(*sent.get_or_insert(offered), offered, "{output}");
        assert_eq!(
            offered,
            delivered + dropped + queued + in_flight,
            "{output}"
        );
        // The collector cannot count lost frames at the end: a gap shows only when a later frame
        // arrives.
        let uncounted = delivered - read - missing;
        let reported = output.contains(&format!("It missed {} frames", delivered - read));
        assert!(uncounted == 0 || (sink == "siem" && reported), "{output}");
        assert_eq!(
            (dropped, queued, in_flight, repeated),
            (0, 0, 0, 0),
            "{output}"
        );
        assert!(missing == 0 || sink == "siem", "{output}");
    }
}

#[test]
fn the_demo_completes_and_its_figures_add_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = assert_cmd::Command::from_std(demo(3, folder.path()))
        .assert()
        .success()
        .get_output()
        .clone();
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "no log lines");
    assert_adds_up(&said);
    for event in [
        "siem is killed",
        "siem is down, in backoff: ",
        "siem is back; ",
        "siem was away for ",
        "was up again ",
        "archive and analytics got each of the ",
        "Every frame is accounted for.",
    ] {
        assert!(said.contains(event), "{event:?} in: {said}");
    }
    let wide: Vec<&str> = said
        .lines()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_interrupt_ends_the_demo_early_and_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = Running(
        demo(60, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started"),
    );
    let mut lines = BufReader::new(demo.0.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("| up ") {
        assert!(lines.read_line(&mut said).expect("text") > 0, "{said}");
    }
    demo.interrupt();
    lines.read_to_string(&mut said).expect("text");
    assert!(demo.0.wait().expect("waited").success(), "{said}");
    assert!(said.contains("received a signal"), "{said}");
    assert_adds_up(&said);
    assert!(!said.contains("siem is killed"), "{said}");
}

#[test]
fn an_interrupt_during_the_outage_restarts_the_collector_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = Running(
        demo(4, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started"),
    );
    let mut lines = BufReader::new(demo.0.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("siem is killed") {
        assert!(lines.read_line(&mut said).expect("text") > 0, "{said}");
    }
    demo.interrupt();
    lines.read_to_string(&mut said).expect("text");
    assert!(demo.0.wait().expect("waited").success(), "{said}");
    assert!(said.contains("siem is back"), "{said}");
    assert_adds_up(&said);
}

#[test]
fn the_page_is_served_while_the_demo_is_kept_running() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = Running(
        demo(2, folder.path())
            .arg("--keep")
            .stdout(Stdio::piped())
            .spawn()
            .expect("started"),
    );
    let mut lines = BufReader::new(demo.0.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("traffic continues") {
        assert!(lines.read_line(&mut said).expect("text") > 0, "{said}");
    }
    let (_, address) = said.split_once("http://").expect("an address");
    let address = address.split('/').next().unwrap_or_default();
    let mut page = TcpStream::connect(address).expect("it listens");
    let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    page.write_all(request.as_bytes()).expect("room");
    let mut answer = String::new();
    page.read_to_string(&mut answer).expect("text");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"siem\""),
        "{answer}"
    );
    demo.interrupt();
    lines.read_to_string(&mut said).expect("text");
    assert!(demo.0.wait().expect("waited").success(), "{said}");
    assert_adds_up(&said);
}

/// A process that is killed with its test.
struct Running(Child);

impl Running {
    fn interrupt(&self) {
        let pid = i32::try_from(self.0.id()).expect("a process");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has exited already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
