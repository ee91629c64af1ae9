//! Tests that `tapfan replay` can send captures to two other collectors: golang-dnstap's `dnstap`
//! and `fstrm_capture`.

use std::{path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    fstrm_capture::{FstrmCapture, RECORDINGS, recorded},
    golang_dnstap::{GolangDnstap, Place},
    process::eventually,
};

/// Sends the [`RECORDINGS`] to the collector at `place`, and waits for FINISH.
fn replay(place: &Place) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
    command
        .arg("replay")
        .args(RECORDINGS.map(|name| data.join(name)));
    command.arg("--to").arg(place.socket());
    // Retries, because the collector may not listen yet.
    eventually("tapfan replay to succeed", || {
        let output = command.output().expect("run");
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && said.starts_with("sent 11000 frames") {
            Ok(())
        } else {
            Err(format!(
                "{}: {said}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    });
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn dnstap_gets_every_frame_over_unix_and_tcp() {
    for tcp in [false, true] {
        let dir = TempDir::new().expect("a directory");
        let place = if tcp {
            Place::tcp()
        } else {
            Place::unix(dir.path(), "golang.sock")
        };
        let mut golang = GolangDnstap::start(dir.path(), &place);
        replay(&place);
        let expected = RECORDINGS.map(recorded).concat();
        assert!(golang.collected(expected.len()) == expected);
        golang.stop();
    }
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn fstrm_capture_gets_every_frame_over_unix_and_tcp() {
    for tcp in [false, true] {
        let dir = TempDir::new().expect("a directory");
        let place = if tcp {
            Place::tcp()
        } else {
            Place::unix(dir.path(), "capture.sock")
        };
        let capture = FstrmCapture::start(dir.path(), &place);
        replay(&place);
        assert!(capture.stop() == RECORDINGS.map(recorded).concat());
    }
}
