//! What is asked of every sender: its taps arrive as they were sent and as each sink asked, and again after its restart.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    collector::{Collector, Handshake},
    dns::{Exchange, ask_many, question_name},
    dnstap_fields::{Dnstap, EXTRA, IDENTITY, QUERY_MESSAGE, RESPONSE_MESSAGE, VERSION},
    frame_streams::{ACCEPT, FINISH, Frame},
    process::{eventually, free_address},
    relay::Relay,
    server::{Server, Setting, Tap, Target, Witness},
    tapfan::{Listening, Tapfan},
    upstream::Upstream,
};

/// How a sender reaches its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Unix,
    Tcp,
    TcpUnidirectional,
    Tls,
}

/// Names asked for in each zone and each batch. Two taps each fit in libfstrm's default queue of 512, so that a sender
/// loses none even if its writer has not run yet.
const NAMES: u16 = 200;

/// The server writes to tapfan, tapfan to three sinks; the server is restarted in between.
pub(crate) fn fan_out(server: &Server, via: Via) {
    let dir = TempDir::new().expect("a directory");
    let upstream = Upstream::start();
    let entrance = Entrance::new(dir.path(), via);
    let sinks = Sinks::new(dir.path());
    let tapfile = format!("{}\n{}", entrance.listen, sinks.directives);
    let tapfan = Tapfan::start(dir.path(), &tapfile, &entrance.listening);
    let setting = Setting {
        dir: dir.path(),
        dns: free_address(),
        upstream: &upstream,
        target: &entrance.target,
    };

    for batch in ["first", "second"] {
        let mut process = (server.start)(&setting);
        let asked = Asked::of(server, &setting, batch);
        asked.wait_for(&sinks.full);
        process.terminate();
    }

    if let Some(relay) = &entrance.relay {
        for answers in relay.answered() {
            let control = match (via, server.stops) {
                (Via::TcpUnidirectional, _) => vec![],
                (_, true) => vec![Frame::Control(ACCEPT), Frame::Control(FINISH)],
                (_, false) => vec![Frame::Control(ACCEPT)],
            };
            assert_eq!(answers, control, "what tapfan wrote to its sender");
        }
        assert_merged(&sinks.full.frames(), &relay.sent());
    }
    tapfan.stop();
    sinks.check();
}

/// The server writes straight to a recording collector: whether the server and this harness do what is expected of them.
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

/// Where a sender's taps come in: tapfan's listener, behind a relay that keeps a copy if the wire can be read.
pub(crate) struct Entrance {
    /// The line of the Tapfile.
    pub(crate) listen: String,
    pub(crate) listening: Listening,
    pub(crate) relay: Option<Relay>,
    /// What the sender is told.
    pub(crate) target: Target,
}

/// Three sinks that ask for different things.
pub(crate) struct Sinks {
    /// A unix socket, everything kept.
    pub(crate) full: Collector,
    /// TCP by name, without the DNS messages.
    no_wire: Collector,
    /// TLS by name, without the DNS messages, with fields of its own.
    edited: Collector,
    /// The lines of the Tapfile.
    pub(crate) directives: String,
}

/// What a server was asked, and so what it must have tapped.
pub(crate) struct Asked<'a> {
    server: &'a Server,
    batch: &'static str,
    /// For each of the server's questions.
    client: Vec<Vec<Exchange>>,
    upstream: &'a Upstream,
}

// === impl Entrance ===

