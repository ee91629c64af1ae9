//! The spool: what one thread calls, and the order of its steps.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    checkpoint::CheckpointFile,
    error::SpoolError,
    fs::{Folder, Fs},
    lost::Lost,
    reader::Reader,
    segment::{self, Owner},
    segments::Segments,
    settings::{Now, Settings, Sync},
    writer::Writer,
};

/// The frames of a sink on a disk. docs/spool.md states its promises.
pub struct Spool<F: Fs = Folder> {
    pub(super) fs: F,
    pub(super) settings: Settings,
    pub(super) owner: Owner,
    pub(super) segments: Segments,
    pub(super) writer: Writer<F>,
    pub(super) reader: Reader<F>,
    pub(super) checkpoint: CheckpointFile<F>,
    /// Every frame below this number is confirmed, or was given up and counted.
    pub(super) confirmed: u64,
    /// The number of the next frame to append.
    pub(super) next: u64,
    pub(super) lost: Lost,
    pub(super) counters: Counters,
    /// The steady time since which something waits for the next commit.
    pub(super) waiting: Option<Instant>,
    #[allow(dead_code, reason = "dropping it ends the lock")]
    pub(super) lock: Option<F::File>,
}

/// The state of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Every frame below this number is confirmed, or was given up and counted.
    pub confirmed: u64,
    /// The number of the next frame to read.
    pub position: u64,
    /// Every frame below this number is in a segment and, unless `sync` is `never`, on the disk.
    pub synced: u64,
    /// The number of the next frame to append.
    pub next: u64,
    /// The length of all segments, in bytes.
    pub bytes: u64,
    /// The number of segments.
    pub segments: usize,
    /// The counts since the spool was opened.
    pub counters: Counters,
}

/// Counts since a spool was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that were appended.
    pub appended: u64,
    /// Frames that were on the disk, or should have been, and cannot be read.
    pub corrupt: u64,
    /// Frames that were given up because the spool was full, before they were read.
    pub oldest: u64,
    /// Frames that were given up because of their age, before they were read.
    pub expired: u64,
    /// Calls of `fdatasync` that failed for a segment. The segment was written again, or will be.
    pub failed_syncs: u64,
    /// Files that were put aside because they could not be read up to their end.
    pub put_aside: u64,
}

/// The reason why frames were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Corrupt,
    Oldest,
    Expired,
}

