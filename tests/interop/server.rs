//! What the scenarios need to know of a DNS server; one file each says it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{process::Process, upstream::Upstream};

/// A kind of DNS server.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    /// Starts it, and waits until it answers.
    pub(crate) start: fn(&Setting<'_>) -> Process,
    /// Whether it says STOP before it ends.
    pub(crate) stops: bool,
    /// What to ask it.
    pub(crate) questions: &'static [Question],
    /// What it must tap of that.
    pub(crate) taps: &'static [Tap],
}

/// What a server's configuration depends on.
pub(crate) struct Setting<'a> {
    /// A directory of the test's own.
    pub(crate) dir: &'a Path,
    /// Where it shall answer.
    pub(crate) dns: SocketAddr,
    /// Where it shall forward what it does not know.
    pub(crate) upstream: &'a Upstream,
    /// Where its taps shall go.
    pub(crate) target: &'a Target,
}

/// Where a server sends its taps.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// A unidirectional Frame Streams connection over TCP.
    TcpUnidirectional(SocketAddr),
    /// TLS; the path is that of the authority to trust.
    Tls(SocketAddr, PathBuf),
}

/// Names to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The zone they are under.
    pub(crate) zone: &'static str,
    /// RD in the query.
    pub(crate) recursion: bool,
}

/// One type of message that a server must tap, once for each name asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// `Message.Type` of dnstap.proto.
    pub(crate) message_type: u64,
    /// The zone of the names.
    pub(crate) zone: &'static str,
    /// Who saw the same packet.
    pub(crate) witness: Witness,
}

/// Who else saw a packet that a server taps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// The client that asked the server.
    Client,
    /// The upstream that the server asked.
    Upstream,
}

/// The zone that authoritative servers have, with a wildcard for an address.
pub(crate) const LOCAL: &str = "example.test";
/// A zone that nobody has but the upstream.
pub(crate) const FORWARDED: &str = "forwarded.test";

/// `LOCAL` in a zone file.
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
    /// Whether the message is a response; dnstap.proto numbers queries odd and responses even.
    pub(crate) fn is_response(self) -> bool {
        self.message_type.is_multiple_of(2)
    }
}