impl Entrance {
    pub(crate) fn new(dir: &Path, via: Via) -> Self {
        match via {
            Via::Unix => {
                let (router, sender) = (dir.join("tapfan.sock"), dir.join("relay.sock"));
                Self {
                    listen: format!("listen unix://{}", router.display()),
                    relay: Some(Relay::unix(&sender, router.clone())),
                    listening: Listening::Unix(router),
                    target: Target::Unix(sender),
                }
            }
            Via::Tcp | Via::TcpUnidirectional => {
                let router = free_address();
                let (relay, sender) = Relay::tcp(router);
                Self {
                    listen: format!("listen tcp://{router}"),
                    relay: Some(relay),
                    listening: Listening::Tcp(router),
                    target: if via == Via::Tcp {
                        Target::Tcp(sender)
                    } else {
                        Target::TcpUnidirectional(sender)
                    },
                }
            }
            Via::Tls => {
                let router = free_address();
                let certificates = certificates(dir, "listener");
                let (cert, key) = (certificates.cert.display(), certificates.key.display());
                Self {
                    listen: format!("listen tls://{router} {{\n    cert {cert}\n    key {key}\n}}"),
                    relay: None,
                    listening: Listening::Tcp(router),
                    target: Target::Tls(router, certificates.ca),
                }
            }
        }
    }
}

// === impl Sinks ===

impl Sinks {
    const IDENTITY: &str = "edge-1";
    const VERSION: &str = "of the sink's own";
    const EXTRA: &str = "rack 7, \"left\"";

    pub(crate) fn new(dir: &Path) -> Self {
        let certificates = certificates(dir, "collector");
        let path = dir.join("full.sock");
        let full = Collector::unix(&path);
        let (no_wire, tcp) = Collector::tcp();
        let (edited, tls) = Collector::tls(&certificates);
        let directives = format!(
            "dnstap {path} full\n\
             dnstap tcp://localhost:{tcp}\n\
             dnstap tls://localhost:{tls} {{\n    \
                 ca {ca}\n    identity {identity}\n    version {version:?}\n    extra {extra:?}\n}}\n",
            path = path.display(),
            tcp = tcp.port(),
            tls = tls.port(),
            ca = certificates.ca.display(),
            identity = Self::IDENTITY,
            version = Self::VERSION,
            extra = Self::EXTRA,
        );
        Self {
            full,
            no_wire,
            edited,
            directives,
        }
    }

    /// After tapfan has ended: the sinks hold the same frames, in the same order, each as its directive says.
    pub(crate) fn check(&self) {
        for sink in [&self.full, &self.no_wire, &self.edited] {
            sink.wait_for_the_end();
            assert!(sink.recordings().iter().all(|recording| recording.stopped));
        }
        let full = self.full.frames();
        let no_wire = self.no_wire.frames();
        let edited = self.edited.frames();
        assert_eq!(no_wire.len(), full.len(), "frames at the no-wire sink");
        assert_eq!(edited.len(), full.len(), "frames at the edited sink");
        for ((full, no_wire), edited) in full.iter().zip(no_wire).zip(edited) {
            let expected = Dnstap::parse(full).without_wire();
            assert_eq!(Dnstap::parse(&no_wire), expected);
            let expected = expected
                .with(IDENTITY, Self::IDENTITY)
                .with(VERSION, Self::VERSION)
                .with(EXTRA, Self::EXTRA);
            assert_eq!(Dnstap::parse(&edited), expected);
        }
    }
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// Asks the server all its questions, for names of this `batch` alone.
    pub(crate) fn of(server: &'a Server, setting: &Setting<'a>, batch: &'static str) -> Self {
        let client = server.questions.iter().map(|question| {
            let zone = format!("{batch}.{}", question.zone);
            ask_many(setting.dns, &zone, NAMES, question.recursion)
        });
        Self {
            server,
            batch,
            client: client.collect(),
            upstream: setting.upstream,
        }
    }

