//! The maintenance of a spool's folder. The thread restores deleted files, and removes frames that are done or too old.

use std::time::Duration;

use tracing::warn;

use super::{failure::Failed, keeper::Keeper};
use crate::{
    router::DropReason,
    spool::{Fs, Missing, Now, WhenFull},
};

/// The longest time for which the newest segment stays on the disk after all its frames are done. If `age` is shorter,
/// `age` is the limit.
const TIDY: Duration = Duration::from_secs(60);

/// The time between two looks for segments that another program has deleted or shortened.
const LOOK: Duration = Duration::from_secs(2);

// === impl Keeper ===

impl<F: Fs> Keeper<F> {
    /// Creates the files of the spool again if another program has deleted them. Returns false if this fails.
    pub(super) fn restore_place(&mut self, now: Now) -> bool {
        match self.spool.restore_place() {
            Ok(false) => true,
            Ok(true) => {
                let (sink, folder) = (self.sink.as_str(), self.spool.settings().folder.display());
                warn!(sink, %folder, "files of the spool were deleted, or its folder was replaced: created them again; the frames in deleted files are lost");
                self.look_after_segments(now);
                self.note_missing();
                true
            }
            Err(error) => {
                self.fails(Failed::Commit, &error, now);
                self.publish();
                false
            }
        }
    }

    /// Notices segments that another program has deleted or shortened.
    pub(super) fn look_after_segments(&mut self, now: Now) {
        if self.retry_at.is_some() {
            return;
        }
        match self.spool.look_after_segments() {
            Ok(None) => {}
            Ok(Some(Missing { name, others })) => {
                let (sink, file) = (self.sink.as_str(), self.spool.settings().folder.join(name));
                let file = file.display();
                warn!(sink, %file, others, "another program has deleted or shortened files of the spool: frames that are only there are lost");
                self.note_missing();
            }
            Err(error) => self.fails(Failed::Commit, &error, now),
        }
        self.publish();
    }

    /// Tells the queue that the oldest segments are missing. Frames that were only there are lost. Those that are in memory
    /// are still sent, but count as frames that are not on the disk.
    fn note_missing(&self) {
        let floor = self.spool.first_on_disk();
        self.queue.raise_floor(floor, DropReason::SpoolCorrupt);
    }

    /// Sets the times of the next [`tidy`](Self::tidy) and of the next [look](Self::look_after_segments), if the spool
    /// has files.
    pub(super) fn plan_tidying(&mut self, now: Now) {
        if self.spool.status().segments == 0 {
            return;
        }
        if self.tidy_at.is_none() {
            let time = self.age.map_or(TIDY, |age| age.min(TIDY));
            self.tidy_at = Some(now.steady + time);
        }
        self.look_at.get_or_insert(now.steady + LOOK);
    }

    /// Deletes the newest segment if all its frames are done.
    pub(super) fn tidy(&mut self, now: Now) {
        if self.retry_at.is_some() {
            return;
        }
        let below = self.queue.spool_range().start;
        let result = self.spool.confirm(below, now);
        if let Err(error) = result.and_then(|()| self.spool.tidy(now)) {
            self.fails(Failed::Commit, &error, now);
        }
        self.publish();
    }

    /// Drops the frames that are older than `age`.
    pub(super) fn expire(&mut self, now: Now) {
        let Some(age) = self.age else {
            return;
        };
        if let Some(limit) = now.steady.checked_sub(age) {
            self.queue.expire(limit);
        }
        let below = self.queue.spool_range().start;
        let result = self.spool.confirm(below, now);
        if let Err(error) = result.and_then(|()| self.spool.expire(now)) {
            self.fails(Failed::Commit, &error, now);
        }
        self.raise_floor(DropReason::Expired);
    }

    /// Logs a warning if a reload has made SIZE smaller than the spool. The warning says what happens to the frames.
    pub(super) fn warn_if_too_small(&self) {
        let (bytes, settings) = (self.spool.status().bytes, self.spool.settings());
        let (sink, size) = (self.sink.as_str(), settings.size);
        if bytes <= size {
            return;
        }
        match settings.when_full {
            WhenFull::Newest => {
                warn!(
                    sink,
                    bytes,
                    size,
                    "the spool holds more than its new SIZE: nothing is deleted, but new frames stay in memory until the collector has taken enough"
                );
            }
            WhenFull::Oldest => {
                warn!(
                    sink,
                    bytes,
                    size,
                    "the spool holds more than its new SIZE: the next new frames delete its oldest files"
                );
            }
        }
    }
}
