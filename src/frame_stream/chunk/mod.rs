//! Chunks, the unit that moves through the router: many data frames in one immutable buffer, in their wire form.

mod pick;

use std::{fmt, ops::Range, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};

use super::{
    Source,
    derived::{Derived, Maker, Places},
    index::IndexEntry,
    labels::FrameLabels,
};
use crate::{
    dnstap::{self, MessageType, Outline},
    extra::Labels,
    memory::Reservation,
};

/// A sequence of whole data frames (4-byte length, payload, 4-byte length, payload …) in one shared buffer.
///
/// Cloning and splitting are cheap, because all resulting chunks are views of the same buffer. The buffer never
/// changes; an edit creates a new chunk.
#[derive(Clone)]
pub struct Chunk {
    shared: Arc<Shared>,
    /// The frames of the buffer that belong to this view.
    range: Range<u32>,
}

/// Chunks to write together, in order.
pub type Batch = Vec<Chunk>;

struct Shared {
    bytes: Bytes,
    /// The end of each frame in `bytes`, and its outline: the message type, and the place of the first DNS message.
    index: Box<[IndexEntry]>,
    received: Instant,
    /// `None` for nearly all chunks.
    labels: Option<Box<FrameLabels>>,
    source: Option<Source>,
    /// The size of the buffer that `bytes` keeps alive.
    buffer: usize,
    /// Counts the buffer against the memory limit until the last view is dropped. All views together count once.
    #[allow(dead_code, reason = "it is dropped with the buffer")]
    held: Option<Reservation>,
    /// Chunks that were made from this buffer.
    derived: Places,
}

/// An iterator over the payloads of a chunk.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

/// The fixed cost of a chunk against the bounds of a queue, in bytes of memory. It covers the shared header of the
/// chunk and the overhead of the chunk's allocations. The memory of the frames and of the index is added to this cost.
const OVERHEAD: usize = 128;

/// The fixed cost of a chunk against the memory limit of the router, in bytes of memory. This cost was measured on
/// queued chunks that hold one frame. The memory of the buffer and of the index is added to this cost.
const REAL_OVERHEAD: usize = 320;

// === impl Chunk ===

impl Chunk {
    /// Creates a chunk of `bytes` that were read at `received`. The ends in `index` must ascend, and the last end must
    /// equal `bytes.len()`.
    ///
    /// This function does not check the index. [`Chunk::from_wire`] computes the index from the bytes.
    pub(crate) fn new(bytes: Bytes, index: Box<[IndexEntry]>, received: Instant) -> Self {
        let buffer = bytes.len();
        Self::keeping(buffer, bytes, index, received)
    }

    /// Like [`new`](Self::new), for a buffer whose capacity may be larger than its contents.
    pub(crate) fn of_buffer(buffer: BytesMut, index: Box<[IndexEntry]>, received: Instant) -> Self {
        Self::keeping(buffer.capacity(), buffer.freeze(), index, received)
    }

    /// Like [`of_buffer`](Self::of_buffer), for a vector.
    #[cfg(feature = "tap")]
    pub(crate) fn of_vec(bytes: Vec<u8>, index: Box<[IndexEntry]>, received: Instant) -> Self {
        Self::keeping(bytes.capacity(), bytes.into(), index, received)
    }

    fn keeping(buffer: usize, bytes: Bytes, index: Box<[IndexEntry]>, received: Instant) -> Self {
        debug_assert_eq!(
            index.last().map_or(0, |last| last.end() as usize),
            bytes.len()
        );
        let range = 0..u32::try_from(index.len()).unwrap_or(u32::MAX);
        Self {
            shared: Arc::new(Shared {
                bytes,
                index,
                received,
                labels: None,
                source: None,
                buffer,
                held: None,
                derived: Places::default(),
            }),
            range,
        }
    }

