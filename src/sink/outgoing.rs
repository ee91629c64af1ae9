//! What travels through a sink's stack: the requests, and the error.

use std::sync::Arc;

use crate::{
    frame_stream::Batch,
    health::Disconnect,
    router::{Progress, Taken},
};

/// What a sink's stack is asked to do by its driver.
#[derive(Debug)]
pub enum Request {
    /// Write these, and settle them.
    Frames(Taken),
    /// End the stream: STOP, and await FINISH.
    Finish,
}

/// What the layers below the ledger are asked to do.
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
    /// What went out before it failed.
    pub progress: Progress,
    /// What ended the connection.
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
