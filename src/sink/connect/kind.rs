//! The kinds of connection failures. The log uses them to recognise a repeated failure: two failures are of the same
//! kind if their texts differ only in details such as a time, a port or a count.

use std::{io, mem::discriminant};

use hickory_resolver::net::NetError;

use super::{ConnectCause, ConnectError};
use crate::{frame_stream::HandshakeError, health::FailureKind, net::ResolveError};

// === impl ConnectError ===

impl ConnectError {
    pub(super) fn kind(&self) -> FailureKind {
        let cause = match &self.cause {
            ConnectCause::Resolve(error) => kind_of_lookup(error),
            ConnectCause::Dial(error) | ConnectCause::Tls(error) => of_io(error),
            ConnectCause::Handshake(error) => of_handshake(error),
            cause => FailureKind::of(discriminant(cause)),
        };
        FailureKind::of((self.stage, cause))
    }
}

/// The kind of a failed lookup. Error answers of name servers are distinguished by their response code.
pub(in crate::sink) fn kind_of_lookup(error: &ResolveError) -> FailureKind {
    match error {
        ResolveError::ServerFailure { code, .. } => FailureKind::of(code),
        ResolveError::Unreachable { source, .. } => match source {
            NetError::Io(error) => of_io(error),
            source => FailureKind::of(discriminant(source)),
        },
        error => FailureKind::of(discriminant(error)),
    }
}

fn of_handshake(error: &HandshakeError) -> FailureKind {
    let found = match error {
        HandshakeError::NotFrameStreams { found, .. } => FailureKind::of(discriminant(found)),
        HandshakeError::Control { source, .. } => FailureKind::of(discriminant(source)),
        HandshakeError::OutOfPlace { found, .. } => FailureKind::of(discriminant(found)),
        HandshakeError::Io { source, .. } => of_io(source),
        _ => FailureKind::of(()),
    };
    FailureKind::of((discriminant(error), found))
}

/// The kind of an I/O error. The error can wrap an error of rustls, and that can wrap an error of webpki.
fn of_io(error: &io::Error) -> FailureKind {
    use rustls::{CertificateError, Error, OtherError};
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        None => FailureKind::of((error.kind(), error.raw_os_error())),
        Some(Error::AlertReceived(alert)) => FailureKind::of(("alert", u8::from(*alert))),
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::Other(OtherError(other)) => {
                other.downcast_ref::<webpki::Error>().map_or(
                    FailureKind::of(("certificate", discriminant(why))),
                    |error| FailureKind::of(("webpki", discriminant(error))),
                )
            }
            why => FailureKind::of(("certificate", discriminant(why))),
        },
        Some(error) => FailureKind::of(("TLS", discriminant(error))),
    }
}
