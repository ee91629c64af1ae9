//! The requests that travel through a sink's stack, and their error.

use std::sync::Arc;

use crate::{
    frame_stream::Batch,
    health::Disconnect,
    router::{Progress, Taken},
};

/// A request of the driver to the sink's stack.
#[derive(Debug)]
pub enum Request {
    /// Write these, and settle them.
    Frames(Taken),
    /// End the stream: STOP, and await FINISH.
    Finish,
}

/// A request to the layers below the ledger.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// Write these, in order.
    Frames(Batch),
    /// End the stream: STOP, and await FINISH.
    Finish,
}

/// Why a request was not done whole, and how much of it was.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub struct SinkError {
    /// The part that went out before the failure.
    pub progress: Progress,
    /// The reason for which the connection ended.
    #[source]
    pub cause: Arc<Disconnect>,
}

// === impl SinkError ===

impl From<Arc<Disconnect>> for SinkError {
    /// The connection ended and nothing of the request went out.
    fn from(cause: Arc<Disconnect>) -> Self {
        Self {
            progress: Progress::default(),
            cause,
        }
    }
}
