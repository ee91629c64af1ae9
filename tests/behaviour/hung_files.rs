//! Tests of configuration files that are not regular files, or whose readers wait forever.
//!
//! Standard input serves as a file whose readers wait forever: it is a pipe, and the test holds the
//! write end and writes nothing.

use std::{
    fs,
    io::{PipeWriter, Write, pipe},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::sys::signal::Signal;
use tapfan::internals::Mode;

use crate::{
    binary::Tapfan,
    certificates::Certificates,
    collector::Collector,
    router::Folder,
    sender::{Sender, Target},
    traffic::numbered,
    wait::until,
};

const CHANGED: &str = "reloaded the configuration";
const REFUSED: &str = "reload refused";
const WAITS: &str = "still waiting for the contents of a file";

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("run").success());
}

/// Starts `tapfan run`. Returns it with the write end of its standard input.
fn run(folder: &Folder, tapfile: &str) -> (Tapfan, PipeWriter) {
    let (read, write) = pipe().expect("a pipe");
    let streams = [read.into(), Stdio::inherit()];
    (Tapfan::run_with("", streams, folder, tapfile), write)
}

/// Runs a short command with `folder` as its working directory. If the command reads from its
/// standard input, it waits forever.
fn ask(folder: &Folder, arguments: &[&str]) -> Output {
    let (read, write) = pipe().expect("a pipe");
    let output = Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .args(arguments)
        .current_dir(folder.path(""))
        .stdin(read)
        .output();
    drop(write);
    output.expect("run")
}

async fn delivers(folder: &Folder, collector: &Collector, frames: usize) {
    let target = Target::Unix(folder.path("in.sock"));
    let mut sender = Sender::open(&target, Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    sender.stop().await;
    collector.got(frames).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_in_the_place_of_a_certificate_or_an_import_is_refused_at_once() {
    let folder = Folder::new();
    let certificates = Certificates::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("bound");
    drop(port);
    let (cert, more) = (certificates.path("server.crt"), folder.path("more.conf"));
    fs::write(&more, "").expect("written");
    let mut tapfan = Tapfan::run(
        &folder,
        &format!(
            "listen in.sock\nlisten tls://{address} {{\n cert {}\n key {}\n}}\nimport more.conf\ndnstap out.sock full\n",
            cert.display(),
            certificates.path("server.key").display(),
        ),
    );
    tapfan.wait_for_log("sink is up").await;
    for (number, file) in [cert, more].into_iter().enumerate() {
        let text = fs::read(&file).expect("a file");
        fs::remove_file(&file).expect("removed");
        make_fifo(&file);
        tapfan.signal(Signal::SIGHUP);
        until("it is refused", || {
            tapfan.log().matches(REFUSED).count() > number
        })
        .await;
        let log = tapfan.log();
        let name = file.file_name().and_then(|name| name.to_str());
        assert!(log.contains(name.expect("text")), "{log}");
        let pipes = log.matches("named pipe").count();
        assert!(pipes > number, "{log}");
        assert_eq!(log.matches(WAITS).count(), 0, "{log}");
        fs::remove_file(&file).expect("removed");
        fs::write(&file, text).expect("written");
        delivers(&folder, &collector, number + 1).await;
    }
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_are_heard_while_a_file_does_not_answer() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let tapfile = "listen in.sock\ndnstap out.sock full\ndrain 1m\n";
    let (mut tapfan, _silent) = run(&folder, tapfile);
    tapfan.wait_for_log("sink is up").await;
    fs::write(
        folder.path("Tapfile"),
        format!("{tapfile}import /dev/stdin\n"),
    )
    .expect("written");
    tapfan.wait_for_log(WAITS).await;
    assert!(tapfan.log().contains("file=/dev/stdin"), "{}", tapfan.log());
    for _ in 0..3 {
        tapfan.signal(Signal::SIGHUP);
    }
    tapfan.wait_for_log("another reload will follow").await;
    let mut sender = Sender::open(&Target::Unix(folder.path("in.sock")), Mode::Bidirectional).await;
    sender.send([numbered(0)]).await;
    collector.got(1).await;
    tapfan.signal(Signal::SIGTERM);
    // The drain waits for the sender to end its stream. The second signal ends the drain.
    sender.half_closed().await;
    let exit = tapfan.signal_until_exit(Signal::SIGTERM).await;
    assert_eq!(exit.code(), Some(0));
    assert!(!tapfan.log().contains(REFUSED), "{}", tapfan.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_answer_in_time_changes_nothing_until_it_answers() {
    let folder = Folder::new();
    let collector = Collector::unix(folder.path("out.sock")).listening();
    let tapfile = "listen in.sock\ndnstap out.sock full\n";
    let (mut tapfan, mut silent) = run(&folder, tapfile);
    tapfan.wait_for_log("sink is up").await;
    fs::write(
        folder.path("Tapfile"),
        format!("{tapfile}drain 3s\nimport /dev/stdin\n"),
    )
    .expect("written");
    tapfan.wait_for_log(REFUSED).await;
    let log = tapfan.log();
    let refused = log.lines().find(|line| line.contains(REFUSED));
    let refused = refused.expect("a line");
    assert!(refused.contains("/dev/stdin"), "{refused}");
    delivers(&folder, &collector, 1).await;

    // When the test writes to the pipe and closes it, the router applies the content without
    // another signal.
    silent.write_all(b"# at last\n").expect("written");
    drop(silent);
    tapfan.wait_for_log(CHANGED).await;
    tapfan.signal(Signal::SIGTERM);
    assert_eq!(tapfan.exit().await.code(), Some(0));
}

#[test]
fn a_start_and_every_command_that_reads_the_tapfile_end_in_time() {
    let folder = Folder::new();
    fs::write(
        folder.path("Tapfile"),
        "import /dev/stdin\nadmin 127.0.0.1:1\n",
    )
    .expect("written");
    let commands: [&[&str]; 3] = [&["run"], &["check"], &["status"]];
    let threads = commands.map(|command| {
        let folder = &folder;
        move || (command, ask(folder, command))
    });
    std::thread::scope(|scope| {
        let threads = threads.map(|thread| scope.spawn(thread));
        for thread in threads {
            let (command, output) = thread.join().expect("no panic");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
            assert!(
                said.contains("/dev/stdin did not answer"),
                "{command:?}: {said}"
            );
        }
    });
}

#[test]
fn check_reads_standard_input() {
    let folder = Folder::new();
    let (read, mut write) = pipe().expect("a pipe");
    write
        .write_all(b"listen in.sock\ndnstap out.sock\n")
        .expect("room");
    drop(write);
    let output = Command::new(env!("CARGO_BIN_EXE_tapfan"))
        .args(["check", "/dev/stdin"])
        .current_dir(folder.path(""))
        .stdin(read)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}
