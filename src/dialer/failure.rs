//! Failed attempts to connect to a server, in words for operators.

use std::{fmt, io};

use crate::{
    frame_stream::{Awaited, HandshakeError, LooksLike},
    health::Stage,
    listener::ErrorReason,
    net::{self, DescriptorsShort, TlsWords},
    sink::{ConnectCause, ConnectError, dial},
};

/// The reason why tapfan has no stream from a server.
#[derive(Debug)]
pub(super) enum Failure {
    /// The dial, the TLS handshake or the Frame Streams handshake failed.
    Connect(Stage, ConnectCause),
    /// The connection would use a descriptor that is reserved for the router itself.
    Descriptors(DescriptorsShort),
}

// === impl Failure ===

impl Failure {
    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Connect(stage, _) => *stage,
            Self::Descriptors(_) => Stage::Connect,
        }
    }

    /// Returns the reason that the listener's error counter uses for the failure.
    pub(super) fn reason(&self) -> ErrorReason {
        match self {
            // A sender that closes without sending anything is usually a port probe. Here tapfan has dialled, so the
            // server is not a probe.
            Self::Connect(_, ConnectCause::Handshake(HandshakeError::NothingSent, _)) => {
                ErrorReason::Closed
            }
            Self::Connect(_, ConnectCause::Handshake(error, _)) => error.into(),
            Self::Connect(Stage::Tls, _) => ErrorReason::Tls,
            Self::Connect(..) => ErrorReason::Connect,
            Self::Descriptors(_) => ErrorReason::ConnectionLimit,
        }
    }

    /// Returns whether the address leads to a listener of this router.
    pub(super) fn is_own_listener(&self) -> bool {
        matches!(self, Self::Connect(_, ConnectCause::OwnListener(_)))
    }

    /// Converts the failure to the error that a sink would report for `endpoint`. Its kind lets the log recognise
    /// repeated failures.
    pub(super) fn into_error(self, endpoint: &str) -> ConnectError {
        let (stage, cause) = match self {
            Self::Connect(stage, cause) => (stage, cause),
            Self::Descriptors(error) => {
                (Stage::Connect, ConnectCause::Dial(io::Error::other(error)))
            }
        };
        ConnectError::new(stage, endpoint, cause)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(_, ConnectCause::Dial(error)) => {
                write!(f, "{error}{}", dial_hint(error))
            }
            Self::Connect(_, ConnectCause::Handshake(error, words)) => {
                write_handshake(f, error, *words)
            }
            Self::Connect(_, ConnectCause::OwnListener(listener)) => write!(
                f,
                "the address leads to this router's own listener {listener}; write the address at which the DNS server waits for collectors"
            ),
            Self::Connect(_, cause) => write!(f, "{cause}"),
            Self::Descriptors(error) => write!(f, "{error}"),
        }
    }
}

impl From<dial::Failed> for Failure {
    fn from((stage, cause): dial::Failed) -> Self {
        Self::Connect(stage, cause)
    }
}

impl From<(HandshakeError, TlsWords)> for Failure {
    fn from((error, words): (HandshakeError, TlsWords)) -> Self {
        Self::Connect(Stage::Handshake, ConnectCause::Handshake(error, words))
    }
}

fn dial_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "; is the DNS server running, and does it wait for collectors there (`dnstap listen` in CoreDNS)?"
        }
        io::ErrorKind::NotFound => {
            "; the DNS server creates this socket when it starts: is it running?"
        }
        io::ErrorKind::PermissionDenied => {
            "; does this user have write permission for the DNS server's socket?"
        }
        io::ErrorKind::WouldBlock => {
            "; the DNS server's backlog is full, because it does not accept connections"
        }
        _ => "",
    }
}

fn write_handshake(
    f: &mut fmt::Formatter<'_>,
    error: &HandshakeError,
    words: TlsWords,
) -> fmt::Result {
    match error {
        HandshakeError::NothingSent => f.write_str(
            "the server closed the connection without sending anything; does it use TLS (`connect tls://`), or is this the address of a collector?",
        ),
        HandshakeError::Timeout {
            awaited: Awaited::Opening,
            deadline,
        } => write!(
            f,
            "the server sent nothing for {deadline:?}; does it use TLS (`connect tls://`), or is this the address of a collector?"
        ),
        HandshakeError::NotFrameStreams { awaited, found } => {
            write!(f, "expected {awaited}, found {found}{}", found_hint(*found))
        }
        HandshakeError::Io { source, .. } => {
            write!(f, "{error}{}", net::client_hint(source, words))
        }
        error => write!(f, "{error}"),
    }
}

fn found_hint(found: LooksLike) -> &'static str {
    match found {
        LooksLike::Tls => "; the server uses TLS on this port: write `connect tls://`",
        LooksLike::Http => {
            "; a web server listens on this port: at which port does the DNS server wait for collectors?"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn handshake(error: HandshakeError) -> Failure {
        (error, TlsWords::default()).into()
    }

    #[test]
    fn failures_are_about_a_server_and_not_about_a_sender_or_collector() {
        let opening = Awaited::Opening;
        let found = |found| HandshakeError::NotFrameStreams {
            awaited: opening,
            found,
        };
        let dial =
            |kind: io::ErrorKind| Failure::Connect(Stage::Connect, ConnectCause::Dial(kind.into()));
        let failures = [
            dial(io::ErrorKind::ConnectionRefused),
            dial(io::ErrorKind::NotFound),
            handshake(HandshakeError::NothingSent),
            handshake(HandshakeError::Timeout {
                awaited: opening,
                deadline: Duration::from_secs(10),
            }),
            handshake(found(LooksLike::Http)),
            handshake(found(LooksLike::Tls)),
            handshake(HandshakeError::Closed(Awaited::Start)),
            Failure::Connect(Stage::Connect, ConnectCause::OwnListener("@in".into())),
        ];
        let said = failures.map(|failure| format!("{}: {failure}", failure.reason().label()));
        insta::assert_snapshot!(said.join("\n"));
    }
}
