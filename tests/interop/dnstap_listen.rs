//! Tests of `dnstap listen` with the reader of golang-dnstap, and with `CoreDNS`, from which the
//! directive comes.

use std::{
    fs,
    io::{self, Read as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    fstrm_capture::{RECORDINGS, recorded, replay},
    golang_dnstap::Place,
    process::{Process, eventually, free_address, unused},
    tapfan::{Listening, Tapfan},
};

/// The paths of the programs that `tests/interop/install.sh` builds.
const FOLLOWER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/follower");
const COREDNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/coredns");

/// A collector that connects to a server, and connects again whenever the stream ends.
struct Follower {
    process: Process,
    file: PathBuf,
}

impl Follower {
    fn start(dir: &Path, place: &Place) -> Self {
        let file = unused(dir, "followed");
        let mut command = Command::new(FOLLOWER);
        match place {
            Place::Unix(path) => command.arg("unix").arg(path),
            Place::Tcp(address) => command.arg("tcp").arg(address.to_string()),
        };
        command.arg(&file);
        let process = Process::start(dir, command);
        Self { process, file }
    }

    /// Waits until this many streams have begun.
    fn wait_for_streams(&mut self, number: usize) {
        eventually("the stream to begin", || {
            self.process.must_run();
            let begun = self.process.output().matches("has begun").count();
            (begun >= number).then_some(()).ok_or(begun)
        });
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        let mut file = fs::File::open(&self.file).expect("its file");
        let mut frames = Vec::new();
        let mut length = [0; 4];
        // The last frame may be incomplete while the program writes it.
        while file.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            if file.read_exact(&mut frame).is_err() {
                break;
            }
            frames.push(frame);
        }
        frames
    }

    fn wait_for(&self, frames: usize) {
        eventually("the frames", || {
            let got = self.frames().len();
            (got >= frames).then_some(()).ok_or(got)
        });
    }
}

fn follow(dir: &Path, place: &Place) {
    let ingress = dir.join("tapfan.sock");
    let socket = match place {
        Place::Unix(path) => path.display().to_string(),
        Place::Tcp(address) => format!("tcp://{address}"),
    };
    let tapfile = format!(
        "listen unix://{}\nadmin off\ndnstap listen {socket} full\n",
        ingress.display()
    );
    let mut follower = Follower::start(dir, place);
    let mut expected = Vec::new();
    for (round, recording) in RECORDINGS.into_iter().enumerate() {
        let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
        follower.wait_for_streams(round + 1);
        replay(dir, recording, &ingress);
        expected.extend(recorded(recording));
        // Without this wait, the last frames would still arrive, but during the drain.
        if round == 0 {
            follower.wait_for(expected.len());
        }
        let output = tapfan.stop();
        assert!(output.contains("no frame was lost"));
        assert!(output.contains("reason=stopped"));
    }
    follower.wait_for(expected.len());
    assert!(follower.frames() == expected);
    let ended = follower.process.output().matches("has ended").count();
    assert_eq!(ended, RECORDINGS.len(), "each stream ends with STOP");
    follower.process.kill();
}

#[test]
#[ignore = "needs a collector in Go: tests/interop/install.sh"]
fn golang_dnstap_follows_tapfan_over_tcp() {
    let dir = TempDir::new().expect("a directory");
    follow(dir.path(), &Place::Tcp(free_address()));
}

#[test]
#[ignore = "needs a collector in Go: tests/interop/install.sh"]
fn golang_dnstap_follows_tapfan_over_unix() {
    let dir = TempDir::new().expect("a directory");
    follow(dir.path(), &Place::unix(dir.path(), "taps.sock"));
}

/// A line of a Corefile, and the place at which the server then waits.
struct Line {
    text: String,
    place: Place,
}

impl Place {
    fn is_open(&self) -> io::Result<()> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).map(drop),
            Self::Tcp(address) => TcpStream::connect(address).map(drop),
        }
    }
}

fn corefile(dir: &Path, dns: SocketAddr, line: &str) -> PathBuf {
    let path = unused(dir, "Corefile");
    let text = format!(
        ".:{port} {{\n    bind 127.0.0.1\n    {line}\n    whoami\n}}\n",
        port = dns.port()
    );
    fs::write(&path, text).expect("a file in a directory of our own");
    path
}

