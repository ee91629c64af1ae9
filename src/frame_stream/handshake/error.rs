//! Why a stream could not be opened, in an operator's words.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use thiserror::Error;

use crate::frame_stream::{ControlError, ControlKind};

/// Why a handshake failed.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The peer went away before its first byte, as port probes do.
    #[error("the peer closed the connection without sending anything, as a port probe does")]
    NothingSent,
    /// The peer closed the connection too early.
    #[error("the peer closed the connection while {awaited} was awaited")]
    Closed {
        /// What was awaited.
        awaited: Awaited,
    },
    /// The deadline of the handshake passed.
    #[error("the handshake took longer than {deadline:?}; {awaited} was awaited")]
    Timeout {
        /// What was awaited.
        awaited: Awaited,
        /// How long the whole handshake may take.
        deadline: Duration,
    },
    /// No control frame came, but something else.
    #[error("expected {awaited}, found {found}{hint}", hint = .found.hint(*.awaited))]
    NotFrameStreams {
        /// What was awaited.
        awaited: Awaited,
        /// What the first bytes look like.
        found: LooksLike,
    },
    /// A control frame came that is broken.
    #[error("expected {awaited}, found {source}")]
    Control {
        /// What was awaited.
        awaited: Awaited,
        /// What is wrong with it.
        source: ControlError,
    },
    /// Another control frame came than the one that has its turn.
    #[error("expected {awaited}, found {found}")]
    OutOfPlace {
        /// What was awaited.
        awaited: Awaited,
        /// What came.
        found: ControlKind,
    },
    /// Control frames of unknown types came, again and again.
    #[error("expected {awaited}, found nothing but control frames of unknown types")]
    OnlyUnknownFrames {
        /// What was awaited.
        awaited: Awaited,
    },
    /// The peer speaks Frame Streams, but not of dnstap.
    #[error("the peer's content type is {}, but only \"protobuf:dnstap.Dnstap\" is spoken here", quoted(.offered))]
    ContentType {
        /// The content types that it offered, asked for or began with.
        offered: Vec<Bytes>,
    },
    /// The connection failed.
    #[error("the connection failed while {awaited} was awaited: {source}")]
    Io {
        /// What was awaited.
        awaited: Awaited,
        /// What the operating system or TLS says.
        source: io::Error,
    },
}

/// What a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// A sender's first frame.
    Opening,
    /// START, once ACCEPT was sent.
    Start,
    /// A collector's answer to READY.
    Accept,
    /// Until the peer takes a control frame of ours.
    Room(ControlKind),
}

/// What the first four bytes of something that is not Frame Streams look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LooksLike {
    /// A TLS record: a `ClientHello` to a plain listener, an alert from a TLS collector that was dialled in plain text.
    Tls,
    /// HTTP, a request or an answer.
    Http,
    /// SSH.
    Ssh,
    /// A load balancer's PROXY header.
    ProxyProtocol,
    /// A control frame of Frame Streams, where TLS was expected.
    FrameStreams,
    /// A message of `PowerDNS`'s own logger of protobuf: a length of two bytes, and a message that begins with its type.
    PowerDns,
    /// A data frame of this many bytes.
    Data(u32),
    /// None of these.
    Unknown([u8; 4]),
}

/// Longer than any frame a dnstap sender makes; greater numbers are taken for what they look like as text.
const LONGEST_DATA: u32 = 16 << 20;

/// Shorter than any message of `PowerDNS`, which holds an identifier of 16 bytes.
const SHORTEST_POWERDNS: u16 = 20;

// === impl HandshakeError ===

impl HandshakeError {
    /// What kind of failure it is: one of a closed set of words, for a counter's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NothingSent => "probe",
            Self::Closed { .. } => "closed",
            Self::Timeout { .. } => "timeout",
            Self::NotFrameStreams { .. }
            | Self::Control { .. }
            | Self::OutOfPlace { .. }
            | Self::OnlyUnknownFrames { .. } => "protocol",
            Self::ContentType { .. } => "content_type",
            Self::Io { .. } => "io",
        }
    }
}

/// Content types as text that is safe in a log: the peer chose the bytes.
fn quoted(offered: &[Bytes]) -> String {
    let each = offered
        .iter()
        .map(|content_type| format!("\"{}\"", content_type.escape_ascii()));
    each.collect::<Vec<_>>().join(", ")
}

// === impl Awaited ===

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("READY or START"),
            Self::Start => f.write_str("START"),
            Self::Accept => f.write_str("ACCEPT"),
            Self::Room(kind) => write!(f, "room to write {kind}"),
        }
    }
}

// === impl LooksLike ===

impl LooksLike {
    pub(crate) fn from_first_bytes(bytes: [u8; 4]) -> Self {
        match &bytes {
            [0, 0, 0, 0] => Self::FrameStreams,
            // Field 1, `type`, an enum up to 4. As a data frame it would have more than 1 MiB, of a sender that never shook hands.
            [high, low, 0x08, 1..=4] if u16::from_be_bytes([*high, *low]) >= SHORTEST_POWERDNS => {
                Self::PowerDns
            }
            [0x14..=0x17, 0x03, 0..=4, _] => Self::Tls,
            b"GET " | b"HEAD" | b"POST" | b"PUT " | b"OPTI" | b"CONN" | b"PRI " | b"HTTP" => {
                Self::Http
            }
            b"SSH-" => Self::Ssh,
            b"PROX" | b"\r\n\r\n" => Self::ProxyProtocol,
            _ => match u32::from_be_bytes(bytes) {
                length @ 1..=LONGEST_DATA => Self::Data(length),
                _ => Self::Unknown(bytes),
            },
        }
    }
}

impl LooksLike {
    /// What to do about it, to stand behind the error. A collector answers READY; all else is from a sender.
    fn hint(self, awaited: Awaited) -> &'static str {
        let of_collector = matches!(awaited, Awaited::Accept | Awaited::Room(_));
        match (self, of_collector) {
            (Self::Tls, true) => {
                "; the collector speaks TLS at this port: write tls:// in the place of tcp://"
            }
            (Self::Tls, false) => {
                "; the sender speaks TLS and this listener does not: turn TLS off at the sender, or write `listen tls://` with `cert` and `key`"
            }
            (Self::Http, true) => {
                "; a web server has this port: which one is the collector's for dnstap?"
            }
            (Self::Http, false) => {
                "; this listener takes dnstap only: browsers, Prometheus and health checks belong to the address of `admin` or `probes`"
            }
            (Self::PowerDns, _) => {
                "; use PowerDNS's logger of dnstap in its place: newFrameStreamTcpLogger or newFrameStreamUnixLogger in dnsdist, dnstapFrameStreamServers in the Recursor"
            }
            _ => "",
        }
    }
}

impl fmt::Display for LooksLike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("TLS"),
            Self::FrameStreams => f.write_str("Frame Streams in plain text"),
            Self::PowerDns => f.write_str("PowerDNS's own protobuf messages, which are not dnstap"),
            Self::Http => f.write_str("HTTP"),
            Self::Ssh => f.write_str("SSH"),
            Self::ProxyProtocol => {
                f.write_str("a PROXY header: turn the PROXY protocol off at the load balancer")
            }
            Self::Data(length) => write!(f, "a data frame of {length} bytes"),
            Self::Unknown(bytes) => {
                write!(
                    f,
                    "bytes that are not Frame Streams, \"{}\"",
                    bytes.escape_ascii()
                )
            }
        }
    }
}
