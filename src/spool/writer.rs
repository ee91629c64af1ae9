//! Appending: records, new segments, and the way to the disk.
//!
//! What is not on the disk yet stays in memory. If `fdatasync` fails, the content of the disk is unknown: the kernel
//! may have marked the pages as clean, so that a second call succeeds without writing them. The segment is therefore
//! closed, and the records that were not synced are written to a new segment, which begins with the first of them. If
//! the old segment has no other records, the new one replaces it.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::{
    error::SpoolError,
    fs::{Fs, write_all},
    record,
    segment::{self, LAST, VERSION},
    segments::Segment,
    settings::{Entry, Now, Sync, millis},
    store::Spool,
};

/// The segment that is being written, and what the disk may not have.
pub(super) struct Writer<F: Fs> {
    /// The file of the newest segment. `None` if the next record needs a new segment.
    file: Option<F::File>,
    /// The records that may not be on the disk, in order. Empty with `sync never`.
    unsynced: Vec<Kept>,
    /// The size of these records, in bytes.
    unsynced_bytes: u64,
    /// True if a new file may not be in the folder on the disk.
    is_folder_dirty: bool,
    /// Every frame below this number is on the disk.
    pub(super) synced: u64,
}

struct Kept {
    header: record::Header,
    context: Bytes,
    payload: Bytes,
    /// The offset in the segment.
    at: u64,
}

/// The fate of frames that were to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// They are in a segment, and survive the end of the process. This is the number of the first frame.
    At(u64),
    /// The spool is full; nothing was written.
    Full,
}

/// The limit on the total size of the records that are kept in memory until they are synced, in bytes.
const UNSYNCED: u64 = 8 << 20;

// === impl Writer ===

impl<F: Fs> Writer<F> {
    pub(super) fn new(synced: u64) -> Self {
        Self {
            file: None,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            is_folder_dirty: false,
            synced,
        }
    }

