//! The end of a link, and its reason.

use std::sync::{Arc, OnceLock};

use super::{Kafka, KafkaError, Session, lookup::refused};
use crate::{
    health::Disconnect,
    sink::{ConnectError, LastAttempt, SinkError},
};

/// The reason why a link has ended. Empty as long as it works.
#[derive(Debug, Default)]
pub(super) struct Life(OnceLock<SinkError>);

/// A guard that ends the link when its task ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) life: Arc<Life>,
    pub(super) session: Session,
}

/// The reason why a link ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// No batch can be stored until an operator changes something.
    Denied(KafkaError),
    /// There is no connection to any leader.
    Lost(Box<ConnectError>),
}

// === impl End ===

impl Drop for End {
    fn drop(&mut self) {
        self.life.end(Disconnect::Aborted);
        self.session.wake();
    }
}

// === impl Life ===

impl Life {
    /// Returns the reason why the link has ended.
    pub(super) fn ended(&self) -> Option<SinkError> {
        self.0.get().cloned()
    }

    /// Ends the link for `cause`, unless it has already ended. Returns the first cause.
    pub(super) fn end(&self, cause: impl Into<SinkError>) -> SinkError {
        self.0.get_or_init(|| cause.into()).clone()
    }
}

// === impl Stop ===

impl Stop {
    /// Returns the error of the connection. `is_reported` is true if the sink was reported as down already.
    pub(super) fn into_error(self, kafka: &Kafka, is_reported: bool) -> SinkError {
        let error = match self {
            Self::Denied(error) if is_reported => refused(kafka, error),
            Self::Denied(error) => return Disconnect::Broker(Box::new(error)).into(),
            Self::Lost(error) => *error,
        };
        let error = Arc::new(error);
        SinkError {
            attempt: Some(LastAttempt {
                error: Arc::clone(&error),
                is_reported,
            }),
            ..Disconnect::BrokerLost(Box::new(error)).into()
        }
    }
}
