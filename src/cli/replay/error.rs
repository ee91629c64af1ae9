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
    #[error("cannot look the listener up: {0}")]
    Resolve(#[from] ResolveError),
    /// The listener cannot be reached.
    #[error("cannot connect to {to}: {source}{hint}", hint = hint(.source))]
    Dial {
        /// The address.
        to: String,
        /// The error for the last address that was tried.
        source: io::Error,
    },
    /// The listener does not speak Frame Streams, or refuses the connection.
    #[error("{0}; a listener that never answers READY needs `--unidirectional`")]
    Handshake(#[from] HandshakeError),
    /// A write failed.
    #[error("the connection broke: {0}; did the listener close it? Its log says why")]
    Write(io::Error),
    /// A step took too long.
    #[error("the listener did not {0} within {DEADLINE:?}")]
    Silent(&'static str),
    /// The stream ended without FINISH.
    #[error("the listener closed without FINISH; it may have lost the last frames")]
    NoFinish,
    /// A second signal arrived before all streams had ended.
    #[error(
        "a second signal ended the replay before its streams; the listener may have lost the last frames"
    )]
    Aborted,
    /// The listener sent a frame other than FINISH.
    #[error("the listener broke the protocol: {0}")]
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

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the listener running?",
        io::ErrorKind::NotFound => "; the listener makes this socket: is it running?",
        io::ErrorKind::PermissionDenied => "; may this user write to the socket?",
        _ => "",
    }
}
