//! A limit on warnings, so that a hostile or broken sender cannot fill the log.

use crate::lock::Mutex;
use std::time::{Duration, Instant};

/// Limits the warnings about the senders of one listener. The first few of each time window are logged, and the others
/// are only counted.
#[derive(Debug, Default)]
pub(super) struct WarningLimit {
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    warnings: u64,
}

const WINDOW: Duration = Duration::from_secs(10);
const WARNINGS: u64 = 10;

// === impl WarningLimit ===

impl WarningLimit {
    /// Returns the number of warnings held back since the last logged warning, or `None` if this warning must be held
    /// back, too.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock();
        let current = window.get_or_insert(Window {
            began: now,
            warnings: 0,
        });
        let mut held_back = 0;
        if now.saturating_duration_since(current.began) >= WINDOW {
            held_back = current.warnings.saturating_sub(WARNINGS);
            *current = Window {
                began: now,
                warnings: 0,
            };
        }
        current.warnings += 1;
        (current.warnings <= WARNINGS).then_some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_warnings_pass_in_a_window_and_the_next_window_reports_the_rest() {
        let limit = WarningLimit::default();
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(limit.admit(start), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(limit.admit(start + Duration::from_secs(9)), None);
        }
        assert_eq!(limit.admit(start + Duration::from_secs(10)), Some(5));
    }
}
