//! The records of one segment, one after the other.
//!
//! This is the one definition of damage, for the start of a router and for the reader:
//!
//! 1. A record that is not valid is skipped if a valid record begins where it claims to end.
//! 2. Else the rest of the segment is *torn*, if it is what an interrupted write leaves at the end of a file: less than
//!    a header, a record that claims to end at or after the end of the file, or only zeros.
//! 3. Else the rest of the segment is *damaged*.

use std::io;

use super::{
    fs::{Fs, read_full},
    record::{self, Header},
};

/// Reads a segment from an offset on. Never reads beyond the length that the caller knows.
pub(super) struct Scanner<F: Fs> {
    file: F::File,
    /// The offset of the next record.
    at: u64,
    /// The length of the segment.
    length: u64,
    /// The first frame that the next record may have.
    expected: u64,
    /// A part of the file, from the offset `block_at` on.
    block: Vec<u8>,
    block_at: u64,
}

/// A valid record. It is still the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) header: Header,
    at: u64,
}

pub(super) enum Step {
    Record(Found),
    End(Rest),
}

/// The rest of a segment, after the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// There is none, or it belongs to the next segment.
    None,
    Torn,
    Damaged,
}

/// The number of bytes that one read asks for, unless a record is longer.
const BLOCK: usize = 256 << 10;

// === impl Scanner ===

impl<F: Fs> Scanner<F> {
    /// A scanner that begins with the record at the offset `at`, whose first frame is `expected` or later.
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

    /// The offset of the next record, or of the rest.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn file(&self) -> &F::File {
        &self.file
    }

    pub(super) fn into_file(self) -> F::File {
        self.file
    }

    /// Continues up to the new length of a segment that grows.
    pub(super) fn extend(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// Finds the next record. Frames from `limit` on belong to the next segment.
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

    /// The context and the payload of the record that was found last.
    pub(super) fn content(&mut self, fs: &F, found: &Found) -> io::Result<(&[u8], &[u8])> {
        let record = self.load(fs, found.at, found.header.length())?;
        let body = record.get(record::HEADER..).unwrap_or_default();
        let context = (found.header.context as usize).min(body.len());
        Ok(body.split_at(context))
    }

    /// Continues after the record that was found last.
    pub(super) fn pass(&mut self, found: &Found) {
        self.at = found.at + found.header.length() as u64;
        self.expected = found.header.end();
    }

    fn check(&mut self, fs: &F, at: u64) -> io::Result<Option<Header>> {
        let header = self.load(fs, at, record::HEADER)?;
        let Some(length) = Header::claimed_length(header) else {
            return Ok(None);
        };
        Ok(Header::check(self.load(fs, at, length)?))
    }

    /// Returns the offset of the record after a bad one, if that record is valid and leaves room for the frames of the
    /// bad one.
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

    /// Returns up to `length` bytes from the offset `at`, fewer only at the end of the segment.
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
        // The memory is as large as the file's own content at most, whatever a record claims.
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