/// Returns the output of `CoreDNS` if it refuses the line. Waits until it waits for collectors, or
/// has ended.
fn refused_by_coredns(dir: &Path, line: &str, place: Option<&Place>) -> Option<String> {
    let dns = free_address();
    let mut command = Command::new(COREDNS);
    command.arg("-conf").arg(corefile(dir, dns, line));
    let mut process = Process::start(dir, command);
    let Some(place) = place else {
        let status = process.wait();
        assert!(!status.success(), "CoreDNS accepts {line}");
        return Some(process.output());
    };
    eventually(&format!("CoreDNS to accept {line}"), || {
        process.must_run();
        place.is_open()
    });
    process.terminate();
    None
}

fn check(dir: &Path, line: &str) -> bool {
    let path = unused(dir, "Tapfile");
    fs::write(&path, format!("listen @in\n{line}\n")).expect("a file in a directory of our own");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    let output = command.arg("check").arg(path).output().expect("tapfan");
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// The lines that `CoreDNS` accepts are accepted here, and wait at the same place. The lines that
/// `CoreDNS` refuses are refused here.
#[test]
#[ignore = "needs a real CoreDNS: tests/interop/install.sh"]
fn a_line_of_coredns_has_the_same_meaning() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let certificates = Certificates::make(&dir.join("certificates"));
    let Certificates { ca, cert, key, .. } = &certificates;
    let [ca, cert, key] = [ca, cert, key].map(|path| path.display());
    let tcp = |line: &dyn Fn(SocketAddr) -> String| {
        let address = free_address();
        Line {
            text: line(address),
            place: Place::Tcp(address),
        }
    };
    let unix = |prefix: &str, rest: &str| {
        let path = unused(dir, "waits.sock");
        Line {
            text: format!("dnstap listen {prefix}{}{rest}", path.display()),
            place: Place::Unix(path),
        }
    };
    for Line { text, place } in [
        tcp(&|at| format!("dnstap listen tcp://{at}")),
        tcp(&|at| format!("dnstap listen tcp://{at} full")),
        tcp(&|at| format!("dnstap listen tcp://{at} full 2 3")),
        tcp(&|at| format!("dnstap listen tcp://:{} full", at.port())),
        tcp(&|at| format!("dnstap listen tcp://localhost:{} full", at.port())),
        tcp(&|at| {
            format!(
                "dnstap listen tcp://{at} full {{\n identity edge\n version 1\n extra \"{{type}}\"\n}}"
            )
        }),
        tcp(&|at| format!("dnstap listen tls://{at} full {{\n tls {cert} {key}\n}}")),
        tcp(&|at| format!("dnstap listen tls://{at} full {{\n tls {cert} {key} {ca}\n}}")),
        tcp(&|at| {
            format!("dnstap listen tls://{at} full {{\n tls {cert} {key} {ca}\n skipverify\n}}")
        }),
        unix("", " full"),
        unix("unix://", ""),
    ] {
        assert_eq!(refused_by_coredns(dir, &text, Some(&place)), None);
        if let Place::Unix(path) = &place {
            // CoreDNS leaves its socket file if it was killed, and removes it otherwise.
            let _ = fs::remove_file(path);
        }
        let ingress = unused(dir, "tapfan.sock");
        let tapfile = format!("listen unix://{}\nadmin off\n{text}\n", ingress.display());
        let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress));
        place
            .is_open()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        tapfan.stop();
    }
    for line in [
        "dnstap listen".to_owned(),
        "dnstap listen tcp://127.0.0.1:6000 full 0".to_owned(),
        "dnstap listen tcp://127.0.0.1:6000 full 1025".to_owned(),
        "dnstap listen tcp://127.0.0.1:6000 full 1 4097".to_owned(),
        format!("dnstap listen tls://127.0.0.1:6000 full {{\n tls {cert}\n}}"),
        format!("dnstap tcp://127.0.0.1:6000 full {{\n tls {cert} {key}\n}}"),
        "dnstap listen tcp://127.0.0.1:6000 full {\n colour blue\n}".to_owned(),
        "dnstap listen tcp://127.0.0.1:6000 full {\n identity\n}".to_owned(),
    ] {
        assert!(refused_by_coredns(dir, &line, None).is_some());
        assert!(!check(dir, &line), "{line}");
    }
}
