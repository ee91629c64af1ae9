//! The progress of a batch: the frames in flight that are done with.

use super::Drops;

/// The frames in flight that are done with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Frames that were handed whole to the operating system.
    pub frames: usize,
    /// Their bytes on the wire, after the sink's edits.
    pub bytes: u64,
    /// Frames among these, or directly after them, that the sink has dropped instead.
    pub dropped: Drops,
    /// True if the connection died in the middle of the next frame.
    pub cut: bool,
}

// === impl Progress ===

impl Progress {
    /// The number of frames that are done with: written or dropped.
    pub(crate) fn frames_done(&self) -> usize {
        let dropped = usize::try_from(self.dropped.total()).unwrap_or(usize::MAX);
        self.frames.saturating_add(dropped)
    }
}
