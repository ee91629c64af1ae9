//! The two signals of a drain.

use tokio_util::sync::CancellationToken;

/// The two signals of a drain, which all connections see. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct DrainSignals {
    /// The drain begins: listeners stop accepting, and senders are asked to end their streams.
    pub drain: CancellationToken,
    /// The drain's deadline has passed: connections read the bytes that have arrived, and close.
    pub deadline: CancellationToken,
}

// === impl DrainSignals ===

impl DrainSignals {
    /// Signals that are raised with these, and can also be raised alone, for a listener that a reload removes.
    pub(crate) fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            deadline: self.deadline.child_token(),
        }
    }
}
