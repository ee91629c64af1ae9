//! A chunk in a queue.

use super::amount::Amount;
use crate::frame_stream::Chunk;

/// A chunk that a queue holds, waiting or in flight.
pub(super) struct Held {
    pub(super) chunk: Chunk,
    /// The number of its first frame, counted over all frames that the queue was offered.
    pub(super) position: u64,
    /// The number of connections that died in the middle of its first frame.
    pub(super) cuts: u32,
    /// The bytes of memory that it accounts for. If a chunk is split, one of the parts bears the fixed cost.
    bytes: usize,
}

// === impl Held ===

impl Held {
    pub(super) fn new(chunk: Chunk, position: u64) -> Self {
        Self {
            bytes: chunk.footprint(),
            chunk,
            position,
            cuts: 0,
        }
    }

    pub(super) fn amount(&self) -> Amount {
        Amount {
            frames: self.chunk.len(),
            bytes: self.bytes,
        }
    }

    /// Splits the first `frames` frames off, or all if there are fewer. The amounts of the two parts add up to the whole.
    pub(super) fn split_to(&mut self, frames: usize) -> Self {
        let head = self.chunk.split_to(frames);
        let (position, cuts) = (self.position, self.cuts);
        if self.chunk.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            return Self {
                chunk: head,
                position,
                cuts,
                bytes,
            };
        }
        let bytes = head.content();
        self.bytes -= bytes;
        self.position += head.len() as u64;
        // No connection has died in its new first frame.
        self.cuts = 0;
        Self {
            chunk: head,
            position,
            cuts,
            bytes,
        }
    }

    /// The number of its first frames that stay if `excess` is dropped from its end.
    pub(super) fn kept_without(&self, excess: Amount) -> usize {
        let bytes = self.chunk.footprint().saturating_sub(excess.bytes);
        let frames = self.chunk.len().saturating_sub(excess.frames);
        frames.min(self.chunk.frames_within(bytes))
    }

    /// Keeps the first `frames` frames only. Returns the amount of the others.
    pub(super) fn truncate(&mut self, frames: usize) -> Amount {
        let before = self.amount();
        let mut rest = self.chunk.clone();
        let head = rest.split_to(frames);
        self.bytes -= rest.content();
        // Otherwise the dropped frames would stay in memory for as long as the chunk does.
        self.chunk = head.compact_if_sparse();
        before.without(self.amount())
    }
}
