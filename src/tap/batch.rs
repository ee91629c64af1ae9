//! The messages that one thread has sent and that the router does not have yet.

use std::{mem, time::Instant};

use super::encode::{Encoding, Head};
use crate::{
    dnstap::{MessageType, Outline},
    frame_stream::{Chunk, FrameLabels, IndexEntry},
};

/// Encoded messages that become one chunk.
///
/// When a full batch is flushed, its buffer becomes the chunk. A batch that is flushed early is copied into a chunk of
/// the right size, so that a thread that sends few messages does not fill the queues with nearly empty buffers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    index: Vec<IndexEntry>,
    labels: Vec<u8>,
    /// For each message, the offset in `labels` at which its metadata ends. Empty as long as no message of the batch
    /// has metadata.
    label_ends: Vec<u32>,
    /// The time of the first message.
    begun: Option<Instant>,
    /// True after the intake has closed. From then on, each message must go to the router immediately.
    pub(super) closed: bool,
}

/// The size at which a batch is full and is flushed, in bytes.
const FULL: usize = 64 << 10;

/// The size up to which a full batch may grow, in bytes. A full batch grows while another thread blocks the hand-over,
/// because that thread is handing over an earlier batch of the same thread or uses a queue. If the operating system
/// pauses the other thread, the hand-over is blocked for a few milliseconds. In this time, a thread that does nothing
/// but send can send some megabytes.
const MOST: usize = 64 * FULL;

/// The memory that a batch keeps while its thread sends little or nothing, in bytes.
const SPARE: usize = 4 << 10;

// === impl Batch ===

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns whether a message of this many bytes, with its metadata, fits into this batch. Every message fits into
    /// an empty batch.
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
        // The cast does not truncate: a batch has at most 4 MiB, or it consists of a single frame, whose length is
        // bounded.
        #[allow(clippy::cast_possible_truncation)]
        let end = self.bytes.len() as u32;
        self.index
            .push(IndexEntry::new(end, Outline::of(message_type)));
    }

    #[cold]
    fn push_labels(&mut self, labels: &[u8]) {
        // The messages before the first message with metadata get empty metadata.
        self.label_ends.resize(self.index.len(), 0);
        self.labels.extend_from_slice(labels);
        // The cast does not truncate: the metadata of a batch is far smaller than 4 GiB.
        #[allow(clippy::cast_possible_truncation)]
        self.label_ends.push(self.labels.len() as u32);
    }

    /// Makes room for a frame. Doubles the buffer, but not beyond the size of a full batch.
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

    /// Exchanges the messages and the buffers of two batches.
    pub(super) fn exchange(&mut self, other: &mut Self) {
        mem::swap(self, other);
        mem::swap(&mut self.closed, &mut other.closed);
    }

    /// Takes the messages out as a chunk; `None` if there are none.
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
        let bytes = mem::replace(&mut self.bytes, next);
        Chunk::of_vec(bytes, index, begun)
    }

    /// Frees most of the memory of a batch that was already empty at the previous flush.
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

    /// Returns the size in bytes of the memory that the batch keeps.
    #[cfg(all(test, feature = "proto"))]
    pub(super) fn memory(&self) -> usize {
        let labels = self.labels.capacity() + self.label_ends.capacity() * size_of::<u32>();
        self.bytes.capacity() + self.index.capacity() * size_of::<IndexEntry>() + labels
    }
}