    /// Returns whether the newest segment is being written.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Returns whether records may not be on the disk.
    pub(super) fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    fn set_synced(&mut self, below: u64) {
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        self.is_folder_dirty = false;
        self.synced = below;
    }
}

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Appends frames as one record.
    ///
    /// # Errors
    ///
    /// If the frames cannot be written, or with `sync always` cannot be brought to the disk. They are not in the spool
    /// then, and the next call tries again with its own frames. Frames whose write failed may be read again after a
    /// power loss.
    pub fn append(&mut self, entry: &Entry, now: Now) -> Result<Appended, SpoolError> {
        let header = self.header(entry)?;
        let length = header.length() as u64;
        if self.writer.unsynced_bytes + length > UNSYNCED {
            self.sync_data(now)?;
        }
        if !self.make_room(length, now)? {
            return Ok(Appended::Full);
        }
        self.provide_segment(length, now)?;
        self.write(header, entry, now)?;
        match self.settings.sync {
            Sync::Always => {
                if let Err(error) = self.sync_data(now) {
                    self.take_back(header.first);
                    return Err(error);
                }
            }
            Sync::Never => self.writer.synced = self.next,
            Sync::Within(_) => {}
        }
        self.counters.appended += u64::from(header.frames);
        Ok(Appended::At(header.first))
    }

    fn header(&self, entry: &Entry) -> Result<record::Header, SpoolError> {
        let (context, payload) = (entry.context.len(), entry.payload.len());
        let body = context.saturating_add(payload);
        if body > record::LONGEST {
            return Err(SpoolError::TooLong(body));
        }
        let frames = record::count(&entry.payload).filter(|frames| *frames > 0);
        let header = record::Header {
            first: self.next,
            frames: frames.ok_or(SpoolError::Malformed)?,
            time: millis(entry.received),
            context: u32::try_from(context).map_err(|_| SpoolError::TooLong(body))?,
            payload: u32::try_from(payload).map_err(|_| SpoolError::TooLong(body))?,
        };
        if header.end() > LAST {
            return Err(SpoolError::Exhausted(self.settings.folder.clone()));
        }
        Ok(header)
    }

    /// Ensures that a segment is open that has room for a record of this length.
    fn provide_segment(&mut self, length: u64, now: Now) -> Result<(), SpoolError> {
        if self.must_rotate(length) {
            // A segment is on the disk before the next one begins, so all unsynced records are in one segment.
            self.sync_data(now)?;
            if self.must_rotate(length) {
                return self.start_segment(now);
            }
        }
        if self.writer.file.is_none() {
            self.start_segment(now)?;
        }
        Ok(())
    }

    /// Returns whether a record of this length needs a new segment.
    pub(super) fn must_rotate(&self, length: u64) -> bool {
        let open = self.segments.back().filter(|_| self.writer.is_open());
        open.is_none_or(|open| {
            let has_records = open.length() > segment::HEADER as u64;
            has_records && open.length() + length > self.settings.segment
        })
    }

    fn write(&mut self, header: record::Header, entry: &Entry, now: Now) -> Result<(), SpoolError> {
        let (Some(file), Some(open)) = (&self.writer.file, self.segments.back()) else {
            return Err(SpoolError::Malformed);
        };
        let (first, at) = (open.first, open.length());
        let kept = Kept {
            header,
            context: entry.context.clone(),
            payload: entry.payload.clone(),
            at,
        };
        if let Err(error) = write_record(&self.fs, file, &kept, at) {
            // Removes a part of the record: a shorter record at this place would not cover it.
            if self.fs.truncate(file, at).is_err() {
                self.writer.file = None;
            }
            return Err(self.error("write", &segment::name(first), error));
        }
        let length = header.length() as u64;
        self.segments.grow(header.first, length, header.time);
        self.next = header.end();
        if self.settings.sync != Sync::Never {
            self.writer.unsynced.push(kept);
            self.writer.unsynced_bytes += length;
            self.waiting.get_or_insert(now.steady);
        }
        Ok(())
    }

    /// Takes the last record out of the spool, because it could not be synced.
    fn take_back(&mut self, first: u64) {
        self.next = first;
        // The next segment begins with this number, so the record is no longer a part of this one.
        self.writer.file = None;
        let is_last = |kept: &mut Kept| kept.header.first == first;
        if let Some(kept) = self.writer.unsynced.pop_if(is_last) {
            self.writer.unsynced_bytes -= kept.header.length() as u64;
            self.cut_newest(kept.at);
        }
    }

    /// Cuts the newest segment, whose later records are not a part of the spool any more. Readers pass over them
    /// anyway, so an error of the file does no harm.
    fn cut_newest(&mut self, length: u64) {
        let Some(newest) = self.segments.back() else {
            return;
        };
        let file = self.fs.open(&segment::name(newest.first));
        let _ = file.and_then(|file| self.fs.truncate(&file, length));
        self.segments.cut(self.segments.len() - 1, length);
    }

    /// Brings everything that was appended to the disk. With `sync never`, does nothing.
    pub(super) fn sync_data(&mut self, now: Now) -> Result<(), SpoolError> {
        let has_nothing = self.writer.unsynced.is_empty() && !self.writer.is_folder_dirty;
        if self.settings.sync == Sync::Never || has_nothing {
            return Ok(());
        }
        let synced = match &self.writer.file {
            Some(file) => self.fs.sync(file),
            None if self.writer.unsynced.is_empty() => Ok(()),
            None => return self.start_segment(now),
        };
        if synced.is_err() {
            self.counters.failed_syncs += 1;
            self.writer.file = None;
            return self.start_segment(now);
        }
        self.sync_names()
    }

    fn sync_names(&mut self) -> Result<(), SpoolError> {
        if self.writer.is_folder_dirty {
            let synced = self.fs.sync_folder();
            synced.map_err(|error| self.error("sync", "", error))?;
        }
        self.writer.set_synced(self.next);
        Ok(())
    }

    /// Starts a segment with the records that may not be on the disk. It has its name only when it is complete. If the
    /// start fails, the spool is as before.
    fn start_segment(&mut self, now: Now) -> Result<(), SpoolError> {
        let rescued = self.writer.unsynced.first();
        let first = rescued.map_or(self.next, |kept| kept.header.first);
        let cut = rescued.map(|kept| kept.at);
        let (unfinished, name) = (segment::unfinished_name(first), segment::name(first));
        let result = self
            .write_segment(&unfinished, first, now)
            .and_then(|file| {
                self.fs.rename(&unfinished, &name)?;
                Ok(file)
            });
        let file = result.map_err(|error| {
            let _ = self.fs.remove(&unfinished);
            self.error("write", &name, error)
        })?;
        let is_older = self.segments.back().is_some_and(|old| old.first < first);
        if let Some(cut) = cut.filter(|_| is_older) {
            self.cut_newest(cut);
        }
        if self.segments.replace(first) || cut.is_some() {
            self.reader.forget_file();
        }
        self.segments
            .push(Segment::new(first, segment::HEADER as u64, 0));
        for kept in &mut self.writer.unsynced {
            kept.at = self.segments.back().map_or(0, Segment::length);
            let (header, length) = (&kept.header, kept.header.length() as u64);
            self.segments.grow(header.first, length, header.time);
        }
        self.writer.file = Some(file);
        self.writer.is_folder_dirty = true;
        self.waiting.get_or_insert(now.steady);
        if self.writer.is_dirty() {
            self.sync_names()?;
        }
        Ok(())
    }

    fn write_segment(&self, unfinished: &str, first: u64, now: Now) -> io::Result<F::File> {
        // A file that an earlier attempt left.
        let _ = self.fs.remove(unfinished);
        let file = self.fs.create(unfinished)?;
        let header = segment::Header {
            version: VERSION,
            first,
            created: millis(now.wall),
            owner: self.owner,
        };
        write_all(&self.fs, &file, &mut [IoSlice::new(&header.encode())], 0)?;
        let mut at = segment::HEADER as u64;
        for kept in &self.writer.unsynced {
            write_record(&self.fs, &file, kept, at)?;
            at += kept.header.length() as u64;
        }
        if self.writer.is_dirty() {
            self.fs.sync(&file)?;
        }
        Ok(file)
    }

    /// Closes the newest segment, so that the next record gets a new one.
    pub(super) fn seal(&mut self, now: Now) -> Result<(), SpoolError> {
        let synced = self.sync_data(now);
        self.writer.file = None;
        synced
    }
}

fn write_record<F: Fs>(fs: &F, file: &F::File, kept: &Kept, at: u64) -> io::Result<()> {
    let header = kept.header.encode(&kept.context, &kept.payload);
    let mut parts = [
        IoSlice::new(&header),
        IoSlice::new(&kept.context),
        IoSlice::new(&kept.payload),
    ];
    write_all(fs, file, &mut parts, at)
}