    /// Attaches the source, that is, the connection from which the frames came. From now on, the memory of the frames
    /// counts against the budget of the source.
    ///
    /// If other views share the buffer, this function copies the index. A new chunk has no other views.
    pub fn brought_by(mut self, source: &Source) -> Self {
        let index = size_of_val(&*self.shared.index) + self.labels_size(&self.range);
        let held = source
            .memory()
            .reserve(self.shared.buffer + index + REAL_OVERHEAD);
        let (source, held) = (Some(source.clone()), Some(held));
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.source = source;
            shared.held = held;
            return self;
        }
        let shared = Shared {
            bytes: self.shared.bytes.clone(),
            index: self.shared.index.clone(),
            received: self.shared.received,
            labels: self.shared.labels.clone(),
            source,
            buffer: self.shared.buffer,
            held,
            derived: Places::default(),
        };
        Self {
            shared: Arc::new(shared),
            range: self.range,
        }
    }

    /// Creates a chunk from `bytes`. Returns `None` unless `bytes` consists of whole data frames.
    ///
    /// ```
    /// use tapfan::internals::Chunk;
    ///
    /// let chunk = Chunk::from_wire(b"\0\0\0\x02hi\0\0\0\x01!".as_slice().into()).expect("two frames");
    /// assert_eq!(chunk.frames().collect::<Vec<_>>(), [b"hi".as_slice(), b"!"]);
    /// assert!(Chunk::from_wire(b"\0\0\0\x02h".as_slice().into()).is_none());
    /// ```
    pub fn from_wire(bytes: Bytes) -> Option<Self> {
        let mut index = Vec::new();
        let mut at = 0_usize;
        while at < bytes.len() {
            let length = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
            if length == 0 {
                return None;
            }
            let start = at.checked_add(4)?;
            at = start.checked_add(length as usize)?;
            let payload = bytes.get(start..at)?;
            let outline = dnstap::outline(payload).unwrap_or_default();
            index.push(IndexEntry::new(u32::try_from(at).ok()?, outline));
        }
        Some(Self::new(bytes, index.into_boxed_slice(), Instant::now()))
    }

    /// Sets the time at which the bytes were read. The chunk must be new.
    #[cfg(any(test, feature = "spool"))]
    pub(crate) fn received_at(mut self, received: Instant) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.received = received;
        }
        self
    }

    /// Attaches the metadata of the frames. The chunk must be new.
    #[cfg(any(test, feature = "spool", feature = "tap"))]
    pub(crate) fn labelled(mut self, labels: FrameLabels) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.labels = Some(Box::new(labels));
        }
        self
    }

    /// Returns the number of frames.
    pub fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// Returns whether the chunk has no frames.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Returns the frames in their wire form, including the lengths.
    pub fn wire(&self) -> &[u8] {
        &self.shared.bytes[self.offset(self.range.start)..self.offset(self.range.end)]
    }

    /// Returns the frames in their wire form. They keep the buffer in memory.
    #[cfg(feature = "spool")]
    pub(crate) fn wire_bytes(&self) -> Bytes {
        let part = self.offset(self.range.start)..self.offset(self.range.end);
        self.shared.bytes.slice(part)
    }

    /// Copies the metadata of the frames. Returns `None` if they have none.
    #[cfg(feature = "spool")]
    pub(crate) fn frame_labels(&self) -> Option<FrameLabels> {
        let labels = self.shared.labels.as_deref()?;
        Some(labels.copy(&self.range))
    }

    /// Returns the place of the chunk that `maker` makes from this view. Clones of a view have the same place.
    pub(crate) fn derived(&self, maker: &Maker) -> Arc<Derived> {
        self.shared.derived.of(maker, &self.range)
    }

    /// Returns the size in bytes of the buffer that this view keeps in memory.
    pub(crate) fn buffer(&self) -> usize {
        self.shared.buffer
    }

    /// Returns the time at which the bytes were read.
    pub fn received(&self) -> Instant {
        self.shared.received
    }

    /// Returns the connection that the chunk came from, if known.
    pub fn source(&self) -> Option<&Source> {
        self.shared.source.as_ref()
    }

    /// Iterates over the payloads.
    pub fn frames(&self) -> Frames<'_> {
        Frames { rest: self.wire() }
    }

    /// Returns the dnstap message type of each frame, in order. It is [`MessageType::Unknown`] for a frame that is not
    /// a dnstap message.
    pub fn message_types(&self) -> impl Iterator<Item = MessageType> {
        self.outlines().map(|outline| outline.message_type)
    }

    /// Returns the outline of each frame, in order: the message type, and the place of the first DNS message. The
    /// outline of a frame that is not a dnstap message contains neither.
    pub(crate) fn outlines(&self) -> impl Iterator<Item = Outline> {
        self.index().iter().map(|entry| entry.outline())
    }

    /// Returns the metadata of each frame, in order.
    pub(crate) fn labels(&self) -> impl Iterator<Item = Labels<'_>> {
        let labels = self.shared.labels.as_deref();
        let of = move |frame| labels.map_or_else(Labels::default, |labels| labels.of(frame));
        self.range.clone().map(of)
    }

    /// Returns the number of whole frames in the first `bytes` bytes of [`wire`](Self::wire), and the end of the last
    /// of these frames.
    pub fn whole_frames(&self, bytes: usize) -> (usize, usize) {
        let start = self.offset(self.range.start);
        let index = self.index();
        let frames = index.partition_point(|entry| entry.end() as usize - start <= bytes);
        let end = frames
            .checked_sub(1)
            .map_or(0, |last| index[last].end() as usize - start);
        (frames, end)
    }

    /// Splits off the first `frames` frames, or all if there are fewer.
    pub fn split_to(&mut self, frames: usize) -> Self {
        let frames = frames.min(self.len());
        // `frames` is at most `len`, the difference of two `u32`, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        let middle = self.range.start + frames as u32;
        let head = Self {
            shared: Arc::clone(&self.shared),
            range: self.range.start..middle,
        };
        self.range.start = middle;
        head
    }

    /// Returns the memory that counts for this view, in bytes: its part of the buffer and of the index, and the fixed
    /// cost.
    pub fn footprint(&self) -> usize {
        self.content() + OVERHEAD
    }

    /// Returns the part of the [footprint](Self::footprint) that grows with the frames.
    pub fn content(&self) -> usize {
        self.wire().len() + size_of_val(self.index()) + self.labels_size(&self.range)
    }

    /// Returns the number of leading frames that together take at most `bytes` of memory.
    pub fn frames_within(&self, bytes: usize) -> usize {
        let Some(room) = bytes.checked_sub(OVERHEAD) else {
            return 0;
        };
        let start = self.offset(self.range.start);
        let index = self.index();
        let (mut fit, mut over) = (0, index.len() + 1);
        while over - fit > 1 {
            let middle = usize::midpoint(fit, over);
            let content = index[middle - 1].end() as usize - start + size_of_val(&index[..middle]);
            // `middle` is at most `len`, which fits.
            #[allow(clippy::cast_possible_truncation)]
            let frames = self.range.start..self.range.start + middle as u32;
            if content + self.labels_size(&frames) <= room {
                fit = middle;
            } else {
                over = middle;
            }
        }
        fit
    }

    /// Copies the frames into a new buffer, so that they do not keep other frames in memory.
    pub fn compact(self) -> Self {
        let wire = self.wire();
        if wire.len() == self.shared.bytes.len() {
            return self;
        }
        // The start is an offset into a buffer that is indexed by `u32`, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        let start = self.offset(self.range.start) as u32;
        let moved = |entry: &IndexEntry| IndexEntry::new(entry.end() - start, entry.outline());
        let index = self.index().iter().map(moved).collect();
        let mut copy = Self::new(Bytes::copy_from_slice(wire), index, self.received());
        if let (Some(labels), Some(new)) = (&self.shared.labels, Arc::get_mut(&mut copy.shared)) {
            new.labels = Some(Box::new(labels.copy(&self.range)));
        }
        copy.derived_from(&self)
    }

    /// Attaches the source of `other`, from which these frames were derived.
    pub(crate) fn derived_from(self, other: &Self) -> Self {
        match other.source() {
            Some(source) => self.brought_by(source),
            None => self,
        }
    }

    /// Copies the frames into a new buffer if they fill less than half of the shared buffer.
    pub fn compact_if_sparse(self) -> Self {
        if self.wire().len() * 2 < self.shared.bytes.len() {
            self.compact()
        } else {
            self
        }
    }

    fn labels_size(&self, frames: &Range<u32>) -> usize {
        let labels = self.shared.labels.as_ref();
        labels.map_or(0, |labels| labels.size(frames))
    }

    /// Returns the entries of the frames in this view.
    fn index(&self) -> &[IndexEntry] {
        &self.shared.index[self.range.start as usize..self.range.end as usize]
    }

    fn offset(&self, frame: u32) -> usize {
        frame.checked_sub(1).map_or(0, |before| {
            self.shared.index[before as usize].end() as usize
        })
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("frames", &self.len())
            .field("bytes", &self.wire().len())
            .finish_non_exhaustive()
    }
}

