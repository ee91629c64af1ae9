//! The confirmation that a sink asks for. It depends on whether the collector has sent FINISH on earlier connections.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::{
    config::Confirm,
    health::{Event, Reporter},
};

/// The confirmation that the connections of a sink ask for.
///
/// With `confirm finish`, a collector that never sends FINISH would get the same frames again on each connection. After
/// [`MISSES`] connections in a row without FINISH, the following connections ask for `kernel` instead, until a
/// connection ends with FINISH.
#[derive(Debug, Clone)]
pub(super) struct Confirmation {
    configured: Confirm,
    /// The number of connections in a row that had unconfirmed frames and ended without FINISH.
    misses: Arc<AtomicU32>,
    status: Reporter,
}

const MISSES: u32 = 3;

// === impl Confirmation ===

impl Confirmation {
    pub(super) fn new(configured: Confirm, status: Reporter) -> Self {
        Self {
            configured,
            misses: Arc::default(),
            status,
        }
    }

    /// The confirmation that the next connection asks for.
    pub(super) fn now(&self) -> Confirm {
        if self.is_degraded() {
            Confirm::Kernel
        } else {
            self.configured
        }
    }

    /// Returns whether the collector has shown that it does not send FINISH.
    pub(super) fn is_degraded(&self) -> bool {
        self.configured == Confirm::Finish && self.misses.load(Relaxed) >= MISSES
    }

    /// Records that a connection ended with FINISH.
    pub(super) fn finished(&self) {
        let misses = self.misses.swap(0, Relaxed);
        if self.configured == Confirm::Finish && misses >= MISSES {
            self.status.report(&Event::ConfirmsAgain);
        }
    }

    /// Records that a connection ended without FINISH, although its frames waited for FINISH.
    pub(super) fn missed(&self) {
        let misses = self.misses.fetch_add(1, Relaxed) + 1;
        if self.configured == Confirm::Finish && misses == MISSES {
            self.status.report(&Event::DoesNotConfirm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_misses_in_a_row_degrade_until_the_next_finish() {
        let status = Reporter::new("siem".into());
        let confirmation = Confirmation::new(Confirm::Finish, status.clone());
        confirmation.missed();
        confirmation.missed();
        confirmation.finished();
        confirmation.missed();
        confirmation.missed();
        assert_eq!(confirmation.now(), Confirm::Finish);
        assert!(!status.watch().borrow().degraded);
        confirmation.missed();
        assert_eq!(confirmation.now(), Confirm::Kernel);
        assert!(status.watch().borrow().degraded);
        confirmation.finished();
        assert_eq!(confirmation.now(), Confirm::Finish);
        assert!(!status.watch().borrow().degraded);
    }
}
