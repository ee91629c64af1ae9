//! The reasons why a handshake fails, in words that operators know.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use thiserror::Error;

use crate::frame_stream::{ControlError, ControlKind, LONGEST_FRAME};

/// The reason why a handshake failed.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The peer closed the connection before its first byte, as port probes do.
    #[error("the peer closed the connection without sending anything, as a port probe does")]
    NothingSent,
    /// The peer closed the connection too early.
    #[error("the peer closed the connection while tapfan waited for {0}")]
    Closed(Awaited),
    /// The deadline of the handshake passed.
    #[error("the handshake took longer than {deadline:?}, waiting for {awaited}")]
    Timeout {
        /// The frame or event that was awaited.
        awaited: Awaited,
        /// The time for the whole handshake.
        deadline: Duration,
    },
    /// Something other than a control frame arrived.
    #[error("expected {awaited}, found {found}{hint}", hint = .found.hint(*.awaited))]
    NotFrameStreams {
        /// The frame or event that was awaited.
        awaited: Awaited,
        /// The probable protocol, judged by the first bytes.
        found: LooksLike,
    },
    /// A broken control frame arrived.
    #[error("expected {awaited}, found {source}")]
    Control {
        /// The frame or event that was awaited.
        awaited: Awaited,
        /// The error in it.
        source: ControlError,
    },
    /// A control frame arrived out of order.
    #[error("expected {awaited}, found {found}")]
    OutOfPlace {
        /// The frame or event that was awaited.
        awaited: Awaited,
        /// The frame that arrived.
        found: ControlKind,
    },
    /// Too many control frames of unknown types arrived.
    #[error("expected {0}, found only control frames of unknown types")]
    OnlyUnknownFrames(Awaited),
    /// The peer uses Frame Streams with another content type.
    #[error("the peer's content type is {}, but tapfan supports only \"protobuf:dnstap.Dnstap\"", quoted(.0))]
    ContentType(Vec<Bytes>),
    /// The connection failed.
    #[error("the connection failed while tapfan waited for {awaited}: {source}")]
    Io {
        /// The frame or event that was awaited.
        awaited: Awaited,
        /// The error of the operating system or of TLS.
        source: io::Error,
    },
}

/// The frame or event that a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// A sender's first frame.
    Opening,
    /// START, after ACCEPT.
    Start,
    /// A collector's answer to READY.
    Accept,
    /// The rest of ACCEPT, after its first bytes.
    RestOfAccept,
    /// Room in the send buffer for a control frame. The buffer is full if the peer does not read.
    Room(ControlKind),
}

/// The probable protocol of a peer that does not use Frame Streams, judged by its first four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LooksLike {
    /// A TLS record. It is a `ClientHello` to a listener without TLS, or the alert of a TLS collector to which tapfan
    /// connected without TLS.
    Tls,
    /// An HTTP request or response.
    Http,
    /// SSH.
    Ssh,
    /// The PROXY header of a load balancer.
    ProxyProtocol,
    /// A control frame of Frame Streams, although TLS was expected.
    FrameStreams,
    /// A message of `PowerDNS`'s own protobuf logger: a length of two bytes, followed by a message that begins with its
    /// type.
    PowerDns,
    /// A data frame of this many bytes.
    Data(u32),
    /// An unknown protocol.
    Unknown([u8; 4]),
}

/// The shortest length of `PowerDNS` messages. They contain an identifier of 16 bytes.
const SHORTEST_POWERDNS: u16 = 20;

/// Quotes content types for the log. They are escaped, because the peer chose the bytes.
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
            Self::RestOfAccept => f.write_str("the rest of ACCEPT"),
            Self::Room(kind) => write!(f, "room to write {kind}"),
        }
    }
}

// === impl LooksLike ===

impl LooksLike {
    pub(crate) fn from_first_bytes(bytes: [u8; 4]) -> Self {
        match &bytes {
            [0, 0, 0, 0] => Self::FrameStreams,
            // `PowerDNS` writes two bytes of length, and then a message that begins with field 1, `type`, which is a
            // number from 1 to 4. These four bytes cannot be the length of a data frame, because that length would be
            // more than 1 MiB.
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
                // No sender sends longer frames, so a larger number is probably not a length, but text.
                length @ 1..=LONGEST_FRAME => Self::Data(length),
                _ => Self::Unknown(bytes),
            },
        }
    }

    /// Returns a hint to append to the error. If tapfan waited for ACCEPT or for room in the send buffer, the peer is a
    /// collector. In all other cases, the peer is a sender.
    fn hint(self, awaited: Awaited) -> &'static str {
        let of_collector = matches!(awaited, Awaited::Accept | Awaited::Room(_));
        match (self, of_collector) {
            (Self::Tls, true) => "; the peer uses TLS on this port: write tls:// instead of tcp://",
            (Self::Tls, false) => {
                "; the sender uses TLS but this listener does not: turn off TLS at the sender, or give this listener an address with `tls://`"
            }
            (Self::Http, true) => "; a web server listens on this port: which port is for dnstap?",
            (Self::Http, false) => {
                "; this listener accepts only dnstap: point browsers, Prometheus and health checks to the address of `admin` or `probes`"
            }
            (Self::PowerDns, _) => {
                "; use PowerDNS's dnstap logger instead: newFrameStreamTcpLogger or newFrameStreamUnixLogger in dnsdist, dnstapFrameStreamServers in the Recursor"
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
                f.write_str("a PROXY header: turn off the PROXY protocol at the load balancer")
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
