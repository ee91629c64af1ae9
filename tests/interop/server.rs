//! The properties of a DNS server that the tests need to know. Each kind of DNS server has its own
//! file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{process::Process, upstream::Upstream};

/// A kind of DNS server.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    /// A function that starts the server and waits until it answers queries.
    pub(crate) start: fn(&Setting<'_>) -> Process,
    /// True if the server sends STOP before it closes its dnstap connection.
    pub(crate) stops: bool,
    /// The zones whose names the test queries.
    pub(crate) questions: &'static [Question],
    /// The types of taps that the queries of the test must cause.
    pub(crate) taps: &'static [Tap],
}

/// The settings for the configuration of a DNS server.
pub(crate) struct Setting<'a> {
    /// A directory for this test.
    pub(crate) dir: &'a Path,
    /// The address at which the server under test answers DNS queries.
    pub(crate) dns: SocketAddr,
    /// The upstream DNS server to which the server under test forwards queries.
    pub(crate) upstream: &'a Upstream,
    /// The destination of the server's taps.
    pub(crate) target: &'a Target,
}

/// The address and the transport to which a DNS server sends its taps.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// A TCP connection with a unidirectional Frame Streams stream.
    TcpUnidirectional(SocketAddr),
    /// A TLS connection. The path is the certificate of the authority that the DNS server must
    /// trust.
    Tls(SocketAddr, PathBuf),
}

/// A zone in which the tests query names of a DNS server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The zone of the names.
    pub(crate) zone: &'static str,
    /// The value of the RD bit (recursion desired) in the queries.
    pub(crate) recursion: bool,
}

/// A type of dnstap message. The server must send one message of this type for each name in the
/// zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// The value of `Message.Type` in dnstap.proto.
    pub(crate) message_type: u64,
    /// The zone whose queries cause messages of this type.
    pub(crate) zone: &'static str,
    /// The peer that exchanged the tapped packet with the server.
    pub(crate) witness: Witness,
}

/// The peer that exchanged a tapped packet with the server, and so also knows the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// The client that queried the server under test.
    Client,
    /// The upstream that the server under test queried.
    Upstream,
}

/// The zone for which the authoritative servers are configured. A wildcard record gives every name
/// in it an address.
pub(crate) const LOCAL: &str = "example.test";
/// A zone that only the upstream answers for.
pub(crate) const FORWARDED: &str = "forwarded.test";

/// The zone file of the zone `LOCAL`.
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
    /// Returns whether the tapped message is a response. In dnstap.proto, the types of queries have
    /// odd numbers, and those of responses have even numbers.
    pub(crate) fn is_response(self) -> bool {
        self.message_type.is_multiple_of(2)
    }
}
