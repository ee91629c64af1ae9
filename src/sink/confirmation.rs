//! The record of whether a collector confirms its frames with FINISH, and of the memory that unconfirmed frames use.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::{
    config::Confirm,
    health::{Event, Reporter},
};

/// The way in which the collector must confirm frames. All connections of one sink share this value.
///
/// With `confirm finish`, frames are sent again if the collector has not confirmed them with FINISH. A collector that
/// never sends FINISH would get the same frames on each connection. Therefore, if several connections in a row end
/// without FINISH, the next connections use `confirm kernel`, until one of them ends with FINISH.
#[derive(Debug, Clone)]
pub(super) struct Confirmation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    configured: Confirm,
    /// The number of connections in a row that had unconfirmed frames and got no FINISH after STOP.
    unanswered: AtomicU32,
    /// The number of connections in a row that had unconfirmed frames and ended before STOP was sent.
    lost: AtomicU32,
    /// True while the sink works as with `confirm kernel`.
    degraded: AtomicBool,
    /// The memory of all frames that wait for FINISH, in bytes.
    held: AtomicU64,
    status: Reporter,
}

/// The memory of a batch that waits for FINISH. Dropping this value subtracts the memory from the total.
#[derive(Debug)]
pub(super) struct HeldMemory {
    confirmation: Confirmation,
    bytes: u64,
}

/// If this number of connections in a row get no FINISH after STOP, the next ones use `confirm kernel`.
const UNANSWERED: u32 = 3;

/// If this number of connections in a row break before STOP, the next ones use `confirm kernel`. The reason is that a
/// collector may crash when it reads a certain frame: with `confirm finish`, it would get this frame again on each
/// connection.
const LOST: u32 = 10;

// === impl Confirmation ===

impl Confirmation {
    pub(super) fn new(configured: Confirm, status: Reporter) -> Self {
        Self(Arc::new(Shared {
            configured,
            unanswered: AtomicU32::default(),
            lost: AtomicU32::default(),
            degraded: AtomicBool::default(),
            held: AtomicU64::default(),
            status,
        }))
    }

    /// Returns whether the connections must use `confirm kernel`, because the collector has not sent FINISH.
    pub(super) fn is_degraded(&self) -> bool {
        let Shared {
            configured,
            unanswered,
            lost,
            ..
        } = &*self.0;
        *configured == Confirm::Finish
            && (unanswered.load(Relaxed) >= UNANSWERED || lost.load(Relaxed) >= LOST)
    }

    /// Returns how the frames of a new connection must be confirmed.
    pub(super) fn begin(&self) -> Confirm {
        let degraded = self.is_degraded();
        if self.0.degraded.swap(degraded, Relaxed) && !degraded {
            self.0.status.report(&Event::ConfirmsAgain);
        }
        if degraded {
            Confirm::Kernel
        } else {
            self.0.configured
        }
    }

    /// Records that a connection ended with FINISH.
    pub(super) fn finished(&self) {
        self.0.unanswered.store(0, Relaxed);
        self.0.lost.store(0, Relaxed);
    }

    /// Records that a connection ended without FINISH although some of its frames waited for FINISH.
    pub(super) fn missed(&self, after_stop: bool) {
        let count = if after_stop {
            &self.0.unanswered
        } else {
            &self.0.lost
        };
        count.fetch_add(1, Relaxed);
        if self.is_degraded() && !self.0.degraded.swap(true, Relaxed) {
            self.0.status.report(&Event::DoesNotConfirm);
        }
    }

    /// Adds the memory of a batch that waits for FINISH.
    pub(super) fn hold(&self, bytes: u64) -> HeldMemory {
        self.0.held.fetch_add(bytes, Relaxed);
        HeldMemory {
            confirmation: self.clone(),
            bytes,
        }
    }

    /// Returns whether the frames that wait for FINISH use less than `bound` bytes.
    pub(super) fn has_room(&self, bound: u64) -> bool {
        self.0.held.load(Relaxed) < bound
    }
}

// === impl HeldMemory ===

impl HeldMemory {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.confirmation.0.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmation() -> (Confirmation, Reporter) {
        let status = Reporter::new("siem".into());
        (Confirmation::new(Confirm::Finish, status.clone()), status)
    }

    #[test]
    fn three_unanswered_stops_in_a_row_degrade_until_a_connection_after_the_next_finish() {
        let (confirmation, status) = confirmation();
        let degraded = || status.watch().borrow().degraded;
        confirmation.missed(true);
        confirmation.missed(true);
        confirmation.finished();
        confirmation.missed(true);
        confirmation.missed(true);
        assert_eq!(confirmation.begin(), Confirm::Finish);
        assert!(!degraded());
        confirmation.missed(true);
        assert!(degraded());
        assert_eq!(confirmation.begin(), Confirm::Kernel);
        confirmation.finished();
        assert!(
            degraded(),
            "the connection in use still works as with kernel"
        );
        assert_eq!(confirmation.begin(), Confirm::Finish);
        assert!(!degraded());
    }

    #[test]
    fn connections_that_break_before_stop_degrade_only_after_many() {
        let (confirmation, status) = confirmation();
        for _ in 1..LOST {
            confirmation.missed(false);
            assert_eq!(confirmation.begin(), Confirm::Finish);
        }
        confirmation.missed(false);
        assert_eq!(confirmation.begin(), Confirm::Kernel);
        assert!(status.watch().borrow().degraded);
    }

    #[test]
    fn held_memory_bounds_what_awaits_finish() {
        let (confirmation, _) = confirmation();
        let one = confirmation.hold(60);
        assert!(confirmation.has_room(100));
        let _two = confirmation.clone().hold(60);
        assert!(!confirmation.has_room(100));
        drop(one);
        assert!(confirmation.has_room(100));
    }
}
