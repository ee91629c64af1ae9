//! Reading: batches of frames from a position on, and the count of what cannot be read.
//!
//! The sequence numbers show every loss: frames between the position and the next valid record are lost, and no others
//! are. Frames that a segment should have end where the next segment begins, or at the next number to append.

use std::{io, ops::Range, time::SystemTime};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    damage,
    error::SpoolError,
    fs::{Fs, read_full},
    record,
    scan::{Found, Rest, Scanner, Step},
    segment::{self, VERSION},
    segments::Segment,
    settings::{Now, time},
    store::{Loss, Spool},
};

/// The place of the next frame to read.
pub(super) struct Reader<F: Fs> {
    /// The number of this frame.
    pub(super) position: u64,
    cursor: Option<Cursor<F>>,
    /// Reads that failed one after the other.
    failures: u32,
}

struct Cursor<F: Fs> {
    /// The first frame of the segment.
    segment: u64,
    /// The first frame of the record at which the cursor is, or an earlier one.
    from: u64,
    scanner: Scanner<F>,
}

/// Frames that follow each other without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first frame.
    pub first: u64,
    /// The number of frames.
    pub frames: u64,
    /// The frames in their wire form, as they were appended.
    pub payload: Bytes,
    /// The context with which all of them were appended.
    pub context: Bytes,
    /// The time at which the router received the oldest of them.
    pub received: SystemTime,
}

/// A batch that grows.
struct Growing {
    first: u64,
    end: u64,
    payload: BytesMut,
    context: Bytes,
    received: u64,
}

/// The number of failed reads of one place after which its segment is given up. Until then, the error may be one of the
/// network.
const ATTEMPTS: u32 = 3;

// === impl Reader ===

impl<F: Fs> Reader<F> {
    pub(super) fn new(position: u64) -> Self {
        Self {
            position,
            cursor: None,
            failures: 0,
        }
    }

    /// Closes the file, because another file may have its name now.
    pub(super) fn forget_file(&mut self) {
        self.cursor = None;
    }
}

// === impl Growing ===

impl Growing {
    /// Returns whether a record with this header and context continues the batch, which may have `limit` bytes.
    fn takes(&self, header: &record::Header, context: &[u8], limit: usize) -> bool {
        header.first == self.end
            && self.context == context
            && self.payload.len() + header.payload as usize <= limit
    }

