//! The environment of a test of the forwarder: the forwarder and its collector.

use std::{
    env, fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

use super::tap::{Client, Protocol, Tap, check_times};
use crate::{
    certificates::Certificates,
    dig::{Answer, Transport, dig},
    dnstap_fields::Dnstap,
    golang_dnstap::{GolangDnstap, Place},
    process::{Process, eventually, free_address},
};

/// A running forwarder and its collector.
pub(super) struct TestBed {
    dir: TempDir,
    certificates: Certificates,
    forwarder: Process,
    /// The address of the forwarder for UDP and TCP.
    pub(super) dns: SocketAddr,
    /// The address of the forwarder for TLS.
    dot: SocketAddr,
    collector: GolangDnstap,
    /// The number of messages that the collector has received so far.
    received: usize,
}

// === impl TestBed ===

impl TestBed {
    /// Starts the collector and the forwarder.
    pub(super) fn start(upstreams: &[SocketAddr]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let place = Place::unix(dir.path(), "dnstap.sock");
        let tapfile = dir.path().join("Tapfile");
        let text = format!(
            "dnstap {} full {{\n    extra \"upstream: {{/forward/upstream}}\"\n}}\n",
            place.socket()
        );
        fs::write(&tapfile, text).expect("a file in a directory of our own");
        let certificates = Certificates::make(&dir.path().join("certificates"));
        let (dns, dot) = (free_address(), free_address());

        let mut collector = GolangDnstap::start(dir.path(), &place);
        let mut command = Command::new(example());
        command.args(["--listen", &dns.to_string()]);
        command.args(["--listen-tls", &dot.to_string()]);
        command.arg("--cert").arg(&certificates.cert);
        command.arg("--key").arg(&certificates.key);
        for upstream in upstreams {
            command.args(["--upstream", &upstream.to_string()]);
        }
        command.arg(tapfile);
        let mut forwarder = Process::start(dir.path(), command);
        for address in [dns, dot] {
            eventually("the forwarder to listen", || {
                forwarder.must_run();
                TcpStream::connect(address)
            });
        }
        collector.wait_for_a_sender();
        Self {
            dir,
            certificates,
            forwarder,
            dns,
            dot,
            collector,
            received: 0,
        }
    }

    /// Runs `dig` with a query for a name. Returns the address that `dig` used, and the answer.
    pub(super) fn dig(&self, protocol: Protocol, name: &str) -> (Client, Answer) {
        let address = free_address();
        let (server, transport) = match protocol {
            Protocol::Udp => (self.dns, Transport::Udp),
            Protocol::Tcp => (self.dns, Transport::Tcp),
            Protocol::Dot => (self.dot, Transport::Tls(&self.certificates.ca)),
        };
        let answer = dig(server, address, transport, name);
        (Client { address, protocol }, answer)
    }

    /// Waits until the collector has received `count` further messages. Checks the times in them
    /// and returns them.
    pub(super) fn taps(&mut self, count: usize) -> Vec<Tap> {
        let frames = self.collector.collected(count);
        self.received += frames.len();
        let frames: Vec<_> = frames.iter().map(|frame| Dnstap::parse(frame)).collect();
        check_times(&frames);
        frames.iter().map(Tap::of).collect()
    }

    /// Asserts that the collector has received exactly these messages since the last call.
    pub(super) fn expect(&mut self, what: &str, expected: &[Tap]) {
        let taps = self.taps(expected.len());
        for (number, (tap, expected)) in taps.iter().zip(expected).enumerate() {
            assert_eq!(tap, expected, "{what}: message {number}");
        }
        assert_eq!(taps.len(), expected.len(), "{what}: messages in {taps:#?}");
    }

    /// Sends the forwarder SIGTERM, which makes it drain. Asserts that it exits and has lost no
    /// message.
    pub(super) fn stop(mut self) {
        let (status, _) = self.forwarder.terminate();
        let output = self.forwarder.output();
        assert!(status.success(), "the forwarder: {status}\n{output}");
        let rest = self.taps(0);
        assert!(rest.is_empty(), "more messages: {rest:#?}");
        let account = format!("{} messages delivered, 0 lost", self.received);
        assert!(output.contains(&account), "no {account:?} in:\n{output}");
        self.collector.stop();
        drop(self.dir);
    }
}

/// Returns the path of the built example. cargo builds the example if it is missing or older than
/// its sources.
fn example() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--locked", "--example", "forwarder"])
            .args(["--message-format", "json"])
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo");
        assert!(output.status.success(), "cargo: {}", output.status);
        let messages = String::from_utf8(output.stdout).expect("JSON");
        let mut executables = messages.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let is_example = message["target"]["name"] == "forwarder";
            is_example.then(|| message["executable"].as_str().map(PathBuf::from))?
        });
        executables.next_back().expect("an executable")
    })
}
