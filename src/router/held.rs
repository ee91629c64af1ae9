//! A chunk in a queue.

use super::amount::Amount;
use crate::frame_stream::Chunk;

/// A chunk that a queue holds, waiting or in flight.
pub(super) struct Held {
    pub(super) chunk: Chunk,
    /// The position of its first frame. Each frame that is offered to the queue has the next position.
    pub(super) position: u64,
    /// The number of connections that died in the middle of its first frame.
    pub(super) cuts: u32,
    /// True if a connection has already written the frames of this chunk, but ended before they were confirmed.
    pub(super) written_before: bool,
    /// The bytes of memory that count for it. After a split, the fixed cost of the chunk counts for one of the parts
    /// only.
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
            written_before: false,
        }
    }

    pub(super) fn amount(&self) -> Amount {
        Amount {
            frames: self.chunk.len(),
            bytes: self.bytes,
        }
    }

    /// Splits off and returns the first `frames` frames, or all if there are fewer. The amounts of the two parts add up
    /// to the whole.
    pub(super) fn split_to(&mut self, frames: usize) -> Self {
        let chunk = self.chunk.split_to(frames);
        let whole = self.chunk.is_empty();
        let head = Self {
            bytes: if whole { self.bytes } else { chunk.content() },
            chunk,
            ..*self
        };
        self.bytes -= head.bytes;
        self.position += head.chunk.len() as u64;
        // No connection has died in its new first frame.
        self.cuts = 0;
        head
    }

    /// The number of frames that stay if `excess` is dropped from the end.
    pub(super) fn kept_without(&self, excess: Amount) -> usize {
        let bytes = self.chunk.footprint().saturating_sub(excess.bytes);
        let frames = self.chunk.len().saturating_sub(excess.frames);
        frames.min(self.chunk.frames_within(bytes))
    }

    /// Keeps only the first `frames` frames. Returns the amount that this frees.
    pub(super) fn truncate(&mut self, frames: usize) -> Amount {
        let before = self.amount();
        let mut rest = self.chunk.clone();
        let head = rest.split_to(frames);
        self.bytes -= rest.content();
        // Without the copy, the dropped frames could stay in memory as long as the chunk.
        self.chunk = head.compact_if_sparse();
        before.without(self.amount())
    }
}