    fn batch(self) -> Batch {
        Batch {
            first: self.first,
            frames: self.end - self.first,
            payload: self.payload.freeze(),
            context: self.context,
            received: time(self.received),
        }
    }
}

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Reads the next frames: those of one record, and of the records after it that continue it, up to `limit` bytes of
    /// payload together. Returns `None` at the end of the spool.
    ///
    /// Frames that cannot be read are counted and passed over; a batch after them has a higher `first` than the end of
    /// the batch before.
    ///
    /// # Errors
    ///
    /// If a file cannot be read. The third failure in a row gives up the rest of the segment instead.
    pub fn read(&mut self, limit: usize, now: Now) -> Result<Option<Batch>, SpoolError> {
        let oldest = self.oldest_time(now);
        let mut batch: Option<Growing> = None;
        while self.reader.position < self.next {
            let Some(index) = self.segments.index_of(self.reader.position) else {
                if batch.is_some() {
                    break;
                }
                let end = self.segments.front().map_or(self.next, |it| it.first);
                self.pass(end, Loss::Corrupt, now);
                continue;
            };
            let frames = self.segments.frames(index, self.next);
            let step = match self.step(index, frames.end) {
                Ok(step) => step,
                // The error returns with the next call.
                Err(_) if batch.is_some() => break,
                Err(error) => {
                    self.fail(index, error, now)?;
                    continue;
                }
            };
            self.reader.failures = 0;
            let Step::Record(found) = step else {
                if batch.is_some() {
                    break;
                }
                self.end_segment(index, &step, now);
                continue;
            };
            let position = self.reader.position;
            let has_passed = batch.is_some() && found.header.first != position;
            if has_passed || !self.take(&found, &mut batch, limit, oldest, now)? {
                break;
            }
        }
        Ok(batch.map(Growing::batch))
    }

    /// Continues to read at the frame `to`: at the first unconfirmed frame at the earliest, and at the end of the spool
    /// at the latest.
    pub fn seek(&mut self, to: u64) {
        self.reader.position = to.clamp(self.confirmed, self.next);
        let position = self.reader.position;
        // A cursor can move forward only.
        if self
            .reader
            .cursor
            .as_ref()
            .is_some_and(|it| it.from > position)
        {
            self.reader.cursor = None;
        }
    }

    /// Finds the record with the next frame, or the first record after it.
    fn step(&mut self, index: usize, limit: u64) -> io::Result<Step> {
        let Some(segment) = self.segments.get(index) else {
            return Ok(Step::End(Rest::None));
        };
        let cursor = self.reader.cursor.take();
        let cursor = match cursor.filter(|it| it.segment == segment.first) {
            Some(cursor) => Some(cursor),
            None => self.open_cursor(segment)?,
        };
        let Some(mut cursor) = cursor else {
            return Ok(Step::End(Rest::Damaged));
        };
        cursor.scanner.extend(segment.length());
        loop {
            let step = cursor.scanner.find(&self.fs, limit)?;
            match step {
                Step::Record(found) if found.header.end() <= self.reader.position => {
                    cursor.scanner.pass(&found);
                    cursor.from = found.header.end();
                }
                _ => {
                    self.reader.cursor = Some(cursor);
                    return Ok(step);
                }
            }
        }
    }

    /// Opens a segment for the frame at the position. Returns `None` if another sink or another version wrote it.
    fn open_cursor(&self, segment: &Segment) -> io::Result<Option<Cursor<F>>> {
        let file = self.fs.open(&segment::name(segment.first))?;
        let (from, at) = segment.start_for(self.reader.position);
        let is_ours = self.is_ours(&file)?;
        Ok(is_ours.then(|| Cursor {
            segment: segment.first,
            from,
            scanner: Scanner::new(file, at, segment.length(), from),
        }))
    }

    /// Returns false if the header says that another sink or another version wrote the segment. A damaged header says
    /// nothing.
    fn is_ours(&self, file: &F::File) -> io::Result<bool> {
        let mut bytes = [0; segment::HEADER];
        read_full(&self.fs, file, &mut bytes, 0)?;
        let header = segment::Header::decode(&bytes);
        Ok(header.is_none_or(|it| it.owner == self.owner && it.version == VERSION))
    }

    /// Adds the record to the batch and passes it. Returns false, without passing it, if the batch cannot take it.
    fn take(
        &mut self,
        found: &Found,
        batch: &mut Option<Growing>,
        limit: usize,
        oldest: Option<u64>,
        now: Now,
    ) -> Result<bool, SpoolError> {
        let header = found.header;
        if oldest.is_some_and(|oldest| header.time < oldest) {
            if batch.is_some() {
                return Ok(false);
            }
            self.pass(header.first, Loss::Corrupt, now);
            self.pass(header.end(), Loss::Expired, now);
            return Ok(true);
        }
        let Some(cursor) = &mut self.reader.cursor else {
            return Ok(false);
        };
        let (context, payload) = match cursor.scanner.content(&self.fs, found) {
            Ok(content) => content,
            Err(_) if batch.is_some() => return Ok(false),
            Err(error) => {
                let name = segment::name(cursor.segment);
                return Err(self.error("read", &name, error));
            }
        };
        // The first frames of a record may be confirmed already.
        let known = self.reader.position.saturating_sub(header.first);
        let payload = record::offset(payload, known).and_then(|at| payload.get(at..));
        let payload = payload.unwrap_or_default();
        match batch {
            Some(batch) if batch.takes(&header, context, limit) => {
                batch.payload.put_slice(payload);
                batch.received = batch.received.min(header.time);
                batch.end = header.end();
            }
            Some(_) => return Ok(false),
            None => {
                *batch = Some(Growing {
                    first: header.first + known,
                    end: header.end(),
                    payload: payload.into(),
                    context: Bytes::copy_from_slice(context),
                    received: header.time,
                });
            }
        }
        cursor.scanner.pass(found);
        cursor.from = header.end();
        // Frames between the position and the record are lost.
        self.pass(header.first, Loss::Corrupt, now);
        self.reader.position = header.end();
        Ok(true)
    }

    /// Counts the frames up to `end` as lost and continues there.
    fn pass(&mut self, end: u64, loss: Loss, now: Now) {
        let position = self.reader.position;
        if position < end {
            self.lose(position..end, loss, now);
            self.reader.position = self.reader.position.max(end);
        }
    }

    /// Continues after a segment that has no more records, although frames are missing.
    fn end_segment(&mut self, index: usize, step: &Step, now: Now) {
        let is_damaged = matches!(step, Step::End(Rest::Damaged));
        if self.writer.is_open() && index + 1 == self.segments.len() {
            // The file is damaged while it is written. What follows goes to a new one; this one is then read once more.
            // An error shows up again at the next commit.
            let _ = self.seal(now);
            self.reader.cursor = None;
            return;
        }
        let Range { start, end } = self.segments.frames(index, self.next);
        let length = self.segments.get(index).map_or(0, Segment::length);
        let aside = match self.reader.cursor.take() {
            _ if !is_damaged => None,
            Some(cursor) => {
                let (file, at) = (cursor.scanner.file(), cursor.scanner.at());
                let aside = damage::put_aside(&self.fs, file, start, at, length);
                Some(aside.map(|()| self.segments.cut(index, at)))
            }
            // Another sink or another version wrote the segment.
            None => Some(damage::put_all_aside(&self.fs, start)),
        };
        self.counters.put_aside += u64::from(matches!(aside, Some(Ok(()))));
        self.pass(end, Loss::Corrupt, now);
    }

    /// Handles a failed read: returns the error, or gives up the rest of the segment.
    fn fail(&mut self, index: usize, error: io::Error, now: Now) -> Result<(), SpoolError> {
        let Range { start, end } = self.segments.frames(index, self.next);
        self.reader.cursor = None;
        self.reader.failures += 1;
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        if self.reader.failures < ATTEMPTS && !is_gone {
            return Err(self.error("read", &segment::name(start), error));
        }
        self.reader.failures = 0;
        if self.writer.is_open() && index + 1 == self.segments.len() {
            // Later frames go to a file that can be read.
            let _ = self.seal(now);
        }
        self.pass(end, Loss::Corrupt, now);
        Ok(())
    }
}
