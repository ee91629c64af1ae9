//! A chunk in a queue.

use super::amount::Amount;
use crate::frame_stream::Chunk;

/// A chunk that a queue holds, waiting or in flight.
pub(super) struct Held {
    pub(super) chunk: Chunk,
    /// The number of its first frame among all that the queue has taken in.
    pub(super) place: u64,
    /// How often a connection died in the middle of its first frame.
    pub(super) cuts: u32,
    /// The bytes of memory that it accounts for. One of several parts of a chunk bears the fixed cost.
    bytes: usize,
}

// === impl Held ===

impl Held {
    pub(super) fn new(chunk: Chunk, place: u64) -> Self {
        Self {
            bytes: chunk.footprint(),
            chunk,
            place,
            cuts: 0,
        }
    }

    pub(super) fn amount(&self) -> Amount {
        Amount {
            frames: self.chunk.len(),
            bytes: self.bytes,
        }
    }

    /// Takes the first `frames` frames off, or all if there are fewer. The two amounts are together what it was.
    pub(super) fn split_to(&mut self, frames: usize) -> Self {
        let head = self.chunk.split_to(frames);
        let (place, cuts) = (self.place, self.cuts);
        if self.chunk.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            return Self {
                chunk: head,
                place,
                cuts,
                bytes,
            };
        }
        let bytes = head.content();
        self.bytes -= bytes;
        self.place += head.len() as u64;
        // It begins with another frame now.
        self.cuts = 0;
        Self {
            chunk: head,
            place,
            cuts,
            bytes,
        }
    }

    /// The number of its first frames that stay if so much of its end is given up.
    pub(super) fn kept_without(&self, excess: Amount) -> usize {
        let bytes = self.chunk.footprint().saturating_sub(excess.bytes);
        let frames = self.chunk.len().saturating_sub(excess.frames);
        frames.min(self.chunk.frames_within(bytes))
    }

    /// Keeps the first `frames` frames only, and says what the others were.
    pub(super) fn truncate(&mut self, frames: usize) -> Amount {
        let before = self.amount();
        let mut rest = self.chunk.clone();
        let head = rest.split_to(frames);
        self.bytes -= rest.content();
        // The memory of the others is let go of, too.
        self.chunk = head.compact_if_sparse();
        before.without(self.amount())
    }
}
