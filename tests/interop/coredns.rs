//! Tests of `connect` with a real `CoreDNS` that waits for collectors (`dnstap listen`). tapfan
//! follows it through restarts.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    collector::Collector,
    dig::{Transport, dig},
    process::{Process, eventually, free_address, unused},
    tapfan::{Listening, Tapfan},
};

/// The path of the program that `tests/interop/install.sh` builds.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/coredns");

/// The number of queries after each start of the server.
const QUERIES: usize = 20;

/// A server that waits for collectors.
struct CoreDns {
    process: Process,
    dns: SocketAddr,
}

/// The line of the Corefile that makes CoreDNS wait for collectors, and the line of the Tapfile that makes tapfan
/// connect.
struct Lines {
    waits: String,
    connects: String,
}

impl CoreDns {
    fn start(dir: &Path, dns: SocketAddr, waits: &str) -> Self {
        let path = unused(dir, "Corefile");
        let corefile = format!(
            ".:{port} {{\n    bind 127.0.0.1\n    {waits}\n    whoami\n}}\n",
            port = dns.port()
        );
        fs::write(&path, corefile).expect("a file in a directory of our own");
        let program = PathBuf::from(PROGRAM);
        assert!(
            program.exists(),
            "{PROGRAM}: tests/interop/install.sh builds it"
        );
        let mut command = Command::new(program);
        command.arg("-conf").arg(path);
        let process = Process::start(dir, command);
        Self { process, dns }
    }

    fn query(&self, name: &str) {
        dig(self.dns, free_address(), Transport::Udp, name);
    }

    /// Sends queries until the collector has the taps of one of them. Several queries may be needed, because `CoreDNS`
    /// has no queue and drops its taps while tapfan is not connected.
    fn wait_for_tapfan(&mut self, collector: &Collector, name: &str) {
        let mut sent = 0;
        eventually("tapfan to connect", || {
            self.process.must_run();
            let name = format!("{name}-{sent}.example");
            sent += 1;
            // The server may still be starting.
            if std::net::TcpStream::connect(self.dns).is_err() {
                return Err("the server does not answer");
            }
            self.query(&name);
            let has = taps_of(collector, &name) > 0;
            has.then_some(()).ok_or("no taps")
        });
    }
}

/// Returns the number of frames with the DNS name `label` + `.example`.
fn taps_of(collector: &Collector, name: &str) -> usize {
    let label = name.strip_suffix(".example").expect("a name here");
    let length = u8::try_from(label.len()).expect("a label");
    let wire = [&[length], label.as_bytes(), b"\x07example\0"].concat();
    let frames = collector.frames().into_iter();
    frames
        .filter(|frame| frame.windows(wire.len()).any(|part| part == wire))
        .count()
}

fn follow(dir: &Path, lines: &Lines) {
    let admin = free_address();
    let (collector, to) = Collector::tcp();
    let tapfile = format!(
        "{}\nadmin {admin}\ndnstap tcp://{to} full\n",
        lines.connects
    );
    let tapfan = Tapfan::start(dir, &tapfile, &Listening::Tcp(admin));
    let dns = free_address();
    // The last server still runs when tapfan stops.
    let mut last = None;
    for (round, end) in [Some(Signal::SIGTERM), Some(Signal::SIGKILL), None]
        .into_iter()
        .enumerate()
    {
        let mut server = CoreDns::start(dir, dns, &lines.waits);
        server.wait_for_tapfan(&collector, &format!("first-{round}"));
        let names: Vec<String> = (0..QUERIES)
            .map(|query| format!("query-{round}-{query}.example"))
            .collect();
        for name in &names {
            server.query(name);
        }
        eventually("two taps of each query", || {
            let missing = names.iter().find(|name| taps_of(&collector, name) != 2);
            missing.map_or(Ok(()), Err)
        });
        let Some(signal) = end else {
            last = Some(server);
            break;
        };
        server.process.signal(signal);
        server.process.wait();
    }
    let output = tapfan.stop();
    assert!(output.contains("end=STOP"), "a clean end is noticed");
    assert!(output.contains("no frame was lost"));
    drop(last);
}

#[test]
#[ignore = "needs a real CoreDNS: tests/interop/install.sh"]
fn coredns_is_followed_through_restarts_over_tcp() {
    let dir = TempDir::new().expect("a directory");
    let address = free_address();
    follow(
        dir.path(),
        &Lines {
            waits: format!("dnstap listen tcp://{address} full"),
            connects: format!("connect tcp://{address}"),
        },
    );
}

#[test]
#[ignore = "needs a real CoreDNS: tests/interop/install.sh"]
fn coredns_is_followed_through_restarts_over_tls() {
    let dir = TempDir::new().expect("a directory");
    let certificates = Certificates::make(&dir.path().join("certificates"));
    let Certificates { ca, cert, key, .. } = &certificates;
    let [ca, cert, key] = [ca, cert, key].map(|path| path.display());
    let address = free_address();
    // CoreDNS demands a client certificate of this authority.
    follow(
        dir.path(),
        &Lines {
            waits: format!(
                "dnstap listen tls://{address} full {{\n        tls {cert} {key} {ca}\n    }}"
            ),
            connects: format!(
                "connect tls://localhost:{} {{\n    ca {ca}\n    cert {cert}\n    key {key}\n}}",
                address.port()
            ),
        },
    );
}
