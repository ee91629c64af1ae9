//! The scanner, which finds the records of one segment, one after the other.
//!
//! These rules define damage, both for the start of a spool and for the reader:
//!
//! 1. A record that is not valid claims to end at some place. If a valid record begins there, only the invalid record
//!    is skipped.
//! 2. If there is no valid record at that place, the rest of the segment cannot be used. It is *torn* if an interrupted
//!    write can leave it at the end of a file: it is shorter than a header, or its first record claims to end at or
//!    after the end of the file, or it consists of zeros.
//! 3. In all other cases, the rest of the segment is *damaged*.

use std::io;

use super::{
    fs::{Fs, read_full},
    record::{self, Header},
};

/// Finds the records of a segment, beginning at an offset. Never reads beyond the length that the caller has given.
pub(super) struct Scanner<F: Fs> {
    file: F::File,
    /// The offset of the next record.
    at: u64,
    /// The length of the segment.
    length: u64,
    /// The lowest sequence number that the next record may begin with.
    expected: u64,
    /// A part of the file that was read, beginning at the offset `block_at`.
    block: Vec<u8>,
    block_at: u64,
}

/// A valid record that was found. The scanner has not moved past it yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) header: Header,
    at: u64,
}

pub(super) enum Step {
    Record(Found),
    End(Rest),
}

/// The part of a segment after its last valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// The segment ends with its last valid record, or the next record belongs to the next segment.
    None,
    Torn,
    Damaged,
}

/// The number of bytes of one read. If a record is longer, the read is longer.
const BLOCK: usize = 256 << 10;

// === impl Found ===

impl Found {
    /// Returns the offset of the record in its segment.
    pub(super) fn at(&self) -> u64 {
        self.at
    }
}

// === impl Scanner ===

impl<F: Fs> Scanner<F> {
    /// Creates a scanner that begins with the record at the offset `at`. The first frame of this record has the number
    /// `expected` or a higher one.
    pub(super) fn new(file: F::File, at: u64, length: u64, expected: u64) -> Self {
        Self {
            file,
            at,
            length,
            expected,
            block: Vec::new(),
            block_at: 0,
        }
    }

    /// Returns the offset of the next record. After the last record, it is the offset at which the unusable part of the
    /// segment begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn file(&self) -> &F::File {
        &self.file
    }

    pub(super) fn into_file(self) -> F::File {
        self.file
    }

    /// Sets the new length of a segment that has grown. The scanner can then read up to this length.
    pub(super) fn extend(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// Finds the next record. Frames with the number `limit` or a higher one belong to the next segment.
    pub(super) fn find(&mut self, fs: &F, limit: u64) -> io::Result<Step> {
        loop {
            if self.at >= self.length {
                return Ok(Step::End(Rest::None));
            }
            let at = self.at;
            if let Some(header) = self.check(fs, at)? {
                if header.first >= limit {
                    return Ok(Step::End(Rest::None));
                }
                if header.first >= self.expected {
                    return Ok(Step::Record(Found { header, at }));
                }
            }
            let Some(next) = self.record_after(fs, at)? else {
                return Ok(Step::End(self.rest(fs)?));
            };
            self.at = next;
        }
    }

    /// Returns the context and the payload of the record that was found last.
    pub(super) fn content(&mut self, fs: &F, found: &Found) -> io::Result<(&[u8], &[u8])> {
        let record = self.load(fs, found.at, found.header.length())?;
        let body = record.get(record::HEADER..).unwrap_or_default();
        let context = (found.header.context as usize).min(body.len());
        Ok(body.split_at(context))
    }

    /// Moves past the record that was found last.
    pub(super) fn pass(&mut self, found: &Found) {
        self.at = found.at + found.header.length() as u64;
        self.expected = found.header.end();
    }

    /// Searches every offset from the current one for a valid record whose frames have the number `from` or higher
    /// ones. Use it for a part of a segment that [`find`](Self::find) cannot read. Returns `None` at the end of the
    /// file.
    ///
    /// `patience` is the number of bytes for which this function may still compute checksums. Bytes in frames can look like
    /// headers of long records, and each of them costs a checksum. Records for which no patience is left are not found.
    pub(super) fn search(
        &mut self,
        fs: &F,
        from: u64,
        patience: &mut u64,
    ) -> io::Result<Option<Found>> {
        while self.at < self.length {
            let at = self.at;
            let head = self.load(fs, at, record::HEADER)?;
            let length = Header::plausible_length(head, from);
            let length = length.filter(|length| at + *length as u64 <= self.length);
            let left = length.and_then(|length| patience.checked_sub(length as u64));
            if let (Some(length), Some(left)) = (length, left) {
                *patience = left;
                if let Some(header) = Header::check(self.load(fs, at, length)?) {
                    return Ok(Some(Found { header, at }));
                }
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn check(&mut self, fs: &F, at: u64) -> io::Result<Option<Header>> {
        let header = self.load(fs, at, record::HEADER)?;
        let Some(length) = Header::claimed_length(header) else {
            return Ok(None);
        };
        Ok(Header::check(self.load(fs, at, length)?))
    }

    /// Returns the offset at which the record at `bad` ends, according to its header. That record is not valid, so the
    /// header may be wrong. Returns `None` unless a valid record begins at this offset, with a number above `expected`.
    /// The number must be higher, because the record at `bad` contains at least one frame.
    fn record_after(&mut self, fs: &F, bad: u64) -> io::Result<Option<u64>> {
        let header = self.load(fs, bad, record::HEADER)?;
        let Some(length) = Header::claimed_length(header) else {
            return Ok(None);
        };
        let next = bad + length as u64;
        let expected = self.expected;
        let header = self.check(fs, next)?;
        Ok(header.filter(|it| it.first > expected).map(|_| next))
    }

    fn rest(&mut self, fs: &F) -> io::Result<Rest> {
        let at = self.at;
        let header = self.load(fs, at, record::HEADER)?;
        if header.len() < record::HEADER {
            return Ok(Rest::Torn);
        }
        if let Some(length) = Header::claimed_length(header) {
            let ends_inside = at + (length as u64) < self.length;
            return Ok(if ends_inside {
                Rest::Damaged
            } else {
                Rest::Torn
            });
        }
        let mut at = at;
        while at < self.length {
            let block = self.load(fs, at, BLOCK)?;
            if block.is_empty() {
                break;
            }
            if block.iter().any(|byte| *byte != 0) {
                return Ok(Rest::Damaged);
            }
            at += block.len() as u64;
        }
        Ok(Rest::Torn)
    }

    /// Returns `length` bytes from the offset `at`. Returns fewer bytes only at the end of the segment.
    fn load(&mut self, fs: &F, at: u64, length: usize) -> io::Result<&[u8]> {
        let left = |limit: usize| {
            let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            left.min(limit)
        };
        let length = left(length);
        let start = at.checked_sub(self.block_at);
        let start = start.and_then(|start| usize::try_from(start).ok());
        if let Some(start) = start.filter(|start| start + length <= self.block.len()) {
            return Ok(&self.block[start..start + length]);
        }
        // The buffer is never larger than the file, even if a record claims to be longer.
        let wanted = left(length.max(BLOCK));
        self.block.clear();
        self.block.shrink_to(BLOCK);
        self.block.resize(wanted, 0);
        self.block_at = at;
        let read = read_full(fs, &self.file, &mut self.block, at);
        self.block.truncate(*read.as_ref().unwrap_or(&0));
        read?;
        Ok(self.block.get(..length).unwrap_or(&self.block))
    }
}
