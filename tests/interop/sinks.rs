//! Three collectors, whose sinks have different options, and the comparison of the frames that they
//! received.

use std::path::Path;

use crate::{
    certificates::Certificates,
    collector::Collector,
    dnstap_fields::{Dnstap, EXTRA, IDENTITY, VERSION},
};

/// The collectors of three sinks with different options.
pub(crate) struct Sinks {
    /// The collector of a sink with `full`, on a unix socket.
    pub(crate) full: Collector,
    /// The collector of a sink that leaves out the DNS messages. The sink uses TCP and a host name.
    no_wire: Collector,
    /// The collector of a sink that leaves out the DNS messages and edits other fields. The sink
    /// uses TLS and a host name.
    edited: Collector,
    /// The directives of the three sinks, for the Tapfile.
    pub(crate) directives: String,
}

// === impl Sinks ===

impl Sinks {
    /// The values of the arguments `writebuffer` and `queue`. The queue holds more frames than any
    /// test sends, so the speed of the collectors does not matter.
    const QUEUE: &str = "1 2";
    const IDENTITY: &str = "edge-1";
    const VERSION: &str = "of the sink's own";
    const EXTRA: &str = "rack 7, \"left\"";

    pub(crate) fn new(dir: &Path) -> Self {
        let certificates = Certificates::make(&dir.join("collector"));
        let path = dir.join("full.sock");
        let full = Collector::unix(&path);
        let (no_wire, tcp) = Collector::tcp();
        let (edited, tls) = Collector::tls(&certificates);
        let directives = format!(
            "dnstap {path} full {queue}\n\
             dnstap tcp://localhost:{tcp} {queue}\n\
             dnstap tls://localhost:{tls} {queue} {{\n    \
                 ca {ca}\n    identity {identity}\n    version {version:?}\n    extra {extra:?}\n}}\n",
            queue = Self::QUEUE,
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

    /// Asserts that all three collectors received the same frames in the same order, each in the
    /// form that the options of its sink require. Call this only after tapfan has exited.
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

/// Asserts that `merged` contains exactly the frames of all connections, and that the frames of
/// each connection are in order.
///
/// No two frames of a run are equal, because they contain times in nanoseconds and names that
/// belong to one batch.
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
