//! The kinds of connection failures. The log uses them to recognise a repeated failure: two failures are of the same
//! kind if their texts differ only in details such as a time, a port or a count.

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
    pub(super) fn kind(&self) -> FailureKind {
        let cause = match &self.cause {
            ConnectCause::Resolve(error) => kind_of_lookup(error),
            ConnectCause::Dial(error) | ConnectCause::Tls(error) => of_io(error),
            ConnectCause::Handshake(error) => of_handshake(error),
            ConnectCause::File(error) => of_file(error),
            cause => FailureKind::of(discriminant(cause)),
        };
        FailureKind::of((self.stage, cause))
    }
}

/// The kind of a failed lookup. Error answers of name servers are distinguished by their response code.
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

/// The kind of an error of a file. The names of the files differ from attempt to attempt.
fn of_file(error: &FileError) -> FailureKind {
    match error {
        FileError::Io { doing, source, .. } => FailureKind::of((doing, of_io(source))),
        error => FailureKind::of(discriminant(error)),
    }
}

/// The kind of an I/O error. The error can wrap an error of TLS.
fn of_io(error: &io::Error) -> FailureKind {
    match net::tls_failure_kind(error) {
        Some(kind) => FailureKind::of(kind),
        None => FailureKind::of((error.kind(), error.raw_os_error())),
    }
}
