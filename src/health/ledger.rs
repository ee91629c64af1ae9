//! The account of the frames offered to a sink.

use crate::closed_set::closed_set;

closed_set! {
    /// Why a sink lost a frame. The set is closed, because the reason is a metric label.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DropReason {
        /// The queue was full: the sink was down, stalled or too slow for too long.
        QueueFull => "queue_full",
        /// The frame was not a dnstap message, so the sink could not edit it.
        Malformed => "malformed",
        /// Several connections ended in the middle of this frame, so the sink skipped it.
        Disconnected => "disconnected",
        /// The frame was still queued or in flight at the drain's deadline.
        Shutdown => "shutdown",
        /// The frame waited for an endpoint whose address the sink's name no longer has. The endpoint did not take the
        /// frame in time.
        EndpointGone => "endpoint_gone",
        /// The router was near its memory limit, and this sink held more memory than any other.
        Memory => "memory",
        /// The frame was written, and the sink ended before the collector confirmed it. It may have arrived.
        Unconfirmed => "unconfirmed",
    }
}

/// Lost frames, counted by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

/// A sink's account at one moment. Each count is in frames, unless it says bytes.
///
/// At any time, `offered = delivered + dropped + queued + in flight + unconfirmed`; [`balances`](Self::balances) checks
/// it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Frames that the router offered to the sink's queue.
    pub offered: u64,
    /// Frames delivered at the level that `confirm` sets: by default, frames that the operating system accepted completely,
    /// on a connection whose handshake was complete.
    pub delivered: u64,
    /// The bytes of the delivered frames on the wire, after the sink's edits.
    pub delivered_bytes: u64,
    /// Frames waiting in the queue.
    pub queued: u64,
    /// The bytes of memory that the queued frames, those in flight and the unconfirmed ones hold.
    pub held_bytes: u64,
    /// Frames that the driver took from the queue and has neither written completely nor put back.
    pub in_flight: u64,
    /// Frames that were written completely and that the collector has not confirmed. Always 0 with `confirm written`.
    pub unconfirmed: u64,
    /// The bytes of memory that the unconfirmed frames hold.
    pub unconfirmed_bytes: u64,
    /// Frames that were written again, because the connection that wrote them first ended before it confirmed them. The
    /// collector may have them twice.
    pub resent: u64,
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

    /// Counts `frames` more frames as lost for `reason`.
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
        self.offered
            == self.delivered
                + self.dropped_total()
                + self.queued
                + self.in_flight
                + self.unconfirmed
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.queued += other.queued;
        self.held_bytes += other.held_bytes;
        self.in_flight += other.in_flight;
        self.unconfirmed += other.unconfirmed;
        self.unconfirmed_bytes += other.unconfirmed_bytes;
        self.resent += other.resent;
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
