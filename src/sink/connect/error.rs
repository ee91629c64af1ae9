//! The errors of a connection attempt, with texts for operators.

use std::{io, sync::Arc, time::Duration};

#[cfg(feature = "kafka")]
use crate::sink::KafkaError;
use crate::{
    frame_stream::HandshakeError,
    health::{FailedAttempt, Stage},
    net::{self, ResolveError, TlsWords},
    sink::FileError,
};

#[derive(Debug, thiserror::Error)]
#[error("{stage} {endpoint}: {}", self.sentence())]
pub(crate) struct ConnectError {
    /// The stage that failed.
    pub stage: Stage,
    /// The address or name that was tried.
    pub endpoint: String,
    /// The cause.
    #[source]
    pub cause: ConnectCause,
    /// The number of other addresses of the name that also failed.
    pub others: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectCause {
    /// The lookup of the name failed.
    #[error(transparent)]
    Resolve(Arc<ResolveError>),
    #[error("{0}{hint}", hint = dial_hint(.0))]
    Dial(io::Error),
    #[error("{}", net::client_failure(.0, *.1))]
    Tls(io::Error, TlsWords),
    /// The Frame Streams handshake failed.
    #[error("{0}{hint}", hint = handshake_hint(.0, *.1))]
    Handshake(HandshakeError, TlsWords),
    /// A file cannot be opened.
    #[error(transparent)]
    File(FileError),
    /// A broker cannot be used.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(KafkaError),
    /// The address leads to a listener of this router.
    #[error(
        "the address leads to this router's own listener {0}, so frames would loop forever; no frame is sent there; write the collector's address instead"
    )]
    OwnListener(Arc<str>),
    /// The collector did not answer within this time.
    #[error("no answer for {0:?}")]
    Timeout(Duration),
}

// === impl ConnectError ===

impl ConnectError {
    /// Returns the text of the cause, without the stage and the endpoint.
    pub(crate) fn sentence(&self) -> String {
        let Self { cause, others, .. } = self;
        match others {
            0 => cause.to_string(),
            1 => format!("{cause}; another address failed, too"),
            others => format!("{cause}; {others} other addresses failed, too"),
        }
    }

    /// Picks the error to report. `errors` has one error for each address; the first one belongs to the preferred
    /// address.
    ///
    /// Reports an error of the furthest stage, because a wrong certificate says more than a closed port. If several
    /// errors have this stage, an answer with an error is preferred over a timeout. If several errors are still left,
    /// the error of the preferred address is reported, so that the text stays the same during an outage.
    pub(in crate::sink) fn most_telling(errors: Vec<Self>) -> Option<Self> {
        let others = errors.len().saturating_sub(1);
        let tells = |error: &Self| (error.stage, !error.cause.is_silence());
        // `max_by_key` returns the last of several maxima. Because of `rev`, this is the first of them in the original
        // order.
        let error = errors.into_iter().rev().max_by_key(tells);
        error.map(|error| Self { others, ..error })
    }

    /// Returns the error in the form in which an event contains it.
    pub(in crate::sink) fn as_failed(&self) -> FailedAttempt<'_> {
        FailedAttempt {
            stage: self.stage,
            endpoint: &self.endpoint,
            cause: self.sentence(),
            kind: self.kind(),
            is_own_listener: self.is_own_listener(),
        }
    }

    /// Returns whether the attempt failed because the address leads to a listener of this router.
    pub(in crate::sink) fn is_own_listener(&self) -> bool {
        matches!(self.cause, ConnectCause::OwnListener(_))
    }

    /// Returns the shortest delay before the next attempt. The delay is longer for files: if a file cannot be opened
    /// now, it probably cannot be opened a few milliseconds later. It is also longer for errors of brokers that an operator
    /// must correct.
    pub(in crate::sink) fn least_delay(&self) -> Duration {
        match self.cause {
            ConnectCause::File(_) => Duration::from_millis(500),
            #[cfg(feature = "kafka")]
            ConnectCause::Kafka(ref error) => error.least_delay(),
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn new(stage: Stage, endpoint: &str, cause: ConnectCause) -> Self {
        Self {
            stage,
            endpoint: endpoint.to_owned(),
            cause,
            others: 0,
        }
    }
}

// === impl ConnectCause ===

impl ConnectCause {
    /// Returns whether the collector did not answer at all.
    fn is_silence(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Handshake(HandshakeError::Timeout { .. }, _) => true,
            Self::Dial(error) => matches!(
                error.kind(),
                io::ErrorKind::TimedOut
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            ),
            Self::Resolve(_)
            | Self::OwnListener(_)
            | Self::Tls(..)
            | Self::Handshake(..)
            | Self::File(_) => false,
            #[cfg(feature = "kafka")]
            Self::Kafka(error) => error.is_of_network(),
        }
    }
}

