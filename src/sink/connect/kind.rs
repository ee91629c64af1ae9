//! The kinds of connection failures. The log uses the kind to recognise that a failure has happened before. If the
//! texts of two failures differ only in a detail, such as a time, a port or a count, the failures have the same kind.

use std::{io, mem::discriminant};

use super::{ConnectCause, ConnectError};
use crate::{
    frame_stream::HandshakeError,
    health::FailureKind,
    net::{self, ResolveError},
    sink::FileError,
};

// === impl ConnectError ===

impl ConnectError {
    pub(crate) fn kind(&self) -> FailureKind {
        let cause = match &self.cause {
            ConnectCause::Resolve(error) => kind_of_lookup(error),
            ConnectCause::Dial(error) | ConnectCause::Tls(error, _) => of_io(error),
            ConnectCause::Handshake(error, _) => of_handshake(error),
            ConnectCause::File(error) => of_file(error),
            #[cfg(feature = "kafka")]
            ConnectCause::Kafka(error) => error.kind(),
            cause => FailureKind::of(discriminant(cause)),
        };
        FailureKind::of((self.stage, cause))
    }
}

/// Returns the kind of a failed lookup. If a name server answered with an error, the kind contains its response code.
pub(in crate::sink) fn kind_of_lookup(error: &ResolveError) -> FailureKind {
    match error {
        ResolveError::ServerFailure { code, .. } => FailureKind::of(code),
        ResolveError::Unreachable { source, .. } => match source.as_io() {
            Some(error) => of_io(error),
            None => FailureKind::of(source.kind()),
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

/// Returns the kind of an error of a file. The kind does not contain the name of the file, because each attempt opens a
/// file with another name.
fn of_file(error: &FileError) -> FailureKind {
    match error {
        FileError::Io { doing, source, .. } => FailureKind::of((doing, of_io(source))),
        error => FailureKind::of(discriminant(error)),
    }
}

/// Returns the kind of an I/O error. An I/O error can contain an error of TLS.
pub(in crate::sink) fn of_io(error: &io::Error) -> FailureKind {
    match net::tls_failure_kind(error) {
        Some(kind) => FailureKind::of(kind),
        None => FailureKind::of((error.kind(), error.raw_os_error())),
    }
}
