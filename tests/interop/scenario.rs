//! The checks that every DNS server has to pass. Each sink must receive the server's taps in the
//! form that the sink's options require. This must also be so after the server has restarted.

use std::{net::SocketAddr, path::Path};

use tempfile::TempDir;

use crate::{
    collector::Handshake,
    frame_streams::{ACCEPT, FINISH, Frame},
    ingress::{Ingress, Via, reader},
    process::free_address,
    query_batch::QueryBatch,
    server::{Server, Setting},
    sinks::{Sinks, assert_merged},
    tapfan::Tapfan,
    upstream::Upstream,
};

/// The environment of the DNS server under test: a directory, an upstream, tapfan's listener, and
/// three sinks of tapfan.
pub(crate) struct TestBed {
    dir: TempDir,
    dns: SocketAddr,
    pub(crate) upstream: Upstream,
    pub(crate) ingress: Ingress,
    pub(crate) sinks: Sinks,
}

// === impl TestBed ===

impl TestBed {
    /// Sets up everything except tapfan and the DNS server.
    pub(crate) fn new(ingress: impl FnOnce(&Path) -> Ingress) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self {
            dns: free_address(),
            upstream: Upstream::start(),
            ingress: ingress(dir.path()),
            sinks: Sinks::new(dir.path()),
            dir,
        }
    }

    /// Returns the settings for the configuration of the DNS server.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            dir: self.dir.path(),
            dns: self.dns,
            upstream: &self.upstream,
            target: &self.ingress.target,
        }
    }

    /// Starts tapfan. `more` is appended to the Tapfile.
    pub(crate) fn tapfan(&self, more: &str) -> Tapfan {
        let tapfile = format!("{}\n{more}\n{}", self.ingress.listen, self.sinks.directives);
        Tapfan::start(self.dir.path(), &tapfile, &self.ingress.listening)
    }
}

/// Runs the DNS server twice, with tapfan as the reader of its taps, and checks what the three
/// collectors of tapfan received.
pub(crate) fn fan_out(server: &Server, via: Via) {
    let test_bed = TestBed::new(|dir| Ingress::new(dir, via));
    let setting = test_bed.setting();
    let tapfan = test_bed.tapfan("");

    for batch in ["first", "second"] {
        let mut process = (server.start)(&setting);
        let queries = QueryBatch::send(server, &setting, batch);
        queries.wait_for(&test_bed.sinks.full);
        process.terminate();
    }

    let relay = test_bed.ingress.relay.as_ref();
    let sent = relay.map(|relay| {
        for answers in relay.answered() {
            let expected = match (via, server.stops) {
                (Via::TcpUnidirectional, _) => vec![],
                (_, true) => vec![Frame::Control(ACCEPT), Frame::Control(FINISH)],
                (_, false) => vec![Frame::Control(ACCEPT)],
            };
            assert_eq!(answers, expected, "what tapfan wrote to its sender");
        }
        relay.sent()
    });
    tapfan.stop();
    if let Some(sent) = sent {
        assert_merged(&test_bed.sinks.full.frames(), &sent);
    }
    test_bed.sinks.check();
}

/// Runs the DNS server with a recording collector instead of tapfan. So this checks the server and
/// the code of the test without tapfan.
pub(crate) fn direct(server: &Server, via: Via) {
    let dir = TempDir::new().expect("a directory");
    let upstream = Upstream::start();
    let (collector, target) = reader(dir.path(), via);
    let setting = Setting {
        dir: dir.path(),
        dns: free_address(),
        upstream: &upstream,
        target: &target,
    };

    let mut process = (server.start)(&setting);
    let queries = QueryBatch::send(server, &setting, "first");
    queries.wait_for(&collector);
    process.terminate();

    collector.wait_for_the_end();
    let handshake = match via {
        Via::TcpUnidirectional => Handshake::Unidirectional,
        _ => Handshake::Bidirectional,
    };
    for recording in collector.recordings() {
        assert_eq!(recording.handshake, Some(handshake));
        assert_eq!(recording.stopped, server.stops, "whether it sent STOP");
    }
}
