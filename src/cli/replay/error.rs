//! The reasons why a replay fails.

use std::io;

use super::args::DEADLINE;
use crate::{
    frame_stream::{ControlError, FileError, HandshakeError},
    net::{self, ResolveError, TlsError, TlsWords},
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
    #[error("cannot connect to {to}: {}", dial_failure(.to, .source))]
    Dial {
        /// The address.
        to: String,
        /// The error for the last address that was tried.
        source: io::Error,
    },
    /// The listener does not speak Frame Streams, or refuses the connection.
    #[error("{source}{}", handshake_hint(.source, *.may_need_tls))]
    Handshake {
        /// The error of the handshake.
        source: HandshakeError,
        /// True if the connection uses TCP without TLS.
        may_need_tls: bool,
    },
    /// A write failed.
    #[error(
        "the connection broke: {0}; if the listener closed it, the log of the listener says why"
    )]
    Write(io::Error),
    /// A step took too long.
    #[error("the listener did not {step} within {DEADLINE:?}", step = .0)]
    Silent(&'static str),
    /// The TLS handshake took too long. A peer without TLS may take the handshake for the start of a frame, and wait
    /// for the rest.
    #[error("the listener did not complete the TLS handshake within {DEADLINE:?}{WITHOUT_TLS}")]
    SilentTls,
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
    /// The handlers of signals could not be installed.
    #[error("cannot install signal handlers: {0}")]
    Signals(io::Error),
    /// A connection's task failed.
    #[error("a connection failed because of a bug in tapfan; please report it")]
    Fault,
}

const WITHOUT_TLS: &str =
    "; does the listener speak TLS? For a listener without TLS, write `--to tcp://`";

/// Returns the text of an error that occurred before the Frame Streams handshake, with a hint.
fn dial_failure(to: &str, error: &io::Error) -> String {
    if to.starts_with("tls") && is_answer_without_tls(error) {
        return format!("{error}{WITHOUT_TLS}");
    }
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the listener running?",
        io::ErrorKind::NotFound => "; the listener makes this socket: is it running?",
        io::ErrorKind::PermissionDenied => "; may this user write to the socket?",
        _ => return net::client_failure(error, TlsWords::OPTIONS),
    };
    format!("{error}{hint}")
}

/// Returns the hint for a failed Frame Streams handshake. A listener with TLS may take READY for the start of a TLS
/// handshake, and wait for the rest.
fn handshake_hint(error: &HandshakeError, may_need_tls: bool) -> String {
    const UNIDIRECTIONAL: &str = "; if the listener never answers READY, use `--unidirectional`";
    match error {
        HandshakeError::Timeout { .. } if may_need_tls => {
            format!("{UNIDIRECTIONAL}; if it speaks TLS, write `--to tls://`")
        }
        HandshakeError::Io { source, .. } => {
            let hint = net::client_hint(source, TlsWords::OPTIONS);
            format!("{hint}{UNIDIRECTIONAL}")
        }
        _ => UNIDIRECTIONAL.to_owned(),
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
    use crate::frame_stream::Awaited;

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
            assert!(dial_failure("tls://c.example:1", &error).contains("speak TLS?"));
        }
        let [_, reset, end] = errors();
        for error in [reset, end] {
            assert!(!dial_failure("tcp://c.example:1", &error).contains("speak TLS?"));
        }
    }

    #[test]
    fn a_listener_that_does_not_answer_gets_a_hint() {
        let silent = |may_need_tls| {
            let source = HandshakeError::Timeout {
                awaited: Awaited::Accept,
                deadline: DEADLINE,
            };
            ReplayError::Handshake {
                source,
                may_need_tls,
            }
            .to_string()
        };
        insta::assert_snapshot!(silent(true), @"the handshake took longer than 30s, waiting for ACCEPT; if the listener never answers READY, use `--unidirectional`; if it speaks TLS, write `--to tls://`");
        insta::assert_snapshot!(silent(false), @"the handshake took longer than 30s, waiting for ACCEPT; if the listener never answers READY, use `--unidirectional`");
        insta::assert_snapshot!(ReplayError::SilentTls, @"the listener did not complete the TLS handshake within 30s; does the listener speak TLS? For a listener without TLS, write `--to tcp://`");
    }

    #[test]
    fn errors_of_certificates_name_the_options_of_the_command() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let unknown = io::Error::new(io::ErrorKind::InvalidData, unknown);
        insta::assert_snapshot!(dial_failure("tls://c.example:1", &unknown), @"invalid peer certificate: UnknownIssuer; set `--ca` to the authority that issued the certificate, or read about `--skip-verify`");
    }
}
