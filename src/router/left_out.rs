//! The frames of a batch that the sink leaves out.

use super::DropReason;

/// The frames of a batch that the sink does not send, and the reasons.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOut {
    /// The place of each frame in its batch, and the reason why the sink does not send the frame. The places are in
    /// ascending order.
    frames: Vec<(usize, DropReason)>,
}

// === impl LeftOut ===

impl LeftOut {
    /// Adds the frame at `place`. The caller must add the places in ascending order.
    pub(crate) fn add(&mut self, place: usize, reason: DropReason) {
        debug_assert!(self.frames.last().is_none_or(|(last, _)| *last < place));
        self.frames.push((place, reason));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (usize, DropReason)> {
        self.frames.iter().copied()
    }
}
