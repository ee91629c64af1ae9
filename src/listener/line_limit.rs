//! A limit on log lines, so that a hostile or broken sender cannot fill the log.

use crate::lock::Mutex;
use std::time::{Duration, Instant};

/// Limits the lines of one kind about the senders of one listener. The first few of each time window are logged, and
/// the others are only counted.
#[derive(Debug, Default)]
pub(crate) struct LineLimit {
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
}

const WINDOW: Duration = Duration::from_secs(10);
const LINES: u64 = 10;

// === impl LineLimit ===

impl LineLimit {
    /// Returns the number of lines held back since the last logged line, or `None` if this line must be held back, too.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock();
        let current = window.get_or_insert(Window {
            began: now,
            lines: 0,
        });
        let mut held_back = 0;
        if now.saturating_duration_since(current.began) >= WINDOW {
            held_back = current.lines.saturating_sub(LINES);
            *current = Window {
                began: now,
                lines: 0,
            };
        }
        current.lines += 1;
        (current.lines <= LINES).then_some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_pass_in_a_window_and_the_next_window_reports_the_rest() {
        let limit = LineLimit::default();
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
