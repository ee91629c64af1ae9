//! The reasons why a replay fails.

use std::io;

use super::args::DEADLINE;
use crate::{
    frame_stream::{ControlError, FileError, HandshakeError},
    net::{ResolveError, TlsError},
};

/// The reason why a replay fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// A TLS option was given, but the address does not use TLS.
    #[error("the options of TLS are for `tls://`; remove them, or write `--to tls://host:port`")]
    NotTls,
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The lookup of the listener's name failed.
    #[error("cannot look up the name of the listener: {0}")]
    Resolve(#[from] ResolveError),
    /// The listener cannot be reached.
    #[error("cannot connect to {to}: {source}{hint}", hint = hint(.to, .source))]
    Dial {
        /// The address.
        to: String,
        /// The error for the last address that was tried.
        source: io::Error,
    },
    /// The listener does not speak Frame Streams, or refuses the connection.
    #[error("{0}; if the listener never answers READY, use `--unidirectional`")]
    Handshake(#[from] HandshakeError),
    /// A write failed.
    #[error(
        "the connection broke: {0}; if the listener closed it, the log of the listener says why"
    )]
    Write(io::Error),
    /// A step took too long.
    #[error("the listener did not {step} within {DEADLINE:?}", step = .0)]
    Silent(&'static str),
    /// The stream ended without FINISH.
    #[error("the listener closed without FINISH; it may have lost the last frames")]
    NoFinish,
    /// A second signal arrived before all streams had ended.
    #[error(
        "a second signal ended the replay before its streams had ended cleanly; the listener may have lost the last frames"
    )]
    Aborted,
    /// The listener sent a frame other than FINISH.
    #[error("the listener violated the protocol: {0}")]
    Protocol(#[from] ControlError),
    /// A capture cannot be read to its end.
    #[error("{name}: {source}")]
    Capture {
        /// The name of the capture.
        name: String,
        /// The error.
        source: FileError,
    },
    /// The thread that reads the captures could not be started, or failed.
    #[error("cannot read the captures: {0}")]
    Thread(io::Error),
    /// A connection's task failed.
    #[error("a connection failed because of a bug in tapfan; please report it")]
    Fault,
}

fn hint(to: &str, error: &io::Error) -> &'static str {
    if to.starts_with("tls") && is_answer_without_tls(error) {
        return "; does the listener speak TLS? For a listener without TLS, write `--to tcp://`";
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the listener running?",
        io::ErrorKind::NotFound => "; the listener makes this socket: is it running?",
        io::ErrorKind::PermissionDenied => "; may this user write to the socket?",
        _ => "",
    }
}

/// Returns whether the listener closed the connection during the TLS handshake, or answered something other than TLS.
fn is_answer_without_tls(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidMessage(_)))
        || matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        )
}

#[cfg(test)]
mod tests {
    use rustls::InvalidMessage;

    use super::*;

    #[test]
    fn a_listener_that_does_not_speak_tls_gets_a_hint() {
        let corrupt = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        let errors = || {
            [
                io::Error::new(io::ErrorKind::InvalidData, corrupt.clone()),
                io::ErrorKind::ConnectionReset.into(),
                io::ErrorKind::UnexpectedEof.into(),
            ]
        };
        for error in errors() {
            assert!(hint("tls://c.example:1", &error).contains("speak TLS?"));
        }
        for error in errors() {
            assert_eq!(hint("tcp://c.example:1", &error), "");
        }
    }
}