    /// Waits until every tap of it is at `collector`, and asserts that each holds the packet that its witness saw.
    pub(crate) fn wait_for(&self, collector: &Collector) {
        let expected = self.server.taps.len() * usize::from(NAMES);
        eventually("every tap of every name", || {
            let frames: Vec<_> = collector
                .frames()
                .iter()
                .map(|frame| Dnstap::parse(frame))
                .collect();
            let taps = self.server.taps.iter();
            let tapped: Vec<_> = taps.map(|tap| self.tapped(*tap, &frames)).collect();
            let counts: Vec<_> = tapped.iter().map(Vec::len).collect();
            if counts.iter().sum::<usize>() >= expected {
                Ok(tapped)
            } else {
                Err(format!("{counts:?} among {} frames", frames.len()))
            }
        })
        .iter()
        .zip(self.server.taps)
        .for_each(|(tapped, tap)| {
            let seen = self.seen(*tap);
            assert_eq!(
                seen.len(),
                usize::from(NAMES),
                "packets that the witness of {tap:?} saw"
            );
            assert_eq!(tapped.len(), seen.len(), "frames of {tap:?}");
            for (tapped, seen) in tapped.iter().zip(&seen) {
                assert_eq!(tapped, seen, "the packet in a frame of {tap:?}");
            }
        });
    }

    /// The packets in the frames of `tap`, sorted.
    fn tapped(&self, tap: Tap, frames: &[Dnstap]) -> Vec<Vec<u8>> {
        let field = if tap.is_response() {
            RESPONSE_MESSAGE
        } else {
            QUERY_MESSAGE
        };
        let zone = format!(".{}.{}", self.batch, tap.zone);
        let mut packets: Vec<_> = frames
            .iter()
            .filter(|frame| frame.message_type() == tap.message_type)
            .filter_map(|frame| frame.message_field(field))
            .filter(|packet| question_name(packet).is_some_and(|name| name.ends_with(&zone)))
            .collect();
        packets.sort();
        packets
    }

    /// The packets that the witness of `tap` saw, sorted.
    fn seen(&self, tap: Tap) -> Vec<Vec<u8>> {
        let exchanges = match tap.witness {
            Witness::Client => self
                .server
                .questions
                .iter()
                .zip(&self.client)
                .filter(|(question, _)| question.zone == tap.zone)
                .flat_map(|(_, exchanges)| exchanges.clone())
                .collect(),
            Witness::Upstream => {
                let zone = format!("{}.{}", self.batch, tap.zone);
                self.upstream.exchanges(&zone)
            }
        };
        let mut packets: Vec<_> = exchanges
            .into_iter()
            .map(|exchange: Exchange| {
                if tap.is_response() {
                    exchange.response
                } else {
                    exchange.query
                }
            })
            .collect();
        packets.sort();
        packets
    }
}

/// Asserts that `merged` holds the frames of every connection and no others, each connection's in its own order.
///
/// No two frames of a run are equal by accident: they hold times in nanoseconds and the names of the batch.
pub(crate) fn assert_merged(merged: &[Vec<u8>], connections: &[Vec<Vec<u8>>]) {
    let sent = connections.iter().map(Vec::len).sum::<usize>();
    assert_eq!(merged.len(), sent, "frames at the full sink, of those sent");
    for connection in connections {
        let mut merged = merged.iter();
        for (at, frame) in connection.iter().enumerate() {
            assert!(
                merged.any(|arrived| arrived == frame),
                "frame {at} of a connection is missing or out of order"
            );
        }
    }
}

/// A recording collector, and what to tell the sender.
fn reader(dir: &Path, via: Via) -> (Collector, Target) {
    match via {
        Via::Unix => {
            let path: PathBuf = dir.join("straight.sock");
            (Collector::unix(&path), Target::Unix(path))
        }
        Via::Tcp => {
            let (collector, address) = Collector::tcp();
            (collector, Target::Tcp(address))
        }
        Via::TcpUnidirectional => {
            let (collector, address) = Collector::tcp();
            (collector, Target::TcpUnidirectional(address))
        }
        Via::Tls => {
            let certificates = certificates(dir, "straight");
            let (collector, address) = Collector::tls(&certificates);
            (collector, Target::Tls(address, certificates.ca))
        }
    }
}

fn certificates(dir: &Path, name: &str) -> Certificates {
    let dir = dir.join(name);
    std::fs::create_dir(&dir).expect("a new directory");
    Certificates::make(&dir)
}
