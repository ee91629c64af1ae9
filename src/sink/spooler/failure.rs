//! The failures of a spool's disk. New frames then go through memory, and the thread tries the disk again with a backoff.

use std::time::Duration;

use tracing::{info, warn};

use super::keeper::Keeper;
use crate::{
    router::Writes,
    spool::{Fs, Now, SpoolError},
};

/// The step that failed. Only its success ends the failure. For example, a full disk still has room for a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    Append,
    Commit,
}

/// The shortest and the longest time between two attempts after a failure.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

// === impl Keeper ===

impl<F: Fs> Keeper<F> {
    /// Records that a step has failed. New frames stay in memory until the next attempt.
    pub(super) fn fails(&mut self, step: Failed, error: &SpoolError, now: Now) {
        self.queue.set_writes(Writes::Failing);
        self.retry_at = Some(now.steady + self.backoff);
        self.backoff = (2 * self.backoff).min(BACKOFF.1);
        if self.failed.is_none() {
            let sink = self.sink.as_str();
            warn!(sink, %error, "cannot write to the spool; new frames stay in memory, and a restart loses them; trying again");
        }
        // A failed append outranks a failed commit, because a commit that succeeds says nothing about appends.
        if self.failed != Some(Failed::Append) {
            self.failed = Some(step);
        }
        let since = self.shared.state.facts().failure;
        let since = since.map_or(now.wall, |(_, since)| since);
        self.shared
            .state
            .set_failure(Some((error.to_string(), since)));
    }

    /// Tries the failed step again.
    ///
    /// If frames wait for the disk, the next one is the attempt. Without them, the attempt is a new segment. A sink that
    /// delivers every frame at once has no frames for the disk, and an idle sink has none either, so the attempt must not
    /// wait for a frame.
    pub(super) fn try_again(&mut self, now: Now) {
        self.retry_at = None;
        if self.failed.is_some() {
            // The commit also deletes the files of frames that are done. A full disk may need this space.
            self.commit(now);
        }
        let is_untested = self.failed == Some(Failed::Append) && !self.queue.has_frames_for_disk();
        if is_untested && self.retry_at.is_none() {
            match self.spool.begin_segment(now) {
                Ok(true) => self.works_again(Failed::Append),
                Ok(false) => self.retry_at = Some(now.steady + self.backoff),
                Err(error) => self.fails(Failed::Append, &error, now),
            }
        }
        if self.retry_at.is_none() {
            self.allow_writes();
        }
        self.publish();
    }

    /// Plans another attempt if the last one tested nothing: the sink may have delivered the waiting frames before the
    /// thread wrote them, or the spool was full.
    pub(super) fn plan_retry(&mut self, now: Now) {
        if self.failed.is_some() && self.retry_at.is_none() {
            self.retry_at = Some(now.steady + self.backoff);
        }
    }

    /// Ends the failure of a step, because the step has succeeded.
    ///
    /// The backoff after failed writes begins anew only with the next written frame. Otherwise, a disk that has room for a
    /// new file, but not for a frame in it, would be reported as working and as failing once a second.
    pub(super) fn works_again(&mut self, step: Failed) {
        if self.failed != Some(step) {
            return;
        }
        self.failed = None;
        self.retry_at = None;
        if step == Failed::Commit {
            self.backoff = BACKOFF.0;
        }
        self.shared.state.set_failure(None);
        let sink = self.sink.as_str();
        info!(sink, "the spool can be written again");
    }
}
