//! A chunk in a queue.

use std::ops::Range;

use super::amount::Amount;
use crate::frame_stream::Chunk;

/// A chunk that is in a queue, either waiting or in flight.
pub(super) struct Held {
    pub(super) chunk: Chunk,
    /// The position of the first frame of the chunk. The frames that are offered to a queue are numbered, and the
    /// position is this number.
    pub(super) position: u64,
    /// The number of connections that died while they were writing the first frame of the chunk.
    pub(super) cuts: u32,
    /// True if a connection has already written the frames of this chunk, but ended before they were confirmed.
    pub(super) written_before: bool,
    /// The number of the chunk's first frame in the spool; `None` if the frames are only in memory.
    pub(super) number: Option<u64>,
    /// The memory that the ledger counts for this chunk, in bytes. If the chunk is split, its fixed cost counts for one
    /// of the two parts only.
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
            number: None,
        }
    }

    /// Returns the position after the last frame of the chunk.
    pub(super) fn end(&self) -> u64 {
        self.position + self.chunk.len() as u64
    }

    pub(super) fn positions(&self) -> Range<u64> {
        self.position..self.end()
    }

    /// Returns the numbers of the chunk's frames in the spool. The range is empty if they are only in memory.
    pub(super) fn numbers(&self) -> Range<u64> {
        let length = self.chunk.len() as u64;
        self.number.map_or(0..0, |first| first..first + length)
    }

    pub(super) fn amount(&self) -> Amount {
        Amount {
            frames: self.chunk.len(),
            bytes: self.bytes,
        }
    }

    /// Splits off and returns the first `frames` frames, or all frames if the chunk has fewer. The amounts of the two
    /// parts add up to the amount of the whole chunk.
    pub(super) fn split_to(&mut self, frames: usize) -> Self {
        let chunk = self.chunk.split_to(frames);
        let whole = self.chunk.is_empty();
        let head = Self {
            bytes: if whole { self.bytes } else { chunk.content() },
            chunk,
            ..*self
        };
        self.bytes -= head.bytes;
        let frames = head.chunk.len() as u64;
        self.position += frames;
        self.number = self.number.map(|number| number + frames);
        // The rest of the chunk has a new first frame. No connection has died while it was writing this frame.
        self.cuts = 0;
        head
    }

    /// Returns the number of frames that stay if `excess` is dropped from the end of the chunk.
    pub(super) fn kept_without(&self, excess: Amount) -> usize {
        let bytes = self.chunk.footprint().saturating_sub(excess.bytes);
        let frames = self.chunk.len().saturating_sub(excess.frames);
        frames.min(self.chunk.frames_within(bytes))
    }

    /// Keeps only the first `frames` frames. Returns the amount of the frames that were dropped.
    pub(super) fn truncate(&mut self, frames: usize) -> Amount {
        let before = self.amount();
        let mut rest = self.chunk.clone();
        let head = rest.split_to(frames);
        self.bytes -= rest.content();
        // Without the copy, the buffer of the chunk could keep the dropped frames in memory.
        self.chunk = head.compact_if_sparse();
        before.without(self.amount())
    }
}
