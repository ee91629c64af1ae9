//! The messages that one thread has sent and that have not left yet.

use std::time::Instant;

use super::encode::{Encoding, Head};
use crate::{
    dnstap::MessageType,
    frame_stream::{Chunk, FrameLabels, IndexEntry},
};

/// Encoded messages that become one chunk.
///
/// A batch that is given away whole gives its buffer to the chunk. One that is given away early is copied into a chunk of
/// the right size, so that a slow thread does not fill the queues with empty buffers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    index: Vec<IndexEntry>,
    labels: Vec<u8>,
    /// The end of each message's part of `labels`. Empty as long as none has metadata.
    label_ends: Vec<u32>,
    /// The time of its first message.
    begun: Option<Instant>,
    /// True once nothing gives batches away any more, so that each message must leave at once.
    pub(super) closed: bool,
}

/// The bytes at which a batch is given away.
const FULL: usize = 64 << 10;

/// The most bytes of a batch that cannot be given away now.
const MOST: usize = 4 * FULL;

/// The bytes of memory that a batch keeps while its thread sends little or nothing.
const SPARE: usize = 4 << 10;

// === impl Batch ===

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns whether a message of this many bytes, with its metadata, fits. Every message fits into an empty batch.
    #[inline]
    pub(super) fn has_room(&self, message: usize) -> bool {
        self.bytes.len() + self.labels.len() + message <= FULL || self.is_empty()
    }

    /// Returns whether a message of this many bytes may be added to a full batch.
    pub(super) fn may_grow(&self, message: usize) -> bool {
        self.bytes.len() + self.labels.len() + message <= MOST
    }

    /// Appends a message, with the bytes of its metadata.
    #[inline]
    pub(super) fn push(
        &mut self,
        head: &Head,
        message_type: MessageType,
        encoding: &Encoding<'_>,
        labels: &[u8],
    ) {
        if self.is_empty() {
            self.begun = Some(Instant::now());
        }
        if !labels.is_empty() || !self.label_ends.is_empty() {
            self.push_labels(labels);
        }
        self.reserve(encoding.frame_length());
        encoding.write(head, &mut self.bytes);
        // A batch has at most 256 KiB, or one frame, whose length is bounded, too.
        #[allow(clippy::cast_possible_truncation)]
        let end = self.bytes.len() as u32;
        self.index.push(IndexEntry::new(end, message_type));
    }

    #[cold]
    fn push_labels(&mut self, labels: &[u8]) {
        // The messages before the first one with metadata have none.
        self.label_ends.resize(self.index.len(), 0);
        self.labels.extend_from_slice(labels);
        // As the end of the frames, below.
        #[allow(clippy::cast_possible_truncation)]
        self.label_ends.push(self.labels.len() as u32);
    }

    /// Makes room for a frame: doubles the buffer, but not beyond what a batch normally has.
    #[inline]
    fn reserve(&mut self, frame: usize) {
        let needed = self.bytes.len() + frame;
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let doubled = (capacity * 2).max(SPARE);
            let capacity = if needed <= FULL {
                doubled.min(FULL)
            } else {
                doubled
            };
            let capacity = capacity.max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// Takes the messages as a chunk; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let begun = self.begun.take()?;
        let index = self.index.as_slice().into();
        self.index.clear();
        let chunk = self.take_frames(index, begun);
        if self.label_ends.is_empty() {
            return Some(chunk);
        }
        let labels = FrameLabels::new(&self.label_ends, &self.labels);
        self.label_ends.clear();
        self.labels.clear();
        Some(chunk.labelled(labels))
    }

    fn take_frames(&mut self, index: Box<[IndexEntry]>, begun: Instant) -> Chunk {
        if self.bytes.len() * 2 < self.bytes.capacity() {
            let bytes = bytes::Bytes::copy_from_slice(&self.bytes);
            self.bytes.clear();
            return Chunk::new(bytes, index, begun);
        }
        let full = self.bytes.len() > FULL / 2;
        let next = Vec::with_capacity(if full { FULL } else { 0 });
        let bytes = std::mem::replace(&mut self.bytes, next);
        Chunk::of_vec(bytes, index, begun)
    }

    /// Gives back most of the memory of a batch that is empty and was when it was last looked at.
    pub(super) fn shrink(&mut self) {
        if self.bytes.capacity() > SPARE {
            self.bytes = Vec::new();
            self.index = Vec::new();
        }
        if self.labels.capacity() > 0 {
            self.labels = Vec::new();
            self.label_ends = Vec::new();
        }
    }

    /// The bytes of memory that it keeps.
    #[cfg(all(test, feature = "proto"))]
    pub(super) fn memory(&self) -> usize {
        let labels = self.labels.capacity() + self.label_ends.capacity() * size_of::<u32>();
        self.bytes.capacity() + self.index.capacity() * size_of::<IndexEntry>() + labels
    }
}
