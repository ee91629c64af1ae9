//! The record of whether a collector confirms its frames with FINISH, and of the memory that unconfirmed frames use.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use super::endpoints::ENDPOINTS_AT_MOST;
use crate::{
    config::{Confirm, FinishBounds},
    health::{Event, Reporter},
    lock::Mutex,
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
    bounds: FinishBounds,
    missed: Arc<Missed>,
    /// True while the sink works as with `confirm kernel`.
    degraded: AtomicBool,
    /// The memory of all frames that wait for FINISH, in bytes.
    held: AtomicU64,
    status: Reporter,
}

/// The number of connections in a row that ended without FINISH.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Connections that had unconfirmed frames and got no FINISH after STOP.
    unanswered: AtomicU32,
    /// Connections that had unconfirmed frames and ended before STOP was sent.
    lost: AtomicU32,
}

/// The records of the connections without FINISH, one for each endpoint of a sink. They are kept when the task of an
/// endpoint starts again. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct AllMissed(Arc<Mutex<HashMap<Option<SocketAddr>, Arc<Missed>>>>);

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
    /// Creates the record of an endpoint. `missed` counts its connections that ended without FINISH.
    pub(super) fn new(
        configured: Confirm,
        bounds: FinishBounds,
        status: Reporter,
        missed: Arc<Missed>,
    ) -> Self {
        Self(Arc::new(Shared {
            configured,
            bounds,
            missed,
            degraded: AtomicBool::default(),
            held: AtomicU64::default(),
            status,
        }))
    }

    /// Returns whether the connections must use `confirm kernel`, because the collector has not sent FINISH.
    pub(super) fn is_degraded(&self) -> bool {
        let Shared {
            configured, missed, ..
        } = &*self.0;
        *configured == Confirm::Finish
            && (missed.unanswered.load(Relaxed) >= UNANSWERED || missed.lost.load(Relaxed) >= LOST)
    }

    /// Returns the bounds of the frames that wait for FINISH.
    pub(super) fn bounds(&self) -> FinishBounds {
        self.0.bounds
    }

    /// Returns whether the frames of a new connection wait for FINISH.
    pub(super) fn awaits_finish(&self) -> bool {
        self.0.configured == Confirm::Finish && !self.is_degraded()
    }

    /// Returns how the frames of a new connection must be confirmed.
    pub(super) fn begin(&self) -> Confirm {
        let degraded = self.is_degraded();
        match (self.0.degraded.swap(degraded, Relaxed), degraded) {
            (true, false) => self.0.status.report(&Event::ConfirmsAgain),
            // Earlier connections, from before this record was created, ended without FINISH.
            (false, true) => self.0.status.report(&Event::DoesNotConfirm),
            _ => {}
        }
        if degraded {
            Confirm::Kernel
        } else {
            self.0.configured
        }
    }

    /// Records that a connection ended with FINISH.
    pub(super) fn finished(&self) {
        self.0.missed.unanswered.store(0, Relaxed);
        self.0.missed.lost.store(0, Relaxed);
    }

    /// Records that a connection ended without FINISH although some of its frames waited for FINISH.
    pub(super) fn missed(&self, after_stop: bool) {
        let count = if after_stop {
            &self.0.missed.unanswered
        } else {
            &self.0.missed.lost
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

// === impl AllMissed ===

impl AllMissed {
    /// Returns the record of the endpoint at this address. The record of a sink that uses one endpoint at a time has
    /// the address `None`.
    pub(super) fn of(&self, address: Option<SocketAddr>) -> Arc<Missed> {
        let mut all = self.0.lock();
        // Forgets the addresses that are not in use. Otherwise, the number of records would grow if the name had other
        // addresses after each lookup.
        if all.len() > ENDPOINTS_AT_MOST {
            all.retain(|_, missed| Arc::strong_count(missed) > 1);
        }
        Arc::clone(all.entry(address).or_default())
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
        that_missed(Arc::default())
    }

    fn that_missed(missed: Arc<Missed>) -> (Confirmation, Reporter) {
        let status = Reporter::new("siem".into());
        let bounds = FinishBounds::default();
        let confirmation = Confirmation::new(Confirm::Finish, bounds, status.clone(), missed);
        (confirmation, status)
    }

    #[test]
    fn an_endpoint_that_starts_again_remembers_what_its_collector_missed() {
        let missed = AllMissed::default();
        let address = |last| Some(SocketAddr::from(([192, 0, 2, last], 6000)));
        let again = |last| that_missed(missed.of(address(last)));
        for _ in 0..UNANSWERED {
            let (confirmation, status) = again(1);
            assert_eq!(confirmation.begin(), Confirm::Finish);
            assert!(!status.watch().borrow().degraded);
            confirmation.missed(true);
        }
        let (confirmation, status) = again(1);
        assert_eq!(confirmation.begin(), Confirm::Kernel);
        assert!(status.watch().borrow().degraded);
        assert_eq!(again(2).0.begin(), Confirm::Finish);
        drop(confirmation);
        for last in 0..=u8::MAX {
            missed.of(address(last));
        }
        assert!(missed.0.lock().len() <= ENDPOINTS_AT_MOST + 1);
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
