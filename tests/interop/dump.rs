//! Compares `tapfan dump` with `dnstap`, the tool of golang-dnstap. Both programs must print the same output for the
//! same captures, and each must be able to read the frames that the other sends. tcpdump must be able to read the
//! packets that `tapfan dump` writes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    frame_streams::whole_file,
    fstrm_capture::{RECORDINGS, recorded},
    golang_dnstap::{GolangDnstap, Place},
    process::{Process, eventually, unused},
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Returns the paths of the captures to compare: the recordings, a sample of unusual frames, and the captures in the
/// environment variable `TAPFAN_CAPTURES`, which are separated by colons.
fn captures() -> Vec<PathBuf> {
    let more = env::var_os("TAPFAN_CAPTURES").unwrap_or_default();
    let more = env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
    let own = RECORDINGS.iter().chain([&"dump/sample.fstrm"]);
    own.map(|name| data(name)).chain(more).collect()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("TZ", "America/St_Johns")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/interop/install.sh installs it"))
}

fn tapfan(arguments: &[&str]) -> Output {
    let output = run(
        env!("CARGO_BIN_EXE_tapfan"),
        &[["dump"].as_slice(), arguments].concat(),
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}");
    output
}

fn assert_same(ours: &[u8], theirs: &[u8], what: &str) {
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (left, right) = (lines(ours), lines(theirs));
    for (number, (ours, theirs)) in (1..).zip(left.lines().zip(right.lines())) {
        assert_eq!(ours, theirs, "{what}, line {number}");
    }
    assert!(
        ours == theirs,
        "{what}: {} and {} bytes",
        ours.len(),
        theirs.len()
    );
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn text_yaml_and_json_are_those_of_dnstap() {
    for capture in captures() {
        let capture = capture.to_str().expect("a name in UTF-8");
        for format in ["-q", "-y", "-j"] {
            let theirs = run("/usr/bin/dnstap", &["-r", capture, format]);
            assert!(theirs.stdout.len() > 1000, "{capture} {format}");
            let ours = tapfan(&["-r", capture, format]);
            assert_same(&ours.stdout, &theirs.stdout, &format!("{capture} {format}"));
        }
        // Without an option for the output format, both programs print one short line for each frame.
        let (theirs, ours) = (
            run("/usr/bin/dnstap", &["-r", capture]),
            tapfan(&["-r", capture]),
        );
        assert_same(&ours.stdout, &theirs.stdout, capture);
    }
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn captures_of_each_are_read_by_the_other() {
    let dir = TempDir::new().expect("a directory");
    for name in RECORDINGS {
        let capture = data(name);
        let capture = capture.to_str().expect("UTF-8");
        let (ours, theirs) = (unused(dir.path(), "ours"), unused(dir.path(), "theirs"));
        let (ours, theirs) = (
            ours.to_str().expect("UTF-8"),
            theirs.to_str().expect("UTF-8"),
        );
        tapfan(&["-r", capture, "-w", ours]);
        run("/usr/bin/dnstap", &["-r", capture, "-w", theirs]);
        assert!(fs::read(ours).expect("a file") == fs::read(theirs).expect("a file"));
        let text = run("/usr/bin/dnstap", &["-r", ours, "-y"]);
        assert_same(&tapfan(&["-r", theirs, "-y"]).stdout, &text.stdout, name);
    }
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn dnstap_gets_what_dump_sends() {
    let dir = TempDir::new().expect("a directory");
    for (place, option) in [
        (Place::unix(dir.path(), "golang.sock"), "-U"),
        (Place::tcp(), "-T"),
    ] {
        let mut golang = GolangDnstap::start(dir.path(), &place);
        let (address, path) = match &place {
            Place::Tcp(address) => (address.to_string(), None),
            Place::Unix(path) => (path.display().to_string(), Some(path)),
        };
        eventually("dnstap to listen", || match path {
            Some(path) => std::os::unix::net::UnixStream::connect(path).map(drop),
            None => std::net::TcpStream::connect(&address).map(drop),
        });
        let capture = data(RECORDINGS[0]);
        tapfan(&["-r", capture.to_str().expect("UTF-8"), option, &address]);
        let frames = recorded(RECORDINGS[0]);
        assert!(golang.collected(frames.len()) == frames, "{address}");
        golang.stop();
    }
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn dump_gets_what_dnstap_sends() {
    let dir = TempDir::new().expect("a directory");
    let (socket, file) = (dir.path().join("in.sock"), dir.path().join("copy.fstrm"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    command
        .arg("dump")
        .arg("-u")
        .arg(&socket)
        .arg("-w")
        .arg(&file)
        .arg("-v");
    let mut dump = Process::start(dir.path(), command);
    eventually("dump to listen", || {
        let is_there = socket.exists();
        is_there.then_some(()).ok_or_else(|| "no socket".to_owned())
    });
    let capture = data(RECORDINGS[1]);
    let sender = run(
        "/usr/bin/dnstap",
        &[
            "-r",
            capture.to_str().expect("UTF-8"),
            "-U",
            socket.to_str().expect("UTF-8"),
        ],
    );
    assert!(sender.status.success());
    let (status, _) = dump.terminate();
    assert!(status.success(), "{}", dump.output());
    assert!(
        whole_file(&file) == recorded(RECORDINGS[1]),
        "{}",
        dump.output()
    );
}

#[test]
#[ignore = "needs tcpdump: tests/interop/install.sh"]
fn tcpdump_reads_the_packets() {
    let dir = TempDir::new().expect("a directory");
    for capture in captures() {
        let packets = unused(dir.path(), "packets");
        let (capture, packets) = (
            capture.to_str().expect("UTF-8"),
            packets.to_str().expect("UTF-8"),
        );
        tapfan(&["-r", capture, "--pcap", "-w", packets]);
        let output = run("tcpdump", &["-n", "-vv", "-T", "domain", "-r", packets]);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        // stderr must contain only one line, in which tcpdump names the file that it reads.
        assert_eq!(errors.lines().count(), 1, "{errors}");
        for complaint in ["bad", "wrong", "truncated", "invalid", "incorrect"] {
            assert!(!text.contains(complaint), "{complaint}: {text}");
        }
        // tcpdump decodes each packet as DNS and prints its question.
        let lines = tapfan(&["-r", capture, "--count"]);
        let frames: usize = String::from_utf8_lossy(&lines.stdout)
            .trim()
            .parse()
            .expect("a number");
        let questions = text.matches("? ").count();
        assert!(
            questions * 10 >= frames * 3,
            "{questions} of {frames}: {text}"
        );
    }
}
