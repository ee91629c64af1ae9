//! Detects outputs that take no more data after a signal has asked the program to end.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Tokens that signals cancel in order to end the program.
#[derive(Debug, Clone, Default)]
pub(in crate::cli::dump) struct Ending {
    /// Cancelled by the first signal: the program should end.
    pub(in crate::cli::dump) asked: CancellationToken,
    /// Cancelled by the second signal: the program should end immediately.
    pub(in crate::cli::dump) hurry: CancellationToken,
}

/// Detects that an output is stuck: a signal has asked the program to end, and the output takes no data. Before the
/// signal, an output may stop taking data for any time; for example, a pager waits for its user.
#[derive(Debug)]
pub(super) struct Patience {
    ending: Ending,
    /// The time without progress after which the output is stuck.
    limit: Duration,
    progress: u64,
    /// The time of the first check without progress, after the signal and after the last progress.
    since: Option<Instant>,
}

/// The time limit for standard output, whose reader may be a pager.
pub(super) const STDOUT: Duration = Duration::from_secs(1);
/// The time limit for a file. A disk under load can be slow for seconds.
pub(super) const FILE: Duration = Duration::from_secs(10);
/// The time limit after a second signal.
const HURRY: Duration = Duration::from_millis(300);

// === impl Patience ===

impl Patience {
    pub(super) fn new(ending: Ending, limit: Duration) -> Self {
        Self {
            ending,
            limit,
            progress: 0,
            since: None,
        }
    }

    /// Returns whether the output is stuck. `progress` is any number that changes when the output takes data.
    pub(super) fn is_over(&mut self, progress: u64) -> bool {
        if progress != self.progress || !self.ending.asked.is_cancelled() {
            self.progress = progress;
            self.since = None;
            return false;
        }
        let limit = if self.ending.hurry.is_cancelled() {
            HURRY.min(self.limit)
        } else {
            self.limit
        };
        self.since.get_or_insert_with(Instant::now).elapsed() >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_stuck_only_after_a_signal_and_without_progress() {
        let ending = Ending::default();
        let mut patience = Patience::new(ending.clone(), Duration::ZERO);
        assert!(!patience.is_over(0), "a pager may wait for its user");
        ending.asked.cancel();
        assert!(!patience.is_over(1), "it took data");
        assert!(patience.is_over(1));
        let long = Duration::from_hours(1);
        let mut patience = Patience::new(ending.clone(), long);
        assert!(!patience.is_over(0));
        ending.hurry.cancel();
        patience.since = patience.since.and_then(|since| since.checked_sub(HURRY));
        assert!(patience.is_over(0));
    }
}
