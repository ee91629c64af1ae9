//! Tests that tapfan takes over listening sockets from `systemd-socket-activate`. This program
//! passes sockets as systemd does, and needs no running systemd.

use std::{fs, io::Write, net::TcpStream, os::unix::net::UnixStream, process::Command};

use crate::{
    collector::Collector,
    process::{Process, eventually, free_address},
};

/// The recording of a whole unidirectional stream, from START to STOP.
const RECORDING: &[u8] = include_bytes!("../data/unbound.fstrm");

#[test]
#[ignore = "runs systemd's systemd-socket-activate"]
fn the_first_sender_starts_tapfan_and_is_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, address) = (dir.path().join("in.sock"), free_address());
    let collector = Collector::unix(&dir.path().join("out.sock"));
    let tapfile = dir.path().join("Tapfile");
    let lines = format!(
        "listen {}\nlisten tcp://{address}\ndnstap {} full",
        path.display(),
        dir.path().join("out.sock").display()
    );
    fs::write(&tapfile, lines).expect("a file in a directory of our own");
    let mut command = Command::new("/usr/bin/systemd-socket-activate");
    command.arg("--listen").arg(&path);
    command.arg("--listen").arg(address.to_string());
    command.arg("--fdname=dns:more");
    command.arg(env!("CARGO_BIN_EXE_tapfan"));
    command.arg("run").arg("-c").arg(&tapfile);
    let mut process = Process::start(dir.path(), command);
    let mut unix = eventually("the socket", || UnixStream::connect(&path));
    unix.write_all(RECORDING).expect("room");
    let mut tcp = TcpStream::connect(address).expect("it listens");
    tcp.write_all(RECORDING).expect("room");
    eventually("both sockets", || {
        let log = process.output();
        let taken = log.matches("socket=inherited").count();
        (taken == 2).then_some(()).ok_or(log)
    });
    // The test sends the recording twice, with 4,000 frames each time. It waits for all frames
    // before it sends SIGTERM, because tapfan does not accept new connections after SIGTERM.
    collector.wait_for(2 * 4000);
    drop((unix, tcp));
    let (status, _) = process.terminate();
    let log = process.output();
    assert!(status.success(), "{status}: {log}");
    let mut frames = collector.frames();
    assert!(!frames.is_empty());
    frames.sort();
    let twice = frames.chunks(2).all(|pair| pair.first() == pair.last());
    assert!(
        twice && frames.len().is_multiple_of(2),
        "each recording came whole"
    );
    assert!(
        log.matches(&format!(" delivered={} ", frames.len()))
            .count()
            == 1,
        "{log}"
    );
    assert!(path.exists(), "the socket's file is systemd's");
}
