//! The spool itself: the calls that its thread makes, and the order of the steps of each call.

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

/// The frames of a sink, stored on a disk. docs/spool.md describes what this type promises.
pub struct Spool<F: Fs = Folder> {
    pub(super) fs: F,
    pub(super) settings: Settings,
    pub(super) owner: Owner,
    pub(super) segments: Segments,
    pub(super) writer: Writer<F>,
    pub(super) reader: Reader<F>,
    pub(super) checkpoint: CheckpointFile<F>,
    /// A sequence number. Every frame with a lower number is confirmed, or was given up and counted.
    pub(super) confirmed: u64,
    /// The number of the next frame to append.
    pub(super) next: u64,
    pub(super) lost: Lost,
    pub(super) counters: Counters,
    /// The time since which changes wait for the next commit. `None` if there are no such changes.
    pub(super) waiting: Option<Instant>,
    #[allow(dead_code, reason = "dropping it ends the lock")]
    pub(super) lock: Option<F::File>,
}

/// The current state of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// A sequence number. Every frame with a lower number is confirmed, or was given up and counted.
    pub confirmed: u64,
    /// The number of the next frame to read.
    pub position: u64,
    /// A sequence number. Every frame with a lower number is in a segment and on the disk. With `sync never`, it may
    /// not be on the disk yet.
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

/// The counts of a spool since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that were appended.
    pub appended: u64,
    /// Frames that cannot be read, because their data on the disk is damaged or missing.
    pub corrupt: u64,
    /// Frames that were not read yet and were given up because the spool was full.
    pub oldest: u64,
    /// Frames that were not read yet and were given up because of their age.
    pub expired: u64,
    /// Calls of `fdatasync` that failed for a segment. After each of them, the data is written again to another
    /// segment.
    pub failed_syncs: u64,
    /// Segments that were damaged. Their unreadable part was moved to another file.
    pub put_aside: u64,
}

/// The reason why frames are counted as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Corrupt,
    Oldest,
    Expired,
}

/// The longest time from a change to its commit, with `sync always`. Frames are synced before `append` returns, so this
/// time applies only to other changes, such as confirmations.
const COMMIT: Duration = Duration::from_millis(200);

// === impl Spool ===

impl<F: Fs> Spool<F> {
    /// Records that every frame with a number below `below` is confirmed, and writes a checkpoint without waiting for
    /// the disk. The checkpoint survives the end of the process immediately. It survives a power loss only after the
    /// next [`commit`](Self::commit).
    ///
    /// If `below` is lower than in an earlier call, this call confirms nothing. If the frames that follow are known to
    /// be lost, they count as confirmed, too.
    ///
    /// # Errors
    ///
    /// If the checkpoint cannot be written. The next checkpoint also contains these confirmations.
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

    /// Waits until everything that was appended and confirmed is on the disk. Then deletes the segments that are no
    /// longer needed. With `sync never`, does not wait for the disk.
    ///
    /// # Errors
    ///
    /// If a step fails. The following steps are not done, because a segment must be deleted only when the checkpoint
    /// that covers it is on the disk. The next commit tries again.
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

    /// Returns the latest time at which [`commit`](Self::commit) must be called. `None` if there is nothing to commit.
    pub fn commit_due(&self) -> Option<Instant> {
        let within = match self.settings.sync {
            Sync::Within(time) => time,
            Sync::Always => COMMIT,
            Sync::Never => return None,
        };
        self.waiting?.checked_add(within)
    }

    /// Commits, deletes the newest segment if all its frames are confirmed, and closes the files. If a spool is dropped
    /// without this call, no frame is lost, but after a power loss more frames may be sent again.
    ///
    /// # Errors
    ///
    /// The same as those of [`commit`](Self::commit).
    pub fn close(mut self, now: Now) -> Result<(), SpoolError> {
        self.commit(now)?;
        self.tidy(now)
    }

    /// Deletes the newest segment if all its frames are confirmed, although it is not full. The next frame then begins a
    /// new segment. Without this call, the frames of a sink that gets few of them would stay on the disk for a long time.
    ///
    /// # Errors
    ///
    /// The same as those of [`commit`](Self::commit).
    pub fn tidy(&mut self, now: Now) -> Result<(), SpoolError> {
        if self.confirmed < self.next || self.segments.len() == 0 {
            return Ok(());
        }
        self.seal(now)?;
        self.commit(now)
    }

    /// Changes the limits and the rule for syncs. The folder and the owner stay the same.
    ///
    /// # Errors
    ///
    /// If the settings contradict each other, or if [`commit`](Self::commit) fails, which this function calls first.
    /// After an error, the settings are unchanged.
    pub fn change(&mut self, settings: &Settings, now: Now) -> Result<(), SpoolError> {
        settings.check()?;
        self.commit(now)?;
        let Settings {
            segment,
            size,
            sync,
            when_full,
            age,
            ..
        } = *settings;
        self.settings = Settings {
            folder: std::mem::take(&mut self.settings.folder),
            owner: std::mem::take(&mut self.settings.owner),
            segment,
            size,
            sync,
            when_full,
            age,
        };
        Ok(())
    }

    /// Returns the settings in use.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the current state.
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

    /// Records that every frame with a number below `below` is confirmed. Does not write a checkpoint.
    pub(super) fn advance(&mut self, below: u64, now: Now) {
        self.confirmed = self.lost.skip(below.max(self.confirmed));
        self.lost.forget(self.confirmed);
        self.reader.position = self.reader.position.max(self.confirmed);
        self.waiting.get_or_insert(now.steady);
    }

    /// Counts the frames of `range` as lost. A frame that was already counted is not counted again.
    pub(super) fn lose(&mut self, range: std::ops::Range<u64>, loss: Loss, now: Now) {
        let frames = self.lost.add(range);
        let counter = match loss {
            Loss::Corrupt => &mut self.counters.corrupt,
            Loss::Oldest => &mut self.counters.oldest,
            Loss::Expired => &mut self.counters.expired,
        };
        *counter += frames;
        // If the lost frames follow directly after the confirmed frames, they count as confirmed now. The sink cannot
        // confirm them, because it never gets them.
        if self.lost.skip(self.confirmed) > self.confirmed {
            self.advance(self.confirmed, now);
        }
    }

    pub(super) fn write_checkpoint(&mut self) -> Result<(), SpoolError> {
        let (confirmed, end) = (self.confirmed, self.writer.synced);
        let written = self.checkpoint.write(&self.fs, confirmed, end);
        written.map_err(|error| self.error("write", super::checkpoint::NAME, error))
    }

    /// Returns whether the oldest segment can be deleted: it contains only confirmed frames, and it is not being
    /// written.
    pub(super) fn front_is_confirmed(&self) -> bool {
        self.front_may_go() && self.segments.frames(0, self.next).end <= self.confirmed
    }

    /// Returns whether there is an old segment that the writer does not need.
    pub(super) fn front_may_go(&self) -> bool {
        match self.segments.len() {
            0 => false,
            // If the writer must write some frames again, they belong to the only segment, so this segment must stay.
            1 => !self.writer.is_open() && !self.writer.is_dirty(),
            _ => true,
        }
    }

    /// Deletes the segments whose frames are all below the checkpoint. The checkpoint must have been written. Unless
    /// `sync` is `never`, it must also be on the disk.
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
    // For an empty name, `Path::join` would add a slash to the path of the folder.
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
