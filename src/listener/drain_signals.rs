//! The two signals of a drain.

use tokio_util::sync::CancellationToken;

/// The two signals of a drain, seen by every connection at once. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct DrainSignals {
    /// The drain begins: stop accepting and ask senders to end their streams.
    pub drain: CancellationToken,
    /// The time for the drain is over: read what has arrived and close.
    pub deadline: CancellationToken,
}

// === impl DrainSignals ===

impl DrainSignals {
    /// Signals that follow these, and that can also be raised on their own: for one listener that a reload removes.
    pub(crate) fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            deadline: self.deadline.child_token(),
        }
    }
}
