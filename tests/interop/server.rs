//! The properties of a DNS server that the scenarios need. Each server has its own file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{process::Process, upstream::Upstream};

/// A kind of DNS server.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    /// Starts the server, and waits until it answers.
    pub(crate) start: fn(&Setting<'_>) -> Process,
    /// True if the server sends STOP before it closes the connection.
    pub(crate) stops: bool,
    /// Names to query.
    pub(crate) questions: &'static [Question],
    /// The taps that the queries for these names must cause.
    pub(crate) taps: &'static [Tap],
}

/// Settings for a server's configuration.
pub(crate) struct Setting<'a> {
    /// A directory for this test.
    pub(crate) dir: &'a Path,
    /// The address at which the server answers.
    pub(crate) dns: SocketAddr,
    /// The server to which it forwards.
    pub(crate) upstream: &'a Upstream,
    /// The destination of its taps.
    pub(crate) target: &'a Target,
}

/// The destination of a server's taps.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// A unidirectional Frame Streams connection over TCP.
    TcpUnidirectional(SocketAddr),
    /// TLS. The path is the certificate of the authority to trust.
    Tls(SocketAddr, PathBuf),
}

/// Names to query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The zone of the names.
    pub(crate) zone: &'static str,
    /// The RD bit of the query.
    pub(crate) recursion: bool,
}

/// A type of message that a server must tap once for each name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// `Message.Type` of dnstap.proto.
    pub(crate) message_type: u64,
    /// The zone of the names.
    pub(crate) zone: &'static str,
    /// The peer that saw the same packet.
    pub(crate) witness: Witness,
}

/// A peer that saw a packet that the server tapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// The client that queried the server.
    Client,
    /// The upstream that the server queried.
    Upstream,
}

/// The zone of the authoritative servers. A wildcard in it has an address.
pub(crate) const LOCAL: &str = "example.test";
/// A zone that only the upstream serves.
pub(crate) const FORWARDED: &str = "forwarded.test";

/// The zone file of `LOCAL`.
pub(crate) const ZONE_FILE: &str = "\
$ORIGIN example.test.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A 192.0.2.53
* A 192.0.2.1
";

// === impl Tap ===

impl Tap {
    /// Returns whether the message is a response. In dnstap.proto, queries have odd numbers and
    /// responses have even ones.
    pub(crate) fn is_response(self) -> bool {
        self.message_type.is_multiple_of(2)
    }
}
