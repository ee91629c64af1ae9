//! The segments of a spool, as its process knows them.

use std::{collections::VecDeque, ops::Range};

use super::segment::HEADER;

/// The segments from the oldest to the newest.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: VecDeque<Segment>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// The sequence number of the first frame. It is the name of the file.
    pub(super) first: u64,
    /// The length up to the end of the last record, in bytes.
    length: u64,
    /// The time of the newest frame, in milliseconds since 1970.
    pub(super) newest: u64,
    /// The places of some records, in ascending order, so that a reader need not begin at the start of the segment.
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    at: u64,
}

/// The distance of two marks, in bytes. The marks of a segment of 64 MiB take 256 bytes of memory.
const MARK: u64 = 4 << 20;

// === impl Segment ===

impl Segment {
    pub(super) fn new(first: u64, length: u64, newest: u64) -> Self {
        Self {
            first,
            length,
            newest,
            marks: Vec::new(),
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The place to begin in search of a frame: the first frame and the offset of a record.
    pub(super) fn start_for(&self, frame: u64) -> (u64, u64) {
        let after = self.marks.partition_point(|mark| mark.first <= frame);
        let mark = after.checked_sub(1).and_then(|last| self.marks.get(last));
        mark.map_or((self.first, HEADER as u64), |mark| (mark.first, mark.at))
    }
}

// === impl Segments ===

impl Segments {
    /// The length of all segments, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
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

    /// The number of the segment in which a frame must be, unless the frame is older than all segments.
    pub(super) fn index_of(&self, frame: u64) -> Option<usize> {
        let after = self.list.partition_point(|it| it.first <= frame);
        after.checked_sub(1)
    }

    /// The frames that a segment may have: they end where the next segment begins, or at `next`.
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

    /// Notes that a record was appended to the newest segment. Its first frame is `first`.
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

    /// Cuts a segment to this length.
    pub(super) fn cut(&mut self, index: usize, length: u64) {
        if let Some(segment) = self.list.get_mut(index) {
            let length = length.min(segment.length);
            self.bytes -= segment.length - length;
            segment.length = length;
            segment.marks.retain(|mark| mark.at < length);
        }
    }

    /// Sets the time of the newest frame of the newest segment.
    pub(super) fn set_newest(&mut self, time: u64) {
        if let Some(segment) = self.list.back_mut() {
            segment.newest = time;
        }
    }

    /// Removes the newest segment if it begins with this frame. Returns whether it does.
    pub(super) fn replace(&mut self, first: u64) -> bool {
        if self.list.back().is_none_or(|it| it.first != first) {
            return false;
        }
        let segment = self.list.pop_back();
        self.bytes -= segment.map_or(0, |it| it.length);
        true
    }
}
