//! The index of a chunk: the end and the dnstap message type of each frame.

use crate::dnstap::MessageType;

/// One frame in the index of a chunk.
///
/// An entry has 5 bytes, because the end is stored as an unaligned array. With a `u32` for the end, an entry would have
/// 8 bytes. The size matters, because the index counts against the bounds of every queue, and many frames are shorter
/// than 100 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    end: [u8; 4],
    message_type: MessageType,
}

// === impl IndexEntry ===

impl IndexEntry {
    /// Creates the entry of a frame that ends before byte `end` of the chunk's buffer.
    pub(crate) fn new(end: u32, message_type: MessageType) -> Self {
        Self {
            end: end.to_ne_bytes(),
            message_type,
        }
    }

    /// The offset in the chunk's buffer of the first byte after the frame.
    pub(super) fn end(self) -> u32 {
        u32::from_ne_bytes(self.end)
    }

    pub(super) fn message_type(self) -> MessageType {
        self.message_type
    }
}

const _: () = assert!(size_of::<IndexEntry>() == 5);
