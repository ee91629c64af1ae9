//! The list of the segments of a spool, in memory.

use std::{collections::VecDeque, ops::Range};

use super::segment::HEADER;

/// The segments of a spool, from the oldest to the newest.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: VecDeque<Segment>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// The sequence number of the first frame of the segment. The name of the file consists of this number.
    pub(super) first: u64,
    /// The length of the segment up to the end of its last record, in bytes.
    length: u64,
    /// The time of the newest frame, in milliseconds since 1970.
    pub(super) newest: u64,
    /// The places of some records, in ascending order. Because of them, a reader does not have to begin at the start of
    /// the segment.
    marks: Vec<Mark>,
    /// True if the file is known to be missing or shorter than it was. Its frames are counted as lost when the reader
    /// reaches them.
    pub(super) is_damaged: bool,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    at: u64,
}

/// The distance between two marks, in bytes. The marks of a segment of 64 MiB take 256 bytes of memory.
const MARK: u64 = 4 << 20;

// === impl Segment ===

impl Segment {
    pub(super) fn new(first: u64, length: u64, newest: u64) -> Self {
        Self {
            first,
            length,
            newest,
            marks: Vec::new(),
            is_damaged: false,
        }
    }

    pub(super) fn has_records(&self) -> bool {
        self.length > HEADER as u64
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the record from which a search for `frame` must begin. The frame is in this record or behind it. The
    /// result is the number of the record's first frame, and the offset of the record in the segment.
    pub(super) fn start_for(&self, frame: u64) -> (u64, u64) {
        let after = self.marks.partition_point(|mark| mark.first <= frame);
        let mark = after.checked_sub(1).and_then(|last| self.marks.get(last));
        mark.map_or((self.first, HEADER as u64), |mark| (mark.first, mark.at))
    }
}

// === impl Segments ===

impl Segments {
    /// Returns the length of all segments, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there is a segment that begins with this frame.
    pub(super) fn has(&self, first: u64) -> bool {
        let index = self.index_of(first);
        index
            .and_then(|index| self.get(index))
            .is_some_and(|it| it.first == first)
    }

    pub(super) fn mark_damaged(&mut self, index: usize) {
        if let Some(segment) = self.list.get_mut(index) {
            segment.is_damaged = true;
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.list.iter_mut()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Segment> {
        self.list.get(index)
    }

    pub(super) fn front(&self) -> Option<&Segment> {
        self.list.front()
    }

    pub(super) fn back(&self) -> Option<&Segment> {
        self.list.back()
    }

    /// Returns the index of the segment that must contain a frame. Returns `None` if the frame is older than all
    /// segments.
    pub(super) fn index_of(&self, frame: u64) -> Option<usize> {
        let after = self.list.partition_point(|it| it.first <= frame);
        after.checked_sub(1)
    }

    /// Returns the sequence numbers that the frames of a segment may have. They end where the next segment begins. In
    /// the newest segment, they end at `next`.
    pub(super) fn frames(&self, index: usize, next: u64) -> Range<u64> {
        let first = |index: usize| self.list.get(index).map_or(next, |it| it.first);
        first(index)..first(index + 1)
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.bytes += segment.length;
        self.list.push_back(segment);
    }

    pub(super) fn pop_front(&mut self) {
        if let Some(segment) = self.list.pop_front() {
            self.bytes -= segment.length;
        }
    }

    /// Records that a record was appended to the newest segment. `first` is the number of its first frame.
    pub(super) fn grow(&mut self, first: u64, length: u64, time: u64) {
        let Some(segment) = self.list.back_mut() else {
            return;
        };
        let last = segment.marks.last().map_or(0, |mark| mark.at);
        if segment.length >= last + MARK {
            let at = segment.length;
            segment.marks.push(Mark { first, at });
        }
        segment.length += length;
        segment.newest = segment.newest.max(time);
        self.bytes += length;
    }

    /// Sets the length of a segment from which the end was cut off.
    pub(super) fn cut(&mut self, index: usize, length: u64) {
        if let Some(segment) = self.list.get_mut(index) {
            let length = length.min(segment.length);
            self.bytes -= segment.length - length;
            segment.length = length;
            segment.marks.retain(|mark| mark.at < length);
        }
    }

    /// Sets the time of the newest frame in the newest segment.
    pub(super) fn set_newest(&mut self, time: u64) {
        if let Some(segment) = self.list.back_mut() {
            segment.newest = time;
        }
    }

    /// Removes the newest segment from the list if its first frame has the number `first`. Returns whether it was
    /// removed.
    pub(super) fn replace(&mut self, first: u64) -> bool {
        if self.list.back().is_none_or(|it| it.first != first) {
            return false;
        }
        let segment = self.list.pop_back();
        self.bytes -= segment.map_or(0, |it| it.length);
        true
    }
}
