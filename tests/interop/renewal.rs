//! Tests that real collectors receive every frame exactly once although the sink replaces its
//! connection every second.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    fstrm_capture::{FstrmCapture, RECORDINGS, recorded, replay},
    golang_dnstap::{GolangDnstap, Place},
    tapfan::{Listening, Tapfan},
};

/// The duration of the test, in seconds. The environment variable `TAPFAN_RENEWAL_SECONDS`
/// overrides it.
const SECONDS: u64 = 10;

/// Sorts frames. The collector tools read each connection independently. So they may read frames of
/// a new connection before earlier frames of the old connection.
fn sorted(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.sort_unstable();
    frames
}

#[test]
#[ignore = "needs real dnstap tools: tests/interop/install.sh"]
fn every_tool_gets_every_frame_over_rotated_connections() {
    let seconds = env::var("TAPFAN_RENEWAL_SECONDS");
    let seconds = seconds.map_or(SECONDS, |it| it.parse().expect("a number"));
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let ingress = dir.join("tapfan.sock");
    let places = [
        Place::unix(dir, "golang.sock"),
        Place::tcp(),
        Place::unix(dir, "capture.sock"),
        Place::tcp(),
    ];
    let sinks = places.each_ref().map(|place| {
        let socket = place.socket();
        format!("dnstap {socket} full 1 8 {{\n    max_age 1s\n}}\n")
    });
    let tapfile = format!("listen unix://{}\n{}", ingress.display(), sinks.concat());
    let [golang_unix, golang_tcp, capture_unix, capture_tcp] = &places;
    let golang = [golang_unix, golang_tcp].map(|place| GolangDnstap::start(dir, place));
    let capture = [capture_unix, capture_tcp].map(|place| FstrmCapture::start(dir, place));
    let tapfan = Tapfan::start_verbose(dir, &tapfile, &Listening::Unix(ingress.clone()));
    let golang = golang.map(|mut golang| {
        golang.wait_for_a_sender();
        golang
    });
    let capture = capture.map(|mut capture| {
        capture.wait_for_a_sender();
        capture
    });

    let begun = Instant::now();
    let mut sent = Vec::new();
    for recording in RECORDINGS.into_iter().cycle() {
        if begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        replay(dir, recording, &ingress);
        sent.extend(recorded(recording));
        // Pauses, so that the average rate is low enough for the collector tools on any machine.
        // The queues of the sinks absorb bursts.
        thread::sleep(Duration::from_millis(100));
    }
    let log = tapfan.stop();

    let sent = sorted(sent);
    for mut golang in golang {
        let collected = golang.collected(sent.len());
        assert_eq!(collected.len(), sent.len(), "frames in dnstap's files");
        assert!(sorted(collected) == sent, "frames in dnstap's files");
        golang.stop();
    }
    for capture in capture {
        let collected = capture.stop();
        assert_eq!(
            collected.len(),
            sent.len(),
            "frames in fstrm_capture's file"
        );
        assert!(sorted(collected) == sent, "frames in fstrm_capture's file");
    }
    let renewed = log.matches("sink has a new connection").count();
    let expected = places.len() * usize::try_from(seconds).expect("few") / 2;
    assert!(renewed >= expected, "{renewed} new connections");
    assert_eq!(log.matches("did not end cleanly").count(), 0);
}
