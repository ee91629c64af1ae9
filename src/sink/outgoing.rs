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

/// A request to the layers below [`Observe`](super::observe::Observe).
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// Write these chunks, in order.
    Frames(Batch),
    /// End the stream: STOP, and await FINISH.
    Finish,
}

/// The reason why a request failed, and the progress that was made before the failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct SinkError {
    /// The frames that were written before the failure.
    pub progress: Progress,
    /// The reason why the connection ended.
    #[source]
    pub cause: Arc<Disconnect>,
}

// === impl SinkError ===

impl From<Arc<Disconnect>> for SinkError {
    /// The error of a connection that ended before any frame of the request was written.
    fn from(cause: Arc<Disconnect>) -> Self {
        Self {
            progress: Progress::default(),
            cause,
        }
    }
}