/// The time between the last change and the commit, unless `sync` says otherwise.
const COMMIT: Duration = Duration::from_millis(200);

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Notes that every frame below `below` is confirmed, and writes a checkpoint without waiting for the disk. The
    /// checkpoint survives the end of the process at once, and a power loss from the next [`commit`](Self::commit) on.
    ///
    /// A lower number than before confirms nothing. Lost frames that follow count as confirmed.
    ///
    /// # Errors
    ///
    /// If the checkpoint cannot be written. It is written again with the next one.
    pub fn confirm(&mut self, below: u64, now: Now) -> Result<(), SpoolError> {
        if below > self.confirmed {
            self.advance(below.min(self.next), now);
        }
        self.write_checkpoint()?;
        match self.settings.sync {
            Sync::Never => self.remove_confirmed(),
            _ => Ok(()),
        }
    }

    /// Brings everything that was appended and confirmed to the disk, then deletes the segments that are no longer
    /// needed. With `sync never`, nothing waits for the disk.
    ///
    /// # Errors
    ///
    /// If a step fails. The steps after it are not done: a segment is deleted only when the checkpoint that allows it
    /// is on the disk. The next commit tries again.
    pub fn commit(&mut self, now: Now) -> Result<(), SpoolError> {
        self.sync_data(now)?;
        self.write_checkpoint()?;
        if self.settings.sync != Sync::Never {
            let synced = self.checkpoint.sync(&self.fs);
            synced.map_err(|error| self.error("sync", super::checkpoint::NAME, error))?;
        }
        self.waiting = None;
        self.remove_confirmed()
    }

    /// The time at which [`commit`](Self::commit) must be called at the latest. `None` if nothing waits for it.
    pub fn commit_due(&self) -> Option<Instant> {
        let within = match self.settings.sync {
            Sync::Within(time) => time,
            Sync::Always => COMMIT,
            Sync::Never => return None,
        };
        self.waiting?.checked_add(within)
    }

    /// Commits, and closes the files. A spool that is only dropped loses no frame, but after a power loss more frames
    /// may be sent again.
    ///
    /// # Errors
    ///
    /// As of [`commit`](Self::commit).
    pub fn close(mut self, now: Now) -> Result<(), SpoolError> {
        self.commit(now)
    }

    /// The present state.
    pub fn status(&self) -> Status {
        Status {
            confirmed: self.confirmed,
            position: self.reader.position,
            synced: self.writer.synced,
            next: self.next,
            bytes: self.segments.bytes(),
            segments: self.segments.len(),
            counters: self.counters,
        }
    }

    /// Moves the confirmed frames on, without a checkpoint.
    pub(super) fn advance(&mut self, below: u64, now: Now) {
        self.confirmed = self.lost.skip(below.max(self.confirmed));
        self.lost.forget(self.confirmed);
        self.reader.position = self.reader.position.max(self.confirmed);
        self.waiting.get_or_insert(now.steady);
    }

    /// Counts the frames of `range` as lost, each frame once.
    pub(super) fn lose(&mut self, range: std::ops::Range<u64>, loss: Loss, now: Now) {
        let frames = self.lost.add(range);
        let counter = match loss {
            Loss::Corrupt => &mut self.counters.corrupt,
            Loss::Oldest => &mut self.counters.oldest,
            Loss::Expired => &mut self.counters.expired,
        };
        *counter += frames;
        // If they are the next to be confirmed, no confirmation of the sink will cover them.
        if self.lost.skip(self.confirmed) > self.confirmed {
            self.advance(self.confirmed, now);
        }
    }

    pub(super) fn write_checkpoint(&mut self) -> Result<(), SpoolError> {
        let (confirmed, end) = (self.confirmed, self.writer.synced);
        let written = self.checkpoint.write(&self.fs, confirmed, end);
        written.map_err(|error| self.error("write", super::checkpoint::NAME, error))
    }

    /// Returns whether the oldest segment has only confirmed frames and is not being written.
    pub(super) fn front_is_confirmed(&self) -> bool {
        self.front_may_go() && self.segments.frames(0, self.next).end <= self.confirmed
    }

    /// Returns whether there is a segment besides the one that is being written.
    pub(super) fn front_may_go(&self) -> bool {
        match self.segments.len() {
            0 => false,
            // Frames that wait to be written again have their place in the newest segment.
            1 => !self.writer.is_open() && !self.writer.is_dirty(),
            _ => true,
        }
    }

    /// Deletes the segments below the checkpoint. The checkpoint must be written and, unless `sync` is `never`, synced.
    fn remove_confirmed(&mut self) -> Result<(), SpoolError> {
        let mut is_removed = false;
        while self.front_is_confirmed() {
            let Some(front) = self.segments.front() else {
                break;
            };
            let name = segment::name(front.first);
            match self.fs.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.error("delete", &name, error));
                }
                _ => self.segments.pop_front(),
            }
            is_removed = true;
        }
        if is_removed && self.settings.sync != Sync::Never {
            let synced = self.fs.sync_folder();
            synced.map_err(|error| self.error("sync", "", error))?;
        }
        Ok(())
    }

    pub(super) fn error(&self, doing: &'static str, name: &str, source: io::Error) -> SpoolError {
        io_error(&self.settings, doing, name, source)
    }
}

pub(super) fn io_error(
    settings: &Settings,
    doing: &'static str,
    name: &str,
    source: io::Error,
) -> SpoolError {
    // `Path::join` would add a slash to the folder itself.
    let path = match name {
        "" => settings.folder.clone(),
        name => settings.folder.join(name),
    };
    SpoolError::Io {
        doing,
        path,
        source,
    }
}
