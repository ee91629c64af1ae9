//! The log lines about the collectors that connect to a sink.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::opening::Refusal;
use crate::{config::quantity::Time, health::Disconnect, listener::LineLimit, router::Ledger};

/// Logs when collectors connect and disconnect. In each window of time, the first few lines of each kind are logged,
/// and the others only at debug.
#[derive(Debug, Default)]
pub(super) struct Lines {
    connected: LineLimit,
    disconnected: LineLimit,
    /// Separate from `disconnected`, because lines without a loss must not hold back a warning.
    lossy: LineLimit,
    refused: LineLimit,
}

// === impl Lines ===

impl Lines {
    pub(super) fn connected(&self, sink: &str, peer: &str, collectors: usize) {
        if let Some(held_back) = self.connected.admit(Instant::now()) {
            let held_back = unless_zero(held_back);
            info!(sink, peer, collectors, held_back, "collector connected");
        } else {
            debug!(sink, peer, collectors, "collector connected");
        }
    }

    /// Logs the end of a connection. `ledger` is the final ledger of the collector's queue.
    pub(super) fn disconnected(
        &self,
        sink: &str,
        peer: &str,
        after: Duration,
        cause: &Disconnect,
        ledger: &Ledger,
    ) {
        let (after, reason) = (Time(Duration::from_secs(after.as_secs())), cause.label());
        let (delivered, lost) = (ledger.delivered, ledger.dropped_total());
        let limit = if lost == 0 {
            &self.disconnected
        } else {
            &self.lossy
        };
        let Some(held_back) = limit.admit(Instant::now()) else {
            debug!(sink, peer, %after, delivered, lost, reason, %cause, "collector disconnected");
            return;
        };
        let held_back = unless_zero(held_back);
        if lost == 0 {
            info!(sink, peer, %after, delivered, lost, reason, %cause, held_back, "collector disconnected");
        } else {
            warn!(sink, peer, %after, delivered, lost, reason, %cause, held_back, "collector disconnected; frames were lost");
        }
    }

    pub(super) fn refused(&self, sink: &str, peer: &str, error: &Refusal) {
        if error.is_probe() {
            debug!(sink, peer, %error, "a connection to the sink was closed without a stream");
        } else if let Some(held_back) = self.refused.admit(Instant::now()) {
            let held_back = unless_zero(held_back);
            warn!(sink, peer, %error, held_back, "a collector was refused");
        } else {
            debug!(sink, peer, %error, "a collector was refused");
        }
    }
}

/// Returns `None` for 0, so that the field is left out of its line.
fn unless_zero(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::DropReason;

    #[test]
    fn lines_without_a_loss_hold_back_no_warning() {
        let lines = Lines::default();
        let log = |ledger: &Ledger| {
            let cause = Disconnect::Closed;
            lines.disconnected("a", "b", Duration::ZERO, &cause, ledger);
        };
        for _ in 0..20 {
            log(&Ledger::default());
        }
        let now = Instant::now();
        assert_eq!(lines.disconnected.admit(now), None);
        let mut lossy = Ledger::default();
        lossy.count_dropped(DropReason::QueueFull, 1);
        log(&lossy);
        assert_eq!(lines.lossy.admit(now), Some(0));
    }
}
