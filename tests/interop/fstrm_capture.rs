//! The tools of libfstrm. `fstrm_capture` is a collector that writes a file. `fstrm_replay` is a
//! sender that reads a file.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    frame_streams::whole_file,
    golang_dnstap::{GolangDnstap, Place},
    process::{Process, eventually, unused},
    tapfan::{Listening, Tapfan},
};

/// The recordings of real servers in `tests/data`.
pub(crate) const RECORDINGS: [&str; 3] = ["bind.fstrm", "dnsdist.fstrm", "unbound.fstrm"];

const CONTENT_TYPE: &str = "protobuf:dnstap.Dnstap";

/// A running `fstrm_capture`.
pub(crate) struct FstrmCapture {
    process: Process,
    file: PathBuf,
}

// === impl FstrmCapture ===

impl FstrmCapture {
    /// Starts `fstrm_capture`.
    pub(crate) fn start(dir: &Path, place: &Place) -> Self {
        let file = unused(dir, "capture.fstrm");
        let mut command = Command::new("/usr/bin/fstrm_capture");
        command.arg("-t").arg(CONTENT_TYPE).arg("-w").arg(&file);
        match place {
            Place::Unix(path) => command.arg("-u").arg(path),
            Place::Tcp(address) => {
                let (ip, port) = (address.ip().to_string(), address.port().to_string());
                command.arg("-a").arg(ip).arg("-p").arg(port)
            }
        };
        Self {
            process: Process::start(dir, command),
            file,
        }
    }

    /// Waits until a sender is connected to `fstrm_capture`.
    pub(crate) fn wait_for_a_sender(&mut self) {
        eventually("a connection to fstrm_capture", || {
            self.process.must_run();
            let sockets = self.process.sockets();
            if sockets >= 2 {
                Ok(())
            } else {
                Err(format!("it has {sockets} sockets"))
            }
        });
    }

    /// Stops `fstrm_capture`. Returns the frames in the file that it wrote.
    pub(crate) fn stop(mut self) -> Vec<Vec<u8>> {
        let (status, _) = self.process.terminate();
        assert!(status.success(), "fstrm_capture: {status}");
        whole_file(&self.file)
    }
}

/// Sends one of the [`RECORDINGS`] to the unix socket `to` with `fstrm_replay`, and waits until the
/// reader has sent FINISH.
pub(crate) fn replay(dir: &Path, recording: &str, to: &Path) {
    let mut command = Command::new("/usr/bin/fstrm_replay");
    command
        .arg("-t")
        .arg(CONTENT_TYPE)
        .arg("-r")
        .arg(data(recording))
        .arg("-u")
        .arg(to);
    let status = Process::start(dir, command).wait();
    assert!(status.success(), "fstrm_replay: {status}");
}

/// Returns the frames of one of the [`RECORDINGS`].
pub(crate) fn recorded(recording: &str) -> Vec<Vec<u8>> {
    whole_file(&data(recording))
}

fn data(recording: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", recording]
        .iter()
        .collect()
}

/// Runs the collector tools of libfstrm and golang-dnstap at the same time, over every transport
/// that each tool supports.
#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn all_tools_at_once_get_every_frame() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let ingress = dir.join("tapfan.sock");
    let places = [
        Place::unix(dir, "golang.sock"),
        Place::tcp(),
        Place::unix(dir, "capture.sock"),
        Place::tcp(),
    ];
    // Each sink has a queue of 20,000 frames, because the tools may read more slowly than
    // `fstrm_replay` sends.
    let sinks = places
        .each_ref()
        .map(|place| format!("dnstap {} full 1 2\n", place.socket()));
    let tapfile = format!("listen unix://{}\n{}", ingress.display(), sinks.concat());
    let [golang_unix, golang_tcp, capture_unix, capture_tcp] = &places;
    let golang = [golang_unix, golang_tcp].map(|place| GolangDnstap::start(dir, place));
    let capture = [capture_unix, capture_tcp].map(|place| FstrmCapture::start(dir, place));
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
    let golang = golang.map(|mut golang| {
        golang.wait_for_a_sender();
        golang
    });
    let capture = capture.map(|mut capture| {
        capture.wait_for_a_sender();
        capture
    });

    for recording in RECORDINGS {
        replay(dir, recording, &ingress);
    }
    tapfan.stop();

    let sent = RECORDINGS.map(recorded).concat();
    for mut golang in golang {
        assert!(
            golang.collected(sent.len()) == sent,
            "frames in dnstap's files"
        );
        golang.stop();
    }
    for capture in capture {
        assert!(capture.stop() == sent, "frames in fstrm_capture's file");
    }
}
