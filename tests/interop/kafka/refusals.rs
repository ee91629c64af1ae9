//! Tests of brokers that refuse connections or records. Checks that each error names a remedy.

use std::{io::Write as _, net::SocketAddr, os::unix::net::UnixStream, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    frame_streams::{ACCEPT, FINISH, Frame, READY, START, STOP, control, read},
    kafka::{
        cluster::{Cluster, PASSWORD, USER, write_secret},
        flow::{assert_stored, frame, frame_of, large_frame, now},
    },
    process::{eventually, free_address},
    prometheus::get,
    tapfan::{Listening, Tapfan},
};

/// The number of frames that each sink gets.
const FRAMES: u64 = 2000;

/// Returns the status of a sink.
fn status(admin: SocketAddr, sink: &str) -> Value {
    let body = get(admin, "/status", "*/*").expect("the status");
    let status: Value = serde_json::from_str(&body).expect("JSON");
    let sinks = status["sinks"].as_array().expect("sinks");
    let found = sinks.iter().find(|other| other["name"] == sink);
    found
        .unwrap_or_else(|| panic!("no {sink}: {status}"))
        .clone()
}

/// Waits until the last error of a sink contains all these texts.
fn wait_for_error(admin: SocketAddr, sink: &str, texts: &[&str]) {
    eventually(&format!("an error of {sink} with {texts:?}"), || {
        let status = status(admin, sink);
        let error = status["last_error"]["error"].as_str().unwrap_or_default();
        let is_clear = texts.iter().all(|text| error.contains(text));
        assert_ne!(status["state"], "up", "{status}");
        if is_clear {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

/// Waits until a sink has delivered and dropped these numbers of frames.
fn wait_for_frames(admin: SocketAddr, sink: &str, delivered: u64, refused: u64) {
    eventually(&format!("{delivered} frames from {sink}"), || {
        let status = status(admin, sink);
        let ledger = &status["ledger"];
        let found = [&ledger["delivered"], &ledger["dropped"]["refused"]];
        if found == [&Value::from(delivered), &Value::from(refused)] {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

/// Sends frames, and waits until tapfan has read them.
fn send(to: &Path, frames: impl IntoIterator<Item = Vec<u8>>) {
    let mut stream = UnixStream::connect(to).expect("tapfan listens");
    stream.write_all(&control(READY)).expect("sent");
    let accept = read(&mut stream).expect("an answer");
    assert_eq!(accept, Some(Frame::Control(ACCEPT)));
    let mut bytes = control(START);
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("a small frame");
        bytes.extend(length.to_be_bytes());
        bytes.extend(frame);
    }
    bytes.extend(control(STOP));
    stream.write_all(&bytes).expect("sent");
    let finish = read(&mut stream).expect("an answer");
    assert_eq!(finish, Some(Frame::Control(FINISH)));
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn errors_say_what_to_do_and_frames_wait() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let certificates = Certificates::make(&dir.join("certificates"));
    let mut cluster = Cluster::start_secure(dir, &certificates, "");
    cluster
        .client
        .create("small", 1, 1, "max.message.bytes=20000");
    cluster.client.create("reserved", 1, 1, "");
    cluster.client.reserve("reserved", "somebody");
    let (password, wrong) = (dir.join("password"), dir.join("wrong"));
    write_secret(&password, PASSWORD);
    write_secret(&wrong, "guess");
    let (ingress, admin) = (dir.join("tapfan.sock"), free_address());
    let ports = cluster.ports();
    let tapfile = format!(
        "listen unix://{ingress}\nadmin {admin}\n\
         dnstap kafka://{plain}/missing full {{\n name missing\n}}\n\
         dnstap kafka://{plain}/small full {{\n name small\n}}\n\
         dnstap kafka://{login}/reserved full {{\n name reserved\n sasl scram-sha-256 {USER} {password}\n}}\n\
         dnstap kafka://{login}/small full {{\n name wrong\n sasl scram-sha-512 {USER} {wrong}\n}}\n\
         dnstap kafka://{login}/small full {{\n name nobody\n}}\n\
         dnstap kafka://{tls}/small full {{\n name plain\n}}\n\
         dnstap kafka+tls://localhost:{login_tls}/small full {{\n name unknown\n sasl plain {USER} {password}\n}}\n\
         dnstap kafka+tls://localhost:{tls_port}/small full {{\n name uncertified\n ca {ca}\n}}\n\
         dnstap kafka+tls://{plain}/small full {{\n name encrypted\n ca {ca}\n}}\n",
        ingress = ingress.display(),
        password = password.display(),
        wrong = wrong.display(),
        plain = ports.plain,
        login = ports.login,
        tls = ports.tls,
        tls_port = ports.tls.port(),
        ca = certificates.ca.display(),
        login_tls = ports.login_tls.port(),
    );
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
    // One record is larger than `max.message.bytes`.
    let before = (0..FRAMES / 2).map(frame);
    let after = (FRAMES / 2..FRAMES).map(frame);
    send(&ingress, before.chain([large_frame(30_000)]).chain(after));

    wait_for_error(admin, "missing", &["create the topic"]);
    wait_for_error(
        admin,
        "reserved",
        &["TOPIC_AUTHORIZATION_FAILED", "`Write`"],
    );
    wait_for_error(admin, "wrong", &["check the user and the password"]);
    wait_for_error(admin, "nobody", &["`sasl`"]);
    wait_for_error(admin, "plain", &["kafka+tls://"]);
    wait_for_error(admin, "unknown", &["`ca`"]);
    wait_for_error(
        admin,
        "uncertified",
        &["client certificate", "`cert` and `key`"],
    );
    wait_for_error(admin, "encrypted", &["does this port use TLS?"]);
    wait_for_frames(admin, "small", FRAMES, 1);
    assert_stored("small", &cluster.client.read("small"), FRAMES);
    // The frames have waited until the reason is gone.
    cluster
        .client
        .create("missing", 3, 1, "max.message.bytes=1000000");
    cluster.client.reserve("reserved", USER);
    for sink in ["missing", "reserved"] {
        wait_for_frames(admin, sink, FRAMES + 1, 0);
    }
    tapfan.stop();
}

#[test]
#[ignore = "needs Kafka: tests/interop/install.sh"]
fn frames_with_wrong_times_are_stored_unless_the_topic_forbids_old_ones() {
    const DAY: u32 = 24 * 3600;
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let mut cluster = Cluster::start(dir, 1);
    for (topic, setting) in [
        ("usual", ""),
        ("recent", "message.timestamp.before.max.ms=3600000"),
        ("compacted", "cleanup.policy=compact"),
    ] {
        cluster.client.create(topic, 3, 1, setting);
    }
    let (ingress, admin, plain) = (
        dir.join("tapfan.sock"),
        free_address(),
        cluster.ports().plain,
    );
    let tapfile = format!(
        "listen unix://{}\nadmin {admin}\n\
         dnstap kafka://{plain}/usual full {{\n name usual\n}}\n\
         dnstap kafka://{plain}/recent full {{\n name recent\n}}\n\
         dnstap kafka://{plain}/compacted full {{\n name compacted\n}}\n",
        ingress.display(),
    );
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Unix(ingress.clone()));
    let times = [now(), now() + 2 * 3600, u32::MAX, now() - DAY];
    let time = |number: u64| times[usize::try_from(number % 4).expect("less than four")];
    let frames = (0..FRAMES).map(|number| frame_of(number, time(number)));
    let mut frames: Vec<_> = frames.collect();
    send(&ingress, frames.clone());
    frames.sort_unstable();

    wait_for_frames(admin, "usual", FRAMES, 0);
    wait_for_frames(admin, "recent", FRAMES / 4 * 3, FRAMES / 4);
    wait_for_frames(admin, "compacted", 0, FRAMES);
    for sink in ["usual", "recent", "compacted"] {
        assert_eq!(status(admin, sink)["state"], "up");
    }
    let log = tapfan.stop();
    let refused = |code: &str, hint: &str| {
        let mut lines = log.lines();
        lines.any(|line| line.contains(code) && line.contains(hint))
    };
    assert!(refused("INVALID_TIMESTAMP", "LogAppendTime"), "{log}");
    assert!(refused("INVALID_RECORD", "cleanup.policy=delete"), "{log}");
    let records = cluster.client.read("usual");
    let mut values: Vec<_> = records.iter().map(|record| &record.value).collect();
    values.sort_unstable();
    assert!(values.into_iter().eq(&frames), "the frames have changed");
    let old = u64::from(now() - DAY) * 1000;
    let kept = records.iter().filter(|record| record.timestamp == old);
    assert_eq!(kept.count() as u64, FRAMES / 4);
    let latest = records.iter().map(|record| record.timestamp).max();
    let soon = u64::from(now() + 600) * 1000;
    assert!(latest.is_some_and(|latest| latest < soon), "{latest:?}");
}
