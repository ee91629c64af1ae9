//! The maintenance of a spool's folder. The thread restores deleted files, and removes frames that are done or too old.

use std::time::Duration;

use tracing::warn;

use super::keeper::{Failed, Keeper};
use crate::{
    router::DropReason,
    spool::{Fs, Now, WhenFull},
};

/// The longest time for which the newest segment stays on the disk after all its frames are done. If `age` is shorter,
/// `age` is the limit.
const TIDY: Duration = Duration::from_secs(60);

// === impl Keeper ===

impl<F: Fs> Keeper<F> {
    /// Creates the files of the spool again if another program has deleted them. Returns false if this fails.
    pub(super) fn restore_place(&mut self, now: Now) -> bool {
        match self.spool.restore_place() {
            Ok(false) => true,
            Ok(true) => {
                let (sink, folder) = (self.sink.as_str(), self.spool.settings().folder.display());
                warn!(sink, %folder, "files of the spool were deleted, or its folder was replaced: created them again; the frames in deleted files are lost");
                true
            }
            Err(error) => {
                self.fails(Failed::Commit, &error, now);
                self.publish();
                false
            }
        }
    }

    /// Sets the time of the next [`tidy`](Self::tidy), if the spool has files.
    pub(super) fn plan_tidying(&mut self, now: Now) {
        if self.tidy_at.is_none() && self.spool.status().segments > 0 {
            let time = self.age.map_or(TIDY, |age| age.min(TIDY));
            self.tidy_at = Some(now.steady + time);
        }
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
