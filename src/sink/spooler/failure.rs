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
        self.failed = Some(step);
        let since = self.shared.state.facts().failure;
        let since = since.map_or(now.wall, |(_, since)| since);
        self.shared
            .state
            .set_failure(Some((error.to_string(), since)));
    }

    /// Tries the failed step again.
    ///
    /// The attempt must not wait for a frame to write: a sink that delivers every frame at once has none, and an idle sink
    /// has none either.
    pub(super) fn try_again(&mut self, now: Now) {
        let Some(failed) = self.failed else {
            return self.allow_writes();
        };
        // The commit also deletes the files of frames that are done. A full disk may need this space for a new file.
        self.commit(now);
        if failed == Failed::Append && self.failed == Some(failed) {
            match self.spool.begin_segment(now) {
                Ok(()) => self.works_again(Failed::Append),
                Err(error) => self.fails(Failed::Append, &error, now),
            }
        }
        if self.retry_at.is_none() {
            self.allow_writes();
        }
        self.publish();
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
        if step == Failed::Commit {
            self.backoff = BACKOFF.0;
        }
        self.shared.state.set_failure(None);
        let sink = self.sink.as_str();
        info!(sink, "the spool can be written again");
    }
}
