//! The requests and the error of a sink's stack.

use std::sync::Arc;

use crate::{
    frame_stream::Batch,
    health::Disconnect,
    router::{Progress, Taken},
};

/// A request from the driver to a sink's stack.
#[derive(Debug)]
pub(crate) enum Request {
    /// Write these frames and settle them.
    Frames(Taken),
    /// End the stream: STOP, and await FINISH.
    Finish,
}

/// A request to the layers below the ledger.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// Write these chunks, in order.
    Frames(Batch),
    /// End the stream: STOP, and await FINISH.
    Finish,
}

/// The reason a request was not completed, and the part that was.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct SinkError {
    /// The frames that went out before the failure.
    pub progress: Progress,
    /// The reason the connection ended.
    #[source]
    pub cause: Arc<Disconnect>,
}

// === impl SinkError ===

impl From<Arc<Disconnect>> for SinkError {
    /// An error for a connection that ended before any of the request went out.
    fn from(cause: Arc<Disconnect>) -> Self {
        Self {
            progress: Progress::default(),
            cause,
        }
    }
}