// === impl Frames ===

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (payload, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.rest = rest;
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        Chunk::from_wire(b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\x03def".as_slice().into())
            .expect("whole frames")
    }

    #[test]
    fn a_split_shares_the_buffer_and_loses_nothing() {
        let whole = chunk();
        let mut rest = whole.clone();
        let head = rest.split_to(1);
        assert_eq!(head.frames().collect::<Vec<_>>(), [b"ab"]);
        assert_eq!(rest.frames().collect::<Vec<_>>(), [b"c".as_slice(), b"def"]);
        assert_eq!([head.wire(), rest.wire()].concat(), whole.wire());
        assert_eq!(rest.split_to(9).len(), 2);
        assert!(rest.is_empty());
    }

    #[test]
    fn whole_frames_ends_at_the_last_boundary() {
        let mut rest = chunk();
        assert_eq!(rest.whole_frames(0), (0, 0));
        assert_eq!(rest.whole_frames(5), (0, 0));
        assert_eq!(rest.whole_frames(6), (1, 6));
        assert_eq!(rest.whole_frames(17), (2, 11));
        assert_eq!(rest.whole_frames(18), (3, 18));
        rest.split_to(1);
        assert_eq!(rest.whole_frames(4), (0, 0));
        assert_eq!(rest.whole_frames(5), (1, 5));
        assert_eq!(rest.whole_frames(12), (2, 12));
    }

    #[test]
    fn frames_within_counts_bytes_index_and_overhead() {
        let chunk = chunk();
        for frames in 0..=3 {
            let footprint = chunk.clone().split_to(frames).footprint();
            assert_eq!(chunk.frames_within(footprint), frames);
            assert_eq!(chunk.frames_within(footprint - 1), frames.saturating_sub(1));
        }
        assert_eq!(chunk.frames_within(usize::MAX), 3);
    }

    #[test]
    fn a_compact_chunk_lets_go_of_the_rest() {
        let mut rest = chunk();
        rest.split_to(1);
        let middle = rest.split_to(1).compact();
        assert_eq!(middle.shared.bytes.len(), 5);
        assert_eq!(middle.frames().collect::<Vec<_>>(), [b"c"]);
        assert_eq!(middle.whole_frames(5), (1, 5));
        let whole = chunk();
        let same = whole.clone().compact();
        assert!(
            std::ptr::eq(same.wire(), whole.wire()),
            "not copied, because that would free no memory"
        );
    }

    #[test]
    fn every_view_of_a_chunk_knows_the_types_of_its_frames() {
        let frame = |message_type| [0, 0, 0, 6, 0x72, 2, 8, message_type, 0x78, 1];
        let wire = [&frame(5)[..], &frame(6), b"\0\0\0\x01x", &frame(5)].concat();
        let mut rest = Chunk::from_wire(wire.into()).expect("whole frames");
        let types = |chunk: &Chunk| chunk.message_types().collect::<Vec<_>>();
        let (query, answer) = (MessageType::ClientQuery, MessageType::ClientResponse);
        assert_eq!(types(&rest.split_to(1)), [query]);
        let expected = [answer, MessageType::Unknown, query];
        assert_eq!(types(&rest), expected);
        assert_eq!(types(&rest.compact()), expected);
    }

    #[test]
    fn every_view_of_a_chunk_has_the_metadata_of_its_frames_and_accounts_for_it() {
        let metadata = ["", "first", "", "second and longer"].map(|value| {
            let mut metadata = crate::extra::Metadata::new();
            assert!(value.is_empty() || metadata.set("a/b", value));
            metadata
        });
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for of in &metadata {
            bytes.extend_from_slice(of.bytes());
            ends.push(u32::try_from(bytes.len()).expect("small"));
        }
        let wire = b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c\0\0\0\x01d";
        let plain = Chunk::from_wire(wire.as_slice().into()).expect("whole frames");
        assert!(plain.labels().eq([Labels::default(); 4]));
        let without = plain.content();
        let whole = plain.labelled(FrameLabels::new(&ends, &bytes));
        assert_eq!(
            whole.content(),
            without + bytes.len() + 4 * size_of::<u32>()
        );
        for first in 0..4 {
            for last in first..=4 {
                let mut view = whole.clone();
                view.split_to(first);
                let view = view.split_to(last - first);
                let expected = || {
                    metadata[first..last]
                        .iter()
                        .map(crate::extra::Metadata::labels)
                };
                assert!(view.labels().eq(expected()));
                let compact = view.clone().compact();
                assert!(compact.labels().eq(expected()));
                assert_eq!(compact.content(), view.content());
                for frames in 0..=view.len() {
                    let footprint = view.clone().split_to(frames).footprint();
                    assert_eq!(view.frames_within(footprint), frames);
                    assert_eq!(view.frames_within(footprint - 1), frames.saturating_sub(1));
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_not_whole_data_frames_are_refused() {
        for wire in [
            b"\0\0\0".as_slice(),
            b"\0\0\0\x02a",
            b"\0\0\0\0\0\0\0\x04",
            b"\xff\xff\xff\xffa",
        ] {
            assert!(Chunk::from_wire(wire.into()).is_none(), "{wire:?}");
        }
    }
}
