//! The kind of a failure: equal for failures that differ only in words, such as a clock, a port or a count in them.

use std::{
    io,
    mem::{Discriminant, discriminant},
};

use hickory_resolver::net::NetError;

use super::{ConnectCause, ConnectError, Stage};
use crate::{
    frame_stream::{ControlError, ControlKind, HandshakeError, LooksLike},
    net::ResolveError,
};

/// The kind of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) struct FailureKind {
    stage: Stage,
    cause: CauseKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum CauseKind {
    Resolve(ResolveKind),
    Io(IoKind),
    Handshake(Discriminant<HandshakeError>, Found),
    OwnListener,
    Timeout,
}

/// The kind of a failed look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) enum ResolveKind {
    /// The name servers' response code, in words.
    Code(String),
    Unreachable(Discriminant<NetError>, Option<IoKind>),
    Other(Discriminant<ResolveError>),
}

/// The kind of what came in the place of what was awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Nothing,
    Bytes(Discriminant<LooksLike>),
    Broken(Discriminant<ControlError>),
    Control(ControlKind),
    Io(IoKind),
}

/// The kind of an I/O error, with what TLS says if it is TLS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink) enum IoKind {
    System(io::ErrorKind, Option<i32>),
    Certificate(Discriminant<rustls::CertificateError>),
    Webpki(Discriminant<webpki::Error>),
    Alert(rustls::AlertDescription),
    Tls(Discriminant<rustls::Error>),
}

// === impl FailureKind ===

impl FailureKind {
    pub(in crate::sink) fn of(error: &ConnectError) -> Self {
        let cause = match &error.cause {
            ConnectCause::Resolve(error) => CauseKind::Resolve(ResolveKind::of(error)),
            ConnectCause::Dial(error) | ConnectCause::Tls(error) => {
                CauseKind::Io(IoKind::of(error))
            }
            ConnectCause::Handshake(error) => {
                CauseKind::Handshake(discriminant(error), Found::of(error))
            }
            ConnectCause::OwnListener(_) => CauseKind::OwnListener,
            ConnectCause::Timeout(_) => CauseKind::Timeout,
        };
        let stage = error.stage;
        Self { stage, cause }
    }
}

// === impl ResolveKind ===

impl ResolveKind {
    pub(in crate::sink) fn of(error: &ResolveError) -> Self {
        match error {
            ResolveError::ServerFailure { code, .. } => Self::Code(code.clone()),
            ResolveError::Unreachable { source, .. } => {
                let io = match source {
                    NetError::Io(error) => Some(IoKind::of(error)),
                    _ => None,
                };
                Self::Unreachable(discriminant(source), io)
            }
            error => Self::Other(discriminant(error)),
        }
    }
}

// === impl Found ===

impl Found {
    fn of(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::NotFrameStreams { found, .. } => Self::Bytes(discriminant(found)),
            HandshakeError::Control { source, .. } => Self::Broken(discriminant(source)),
            HandshakeError::OutOfPlace { found, .. } => Self::Control(*found),
            HandshakeError::Io { source, .. } => Self::Io(IoKind::of(source)),
            _ => Self::Nothing,
        }
    }
}

// === impl IoKind ===

impl IoKind {
    fn of(error: &io::Error) -> Self {
        use rustls::{CertificateError, Error, OtherError};
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            None => Self::System(error.kind(), error.raw_os_error()),
            Some(Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(Error::InvalidCertificate(why)) => match why {
                CertificateError::Other(OtherError(other)) => other
                    .downcast_ref()
                    .map_or(Self::Certificate(discriminant(why)), |error| {
                        Self::Webpki(discriminant(error))
                    }),
                why => Self::Certificate(discriminant(why)),
            },
            Some(error) => Self::Tls(discriminant(error)),
        }
    }
}