fn dial_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the collector running, and listening there?",
        io::ErrorKind::NotFound => {
            "; the collector creates this socket when it starts: is it running?"
        }
        io::ErrorKind::PermissionDenied => {
            "; does this user have write permission for the collector's socket?"
        }
        io::ErrorKind::WouldBlock => {
            "; the collector's backlog is full, because it does not accept connections"
        }
        _ => "",
    }
}

/// Returns the hint for a failed Frame Streams handshake. A wrong client certificate can be the reason, because in TLS
/// 1.3 a collector refuses a client certificate only after the TLS handshake.
fn handshake_hint(error: &HandshakeError, words: TlsWords) -> String {
    match error {
        HandshakeError::Io { source, .. } => net::client_hint(source, words),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame_stream::{Awaited, LooksLike};

    fn dial(kind: io::ErrorKind) -> (Stage, ConnectCause) {
        (Stage::Connect, ConnectCause::Dial(kind.into()))
    }

    fn silence(stage: Stage) -> (Stage, ConnectCause) {
        (stage, ConnectCause::Timeout(Duration::from_secs(4)))
    }

    fn http() -> (Stage, ConnectCause) {
        let (awaited, found) = (Awaited::Accept, LooksLike::Http);
        let error = HandshakeError::NotFrameStreams { awaited, found };
        let cause = ConnectCause::Handshake(error, TlsWords::default());
        (Stage::Handshake, cause)
    }

    /// Returns the index of the error that is reported, and the number of other addresses that its text mentions.
    fn reported(errors: Vec<(Stage, ConnectCause)>) -> Option<(String, usize)> {
        let errors = errors.into_iter().enumerate();
        let errors = errors
            .map(|(place, (stage, cause))| ConnectError::new(stage, &place.to_string(), cause));
        let error = ConnectError::most_telling(errors.collect())?;
        Some((error.endpoint, error.others))
    }

    #[test]
    fn the_furthest_answered_attempt_is_reported() {
        let refused = || dial(io::ErrorKind::ConnectionRefused);
        let unreachable = || dial(io::ErrorKind::NetworkUnreachable);
        let is = |place: &str, others| Some((place.to_owned(), others));
        assert_eq!(reported(vec![]), None);
        assert_eq!(reported(vec![refused()]), is("0", 0));
        assert_eq!(reported(vec![refused(), refused()]), is("0", 1));
        assert_eq!(reported(vec![unreachable(), refused()]), is("1", 1));
        let errors = vec![silence(Stage::Connect), refused(), refused()];
        assert_eq!(reported(errors), is("1", 2));
        let errors = vec![refused(), silence(Stage::Tls), refused()];
        assert_eq!(reported(errors), is("1", 2));
        let errors = vec![refused(), silence(Stage::Handshake), http(), http()];
        assert_eq!(reported(errors), is("2", 3));
    }

    #[test]
    fn the_sentence_counts_the_other_addresses() {
        let sentence = |others| {
            let (stage, cause) = silence(Stage::Tls);
            let error = ConnectError::new(stage, "tls://192.0.2.1:6000", cause);
            ConnectError { others, ..error }.to_string()
        };
        insta::assert_snapshot!(sentence(0), @"TLS tls://192.0.2.1:6000: no answer for 4s");
        insta::assert_snapshot!(sentence(1), @"TLS tls://192.0.2.1:6000: no answer for 4s; another address failed, too");
        insta::assert_snapshot!(sentence(2), @"TLS tls://192.0.2.1:6000: no answer for 4s; 2 other addresses failed, too");
    }
}
