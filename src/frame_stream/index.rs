//! The index of a chunk: the end and the outline of each frame.

use crate::dnstap::Outline;

/// One frame in the index of a chunk.
///
/// An entry has 7 bytes, because all of its numbers are unaligned arrays; with aligned numbers it would have 8 bytes.
/// The size matters, because the index counts against the bounds of every queue, and many frames are shorter than 100
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    end: [u8; 4],
    outline: Outline,
}

// === impl IndexEntry ===

impl IndexEntry {
    /// Creates the entry of a frame that ends before byte `end` of the chunk's buffer.
    pub(crate) fn new(end: u32, outline: Outline) -> Self {
        Self {
            end: end.to_ne_bytes(),
            outline,
        }
    }

    /// Returns the offset in the chunk's buffer of the first byte after the frame.
    pub(super) fn end(self) -> u32 {
        u32::from_ne_bytes(self.end)
    }

    pub(super) fn outline(self) -> Outline {
        self.outline
    }
}

const _: () = assert!(size_of::<IndexEntry>() == 7);
