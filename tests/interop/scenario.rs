//! The checks for every sender: its taps arrive as sent and in the form that each sink asks for,
//! also after the server's restart.

use std::{net::SocketAddr, path::Path};

use tempfile::TempDir;

use crate::{
    asked::Asked,
    collector::Handshake,
    entrance::{Entrance, Via, reader},
    frame_streams::{ACCEPT, FINISH, Frame},
    process::free_address,
    server::{Server, Setting},
    sinks::{Sinks, assert_merged},
    tapfan::Tapfan,
    upstream::Upstream,
};

/// The environment of a server: a directory, an upstream, tapfan's listener, and three sinks behind
/// tapfan.
pub(crate) struct Stage {
    dir: TempDir,
    dns: SocketAddr,
    pub(crate) upstream: Upstream,
    pub(crate) entrance: Entrance,
    pub(crate) sinks: Sinks,
}

// === impl Stage ===

impl Stage {
    /// Sets up everything but tapfan and the server.
    pub(crate) fn new(entrance: impl FnOnce(&Path) -> Entrance) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self {
            dns: free_address(),
            upstream: Upstream::start(),
            entrance: entrance(dir.path()),
            sinks: Sinks::new(dir.path()),
            dir,
        }
    }

    /// The settings for the server.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            dir: self.dir.path(),
            dns: self.dns,
            upstream: &self.upstream,
            target: &self.entrance.target,
        }
    }

    /// Starts tapfan. `more` is added to its Tapfile.
    pub(crate) fn tapfan(&self, more: &str) -> Tapfan {
        let tapfile = format!(
            "{}\n{more}\n{}",
            self.entrance.listen, self.sinks.directives
        );
        Tapfan::start(self.dir.path(), &tapfile, &self.entrance.listening)
    }
}

/// The server writes to tapfan, which writes to three sinks. The server is restarted once.
pub(crate) fn fan_out(server: &Server, via: Via) {
    let stage = Stage::new(|dir| Entrance::new(dir, via));
    let setting = stage.setting();
    let tapfan = stage.tapfan("");

    for batch in ["first", "second"] {
        let mut process = (server.start)(&setting);
        let asked = Asked::of(server, &setting, batch);
        asked.wait_for(&stage.sinks.full);
        process.terminate();
    }

    let relay = stage.entrance.relay.as_ref();
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
        assert_merged(&stage.sinks.full.frames(), &sent);
    }
    stage.sinks.check();
}

/// The server writes to a recording collector directly. This checks the server and the harness
/// without tapfan.
pub(crate) fn straight(server: &Server, via: Via) {
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
    let asked = Asked::of(server, &setting, "first");
    asked.wait_for(&collector);
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
