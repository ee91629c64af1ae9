//! The progress of a batch.

use super::Drops;

/// The frames of a batch that were written or dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Frames that the operating system accepted completely.
    pub frames: usize,
    /// Their bytes on the wire, after the sink's edits.
    pub bytes: u64,
    /// Frames that the sink dropped. They were between the written frames or directly after them, and `frames` does not
    /// count them.
    pub dropped: Drops,
    /// True if the connection died in the middle of the next frame.
    pub cut: bool,
}

// === impl Progress ===

impl Progress {
    /// The number of frames that were written or dropped.
    pub(crate) fn frames_done(&self) -> usize {
        let dropped = usize::try_from(self.dropped.total()).unwrap_or(usize::MAX);
        self.frames.saturating_add(dropped)
    }
}
