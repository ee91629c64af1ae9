//! The requests to a sink's stack, and the error of a request.

use std::sync::Arc;

use super::{ConnectError, Shipment};
use crate::health::Disconnect;

/// A request from the driver to a sink's stack.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Write these frames and settle them.
    Frames(Shipment),
    /// End the stream: send STOP, and wait for FINISH.
    Finish,
}

/// The reason why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct SinkError {
    /// The reason why the connection ended.
    #[source]
    pub cause: Arc<Disconnect>,
    /// The last attempt to connect, if the connection reports its state itself. `None` if no attempt has failed.
    pub attempt: Option<LastAttempt>,
}

/// The failed attempt with which a connection ended.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "kafka"),
    allow(dead_code, reason = "only connections to a topic report their state")
)]
pub(crate) struct LastAttempt {
    pub error: Arc<ConnectError>,
    /// True if the connection has reported that the sink is down, so that its end belongs to the same outage.
    pub is_reported: bool,
}

// === impl SinkError ===

impl From<Arc<Disconnect>> for SinkError {
    fn from(cause: Arc<Disconnect>) -> Self {
        Self {
            cause,
            attempt: None,
        }
    }
}

impl From<Disconnect> for SinkError {
    fn from(cause: Disconnect) -> Self {
        Arc::new(cause).into()
    }
}
