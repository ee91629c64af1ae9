//! The reader of a spool. It reads batches of frames, beginning at a position, and counts the frames that cannot be
//! read.
//!
//! The sequence numbers show every loss: a frame is lost exactly when its number is between the position of the reader
//! and the next valid record. If a segment ends too early, its missing frames are those up to the first frame of the
//! next segment. In the newest segment, they are those up to the next frame to append.

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

/// The position at which a spool is read.
pub(super) struct Reader<F: Fs> {
    /// The sequence number of the next frame to read.
    pub(super) position: u64,
    cursor: Option<Cursor<F>>,
    /// The number of reads that have failed in a row.
    failures: u32,
}

struct Cursor<F: Fs> {
    /// The number of the first frame of the segment.
    segment: u64,
    /// A sequence number. The cursor is at a record whose first frame has this number or a higher one.
    from: u64,
    scanner: Scanner<F>,
}

/// Frames that were read from a spool. Their sequence numbers have no gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first frame.
    pub first: u64,
    /// The number of frames.
    pub frames: u64,
    /// The frames in their wire form, exactly as they were appended.
    pub payload: Bytes,
    /// The context with which these frames were appended. It is the same for all of them.
    pub context: Bytes,
    /// The time at which the router received the oldest of these frames.
    pub received: SystemTime,
}

/// A batch to which records are still being added.
struct Growing {
    first: u64,
    end: u64,
    payload: BytesMut,
    context: Bytes,
    received: u64,
}

/// If this number of reads of the same place fail in a row, the rest of the segment is given up. The earlier failures
/// are only reported, because they may be temporary errors of a network file system.
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

    /// Closes the file, because its name may now belong to another file.
    pub(super) fn forget_file(&mut self) {
        self.cursor = None;
    }
}

// === impl Growing ===

impl Growing {
    /// Returns whether a record with this header and this context can be added to the batch. The record must follow
    /// without a gap and have the same context, and the payload must not exceed `limit` bytes.
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
    /// Reads the next frames. The batch contains the frames of one record. If the following records have the same
    /// context and follow without a gap, their frames are added, as long as the payload has at most `limit` bytes.
    /// Returns `None` at the end of the spool.
    ///
    /// Frames that cannot be read are counted as lost and skipped. In that case, the `first` of the next batch is
    /// higher than the end of the previous batch.
    ///
    /// # Errors
    ///
    /// If a file cannot be read. If this fails for the third time in a row, the remaining frames of the segment are
    /// given up, and no error is returned.
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
                // The batch is returned first. The next call returns the error, because it reads the same place again.
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

    /// Continues to read at the frame `to`. If this frame is already confirmed, continues at the first unconfirmed
    /// frame. If the spool does not have this frame yet, continues at the end of the spool.
    pub fn seek(&mut self, to: u64) {
        self.reader.position = to.clamp(self.confirmed, self.next);
        let position = self.reader.position;
        // A cursor can only move forward.
        if self
            .reader
            .cursor
            .as_ref()
            .is_some_and(|it| it.from > position)
        {
            self.reader.cursor = None;
        }
    }

    /// Finds the record that contains the next frame. If there is no such record, finds the first record after that
    /// frame.
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

    /// Opens a segment in order to read the frame at the position. Returns `None` if the segment was written for
    /// another sink or by another version of tapfan.
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

    /// Returns false if the header of the segment names another sink or another version of the format. Returns true if
    /// the header is damaged, because such a header does not show who wrote the segment.
    fn is_ours(&self, file: &F::File) -> io::Result<bool> {
        let mut bytes = [0; segment::HEADER];
        read_full(&self.fs, file, &mut bytes, 0)?;
        let header = segment::Header::decode(&bytes);
        Ok(header.is_none_or(|it| it.owner == self.owner && it.version == VERSION))
    }

    /// Adds a record to the batch and moves the position behind it. If the record does not fit into the batch, returns
    /// false and leaves the position unchanged.
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
        // The first frames of the record may be confirmed already. They are skipped.
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
        // If there are frames between the position and the record, they are lost.
        self.pass(header.first, Loss::Corrupt, now);
        self.reader.position = header.end();
        Ok(true)
    }

    /// Counts the frames from the position up to `end` as lost, and moves the position to `end`.
    fn pass(&mut self, end: u64, loss: Loss, now: Now) {
        let position = self.reader.position;
        if position < end {
            self.lose(position..end, loss, now);
            self.reader.position = self.reader.position.max(end);
        }
    }

    /// Moves on to the next segment, because this segment has no more records. The frames that are missing in it are
    /// lost.
    fn end_segment(&mut self, index: usize, step: &Step, now: Now) {
        let is_newest = index + 1 == self.segments.len();
        let frames = self.segments.frames(index, self.next);
        // A segment is complete and synced before the next one begins. So if frames are missing at the end of an older
        // segment, an interrupted write is not the reason.
        let is_damaged = match step {
            Step::End(Rest::Damaged) => true,
            Step::End(Rest::Torn) => !is_newest && self.reader.position < frames.end,
            _ => false,
        };
        if self.writer.is_open() && is_newest {
            // The segment is damaged although it is still being written. `seal` closes it, so further records go to a
            // new segment. The reader then reads the closed segment once more. An error of `seal` is ignored, because
            // the next commit has the same error and returns it.
            let _ = self.seal(now);
            self.reader.cursor = None;
            return;
        }
        let Range { start, end } = frames;
        let length = self.segments.get(index).map_or(0, Segment::length);
        let aside = match self.reader.cursor.take() {
            _ if !is_damaged => None,
            Some(cursor) => {
                let (file, at) = (cursor.scanner.file(), cursor.scanner.at());
                let aside = damage::put_aside(&self.fs, file, start, at, length);
                Some(aside.map(|()| self.segments.cut(index, at)))
            }
            // Another sink or another version of tapfan wrote the segment.
            None => {
                self.segments.mark_damaged(index);
                Some(damage::put_all_aside(&self.fs, start))
            }
        };
        self.counters.put_aside += u64::from(matches!(aside, Some(Ok(()))));
        self.pass(end, Loss::Corrupt, now);
    }

    /// Handles a failed read. Either returns the error, or gives up the remaining frames of the segment.
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
            // This file cannot be read, so new frames go to another file.
            let _ = self.seal(now);
        }
        self.pass(end, Loss::Corrupt, now);
        Ok(())
    }
}
