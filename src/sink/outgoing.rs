//! The requests to a sink's stack, and the error of a request.

use std::sync::Arc;

use super::Shipment;
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
}

// === impl SinkError ===

impl From<Arc<Disconnect>> for SinkError {
    fn from(cause: Arc<Disconnect>) -> Self {
        Self { cause }
    }
}
