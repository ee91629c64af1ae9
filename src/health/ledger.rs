//! The account of the frames offered to a sink.

use crate::closed_set::closed_set;

closed_set! {
    /// Why a sink lost a frame. A closed set: it is a metric label.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DropReason {
        /// The queue had no room for it: the sink was down, stalled or too slow for too long.
        QueueFull => "queue_full",
        /// It was not a dnstap message, so it could not be edited.
        Malformed => "malformed",
        /// Several connections died in the middle of it, so it was given up for the frames behind it.
        Disconnected => "disconnected",
        /// It was still queued or in flight when the drain's time was over.
        Shutdown => "shutdown",
        /// It was for an endpoint that the sink's name no longer resolves to, and that did not take it in time.
        EndpointGone => "endpoint_gone",
        /// The router was near the bound of its memory, and this sink held most of it.
        Memory => "memory",
    }
}

/// Numbers of frames lost, one for each reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

/// A sink's account at one moment. All counts are frames unless they say bytes.
///
/// `offered = delivered + dropped + queued + in flight`, always: see [`balances`](Self::balances).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Handed to the sink's queue by the router.
    pub offered: u64,
    /// Handed whole to the operating system on a connection whose handshake had completed.
    pub delivered: u64,
    /// The same in bytes on the wire, as the sink's edits made them.
    pub delivered_bytes: u64,
    /// Waiting in the queue.
    pub queued: u64,
    /// The same in bytes of memory accounted for, in flight included.
    pub held_bytes: u64,
    /// Taken by the driver, and neither written whole nor given back.
    pub in_flight: u64,
    dropped: Drops,
}

// === impl Drops ===

impl Drops {
    /// Frames lost for `reason`.
    pub const fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Frames lost, for all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with the frames lost for it.
    pub fn each(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.0)
    }

    /// Counts `frames` more as lost for `reason`.
    pub fn count(&mut self, reason: DropReason, frames: u64) {
        self.0[reason as usize] += frames;
    }
}

// === impl Ledger ===

impl Ledger {
    /// Frames lost for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.of(reason)
    }

    /// Frames lost, for all reasons together.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.total()
    }

    /// Returns whether every frame offered is accounted for exactly once.
    pub fn balances(&self) -> bool {
        self.offered == self.delivered + self.dropped_total() + self.queued + self.in_flight
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.queued += other.queued;
        self.held_bytes += other.held_bytes;
        self.in_flight += other.in_flight;
        for (reason, frames) in other.dropped.each() {
            self.count_dropped(reason, frames);
        }
    }

    pub(crate) fn count_dropped(&mut self, reason: DropReason, frames: u64) {
        self.dropped.count(reason, frames);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_its_own_place_and_label() {
        let mut ledger = Ledger::default();
        for (frames, reason) in (1..).zip(DropReason::ALL) {
            ledger.count_dropped(reason, frames);
        }
        for (frames, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(ledger.dropped(reason), frames);
        }
        let labels = BTreeSet::from(DropReason::ALL.map(DropReason::label));
        assert_eq!(labels.len(), DropReason::ALL.len());
        assert!(!ledger.balances());
    }
}
