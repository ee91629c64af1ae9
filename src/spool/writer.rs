//! The writer of a spool: it appends records, starts new segments, and ensures that the data reaches the disk.
//!
//! Records that may not be on the disk yet are kept in memory. The reason is that `fdatasync` may fail. In that case,
//! the content of the disk is unknown, and a second call may succeed without writing anything, because the kernel may
//! have marked the pages as clean. So after a failure, the writer closes the segment, and writes the records from
//! memory to a new segment. If the old segment has no other records, the new segment replaces it.

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

/// The segment that is being written, and the records that may not be on the disk yet.
pub(super) struct Writer<F: Fs> {
    /// The file of the newest segment. `None` if the next record needs a new segment.
    file: Option<F::File>,
    /// The records that may not be on the disk yet, in order. With `sync never`, this list is always empty.
    unsynced: Vec<Kept>,
    /// The size of the records in `unsynced`, in bytes.
    unsynced_bytes: u64,
    /// True if the name of a new file may not be on the disk yet.
    is_folder_dirty: bool,
    /// A sequence number. Every frame with a lower number is on the disk.
    pub(super) synced: u64,
}

struct Kept {
    header: record::Header,
    context: Bytes,
    payload: Bytes,
    /// The offset of the record in its segment.
    at: u64,
}

/// The result of appending frames to a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The frames are in a segment, and survive the end of the process. The number is that of the first frame.
    At(u64),
    /// The spool is full, so nothing was written.
    Full,
}

/// The largest total size of the records that are kept in memory until they are on the disk, in bytes.
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

    /// Returns whether there are records that may not be on the disk yet.
    pub(super) fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Returns the number of the first frame that may not be on the disk yet.
    pub(super) fn first_unsynced(&self) -> Option<u64> {
        self.unsynced.first().map(|kept| kept.header.first)
    }

    /// Closes the file of the newest segment. Records that may not be on the disk yet are written to the next one.
    pub(super) fn close_file(&mut self) {
        self.file = None;
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
    /// If the frames cannot be written. With `sync always`, also if they cannot be synced to the disk. After an error,
    /// the frames are not in the spool, and the next call appends only its own frames. However, frames whose write
    /// failed may be read again after a power loss.
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

    /// Ensures that there is an open segment with room for a record of this length.
    fn provide_segment(&mut self, length: u64, now: Now) -> Result<(), SpoolError> {
        if self.must_rotate(length) {
            // The segment is synced before the next segment begins. So all records that may not be on the disk are in
            // one segment.
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

    /// Returns whether a record of this length must be written to a new segment.
    pub(super) fn must_rotate(&self, length: u64) -> bool {
        let open = self.segments.back().filter(|_| self.writer.is_open());
        open.is_none_or(|open| {
            let has_records = open.length() > segment::HEADER as u64;
            has_records && open.length() + length > self.settings.segment
        })
    }

    /// Returns the largest number of segments that begin when a record of this length is appended.
    pub(super) fn new_segments(&self, length: u64) -> u64 {
        let rescued = segment::HEADER as u64 + self.writer.unsynced_bytes;
        let must_rescue = !self.writer.is_open() && self.writer.is_dirty();
        match self.must_rotate(length) {
            false => 0,
            // The segment with the rescued records may have no room for the new one.
            true if must_rescue && rescued + length > self.settings.segment => 2,
            true => 1,
        }
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
            // A part of the record may be in the file. It is cut off, because a shorter record at this place would not
            // overwrite all of it.
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

    /// Removes the last record from the spool, because it could not be synced.
    fn take_back(&mut self, first: u64) {
        self.next = first;
        // Closes this segment, so that the next segment begins with the number `first`. Readers then ignore the removed
        // record, even if it is still in the file of this segment.
        self.writer.file = None;
        let is_last = |kept: &mut Kept| kept.header.first == first;
        if let Some(kept) = self.writer.unsynced.pop_if(is_last) {
            self.writer.unsynced_bytes -= kept.header.length() as u64;
            self.cut_newest(kept.at);
        }
    }

    /// Cuts off the end of the newest segment, because the records there no longer belong to the spool. An error of the
    /// file does no harm, because readers ignore these records anyway.
    fn cut_newest(&mut self, length: u64) {
        let Some(newest) = self.segments.back() else {
            return;
        };
        let file = self.fs.open(&segment::name(newest.first));
        let _ = file.and_then(|file| self.fs.truncate(&file, length));
        self.segments.cut(self.segments.len() - 1, length);
    }

    /// Waits until all data that was appended is on the disk. With `sync never`, does nothing.
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

    /// Starts a new segment, which begins with the records that may not be on the disk yet. The segment gets its final
    /// name only when it is complete. If an error occurs before that, the spool is unchanged.
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
        // An earlier attempt may have left a file with this name.
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

    /// Begins a new segment, although the newest one may have room. After a failed write, this shows whether the disk can
    /// be written again, even if there is no frame to write. Returns false and does nothing if the spool has no room for
    /// another segment.
    ///
    /// # Errors
    ///
    /// If the segment cannot be written.
    pub fn begin_segment(&mut self, now: Now) -> Result<bool, SpoolError> {
        let room = self.settings.size.saturating_sub(self.segments.bytes());
        if room < segment::HEADER as u64 {
            return Ok(false);
        }
        self.writer.close_file();
        self.start_segment(now)?;
        Ok(true)
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
