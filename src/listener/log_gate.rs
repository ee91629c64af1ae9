//! Keeps hostile or broken senders from filling the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets some lines through in each window and counts the others. One a listener.
#[derive(Debug, Default)]
pub(super) struct LogGate {
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
}

/// What becomes of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Write it, and say that so many were held back before it.
    Write {
        held_back: u64,
    },
    HoldBack,
}

const WINDOW: Duration = Duration::from_secs(10);
const LINES: u64 = 10;

// === impl LogGate ===

impl LogGate {
    pub(super) fn ask(&self, now: Instant) -> Verdict {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
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
        if current.lines <= LINES {
            Verdict::Write { held_back }
        } else {
            Verdict::HoldBack
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_ten_lines_through_and_the_next_says_how_many_were_held_back() {
        let gate = LogGate::default();
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(gate.ask(start), Verdict::Write { held_back: 0 });
        }
        for _ in 0..5 {
            assert_eq!(gate.ask(start + Duration::from_secs(9)), Verdict::HoldBack);
        }
        assert_eq!(
            gate.ask(start + Duration::from_secs(10)),
            Verdict::Write { held_back: 5 }
        );
    }
}
