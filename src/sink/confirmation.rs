//! Tracks whether a collector confirms its frames with FINISH, and how much memory unconfirmed frames hold.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::{
    config::Confirm,
    health::{Event, Reporter},
};

/// The confirmation that the connections of a sink ask for. All connections of one stack share it.
///
/// With `confirm finish`, a collector that never sends FINISH would get the same frames on each connection. After several
/// such connections in a row, the next ones ask for `kernel` instead, until one of them ends with FINISH.
#[derive(Debug, Clone)]
pub(super) struct Confirmation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    configured: Confirm,
    /// The connections in a row that had unconfirmed frames and did not answer STOP with FINISH.
    unanswered: AtomicU32,
    /// The connections in a row that had unconfirmed frames and ended before STOP.
    lost: AtomicU32,
    /// True while the sink works as with `kernel`.
    degraded: AtomicBool,
    /// The memory of all frames that await FINISH, in bytes.
    held: AtomicU64,
    status: Reporter,
}

/// The memory of a batch that awaits FINISH, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldMemory {
    confirmation: Confirmation,
    bytes: u64,
}

/// After this number of connections in a row that did not answer STOP, the sink asks for `kernel`.
const UNANSWERED: u32 = 3;

/// After this number of connections in a row that broke before STOP, the sink asks for `kernel`. A frame may be the
/// reason: with `finish`, a collector that crashes on it would get it again on each connection.
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

    /// Returns whether the collector has shown that it does not send FINISH.
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

    /// The confirmation that a connection asks for that begins now.
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

    /// Records that a connection ended without FINISH although frames waited for it.
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

    /// Counts the memory of a batch that awaits FINISH.
    pub(super) fn hold(&self, bytes: u64) -> HeldMemory {
        self.0.held.fetch_add(bytes, Relaxed);
        HeldMemory {
            confirmation: self.clone(),
            bytes,
        }
    }

    /// Returns whether the frames that await FINISH hold less than `bound` bytes.
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
