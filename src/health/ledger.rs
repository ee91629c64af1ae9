//! The account of the frames that were offered to a sink.

use crate::closed_set::closed_set;

closed_set! {
    /// The reason why a sink lost a frame. The set of reasons is fixed, because each reason is the value of a metric
    /// label.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DropReason {
        /// The queue was full: the sink was down, stalled or too slow for too long.
        QueueFull => "queue_full",
        /// The frame was not a dnstap message, so the sink could not make the configured changes to it.
        Malformed => "malformed",
        /// Several connections ended in the middle of this frame. The sink dropped the frame, because it may be the
        /// cause.
        Disconnected => "disconnected",
        /// The frame was still queued or in flight when the time for draining was over.
        Shutdown => "shutdown",
        /// The frame waited for an endpoint whose address the sink's name no longer has, and was not sent before the
        /// time for draining was over. Or it waited for a collector that had connected to the sink, and this connection
        /// broke.
        EndpointGone => "endpoint_gone",
        /// The router was near its memory limit, and this sink held more memory than any other.
        Memory => "memory",
        /// The frame was written, but the sink ended before the collector confirmed it. The frame may have arrived.
        Unconfirmed => "unconfirmed",
        /// The frame waited in the sink's spool for longer than `age` allows.
        Expired => "expired",
        /// The spool was full, and `when_full oldest` dropped its oldest frames.
        SpoolOldest => "spool_oldest",
        /// The frame was in the sink's spool and could not be read.
        SpoolCorrupt => "spool_corrupt",
        /// The brokers of the sink's topic refused the frame, for example because it is too large for the topic.
        Refused => "refused",
    }
}

closed_set! {
    /// The reason why a sink does not get a frame although nothing is wrong: the options of the sink exclude it, or no
    /// collector is connected to a sink that waits for collectors. Such a frame is not lost. The set of reasons is fixed,
    /// because each reason is the value of a metric label.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Exclusion {
        /// A rule of `types`, `keep` or `drop` excludes the frame.
        Filtered => "filtered",
        /// The transaction of the frame is not in the `sample`.
        Sampled => "sampled",
        /// The frame was above the `limit`.
        RateLimited => "rate_limited",
        /// The sink waits for collectors, and none was connected. Or the frame waited for a collector that closed its
        /// connection.
        NoCollector => "no_collector",
    }
}

/// The number of excluded frames, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exclusions([u64; Exclusion::ALL.len()]);

/// The number of lost frames, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

/// The account of a sink's frames at one moment. Each count is a number of frames, unless its name contains `bytes`.
///
/// At any time, `offered = excluded + delivered + dropped + queued + in flight + unconfirmed`.
/// [`balances`](Self::balances) checks this equation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Frames that the router offered to the sink. They include the excluded frames.
    pub offered: u64,
    /// Frames that were delivered. The option `confirm` decides when a frame counts as delivered. By default, this is
    /// when the operating system has accepted the whole frame, on a connection whose handshake was complete.
    pub delivered: u64,
    /// The bytes of the delivered frames on the wire. They are counted after the changes that the sink makes to frames.
    pub delivered_bytes: u64,
    /// Frames waiting in the queue, or in the spool.
    pub queued: u64,
    /// The bytes of memory that the queued frames, the frames in flight and the unconfirmed frames use.
    pub held_bytes: u64,
    /// Frames that were taken from the queue and are not written completely yet.
    pub in_flight: u64,
    /// Frames that were written completely, but are not confirmed by the collector yet. Always 0 with `confirm
    /// written`.
    pub unconfirmed: u64,
    /// The bytes of memory that the unconfirmed frames use.
    pub unconfirmed_bytes: u64,
    /// Frames that were written a second time, because the first connection ended before the collector confirmed them.
    /// The collector may have these frames twice.
    pub resent: u64,
    dropped: Drops,
    excluded: Exclusions,
}

// === impl Exclusions ===

impl Exclusions {
    /// Returns the number of frames that were excluded for `reason`.
    pub const fn of(&self, reason: Exclusion) -> u64 {
        self.0[reason as usize]
    }

    /// Returns the number of excluded frames, for all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds `frames` to the number of frames that were excluded for `reason`.
    pub fn count(&mut self, reason: Exclusion, frames: u64) {
        self.0[reason as usize] += frames;
    }
}

// === impl Drops ===

impl Drops {
    /// Returns the number of frames that were lost for `reason`.
    pub const fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Returns the number of lost frames, for all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns each reason with the number of frames that were lost for it.
    pub fn each(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.0)
    }

    /// Adds `frames` to the number of frames that were lost for `reason`.
    pub fn count(&mut self, reason: DropReason, frames: u64) {
        self.0[reason as usize] += frames;
    }
}

// === impl Ledger ===

impl Ledger {
    /// Counts frames as excluded because no collector was connected.
    pub(crate) fn count_no_collector(&mut self, frames: u64) {
        self.excluded.count(Exclusion::NoCollector, frames);
    }

    /// Returns the number of frames that were lost for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.of(reason)
    }

    /// Returns the number of lost frames, for all reasons together.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.total()
    }

    /// Returns the number of frames that the sink's options excluded for `reason`.
    pub fn excluded(&self, reason: Exclusion) -> u64 {
        self.excluded.of(reason)
    }

    /// Returns the number of frames that the sink's options excluded, for all reasons together.
    pub fn excluded_total(&self) -> u64 {
        self.excluded.total()
    }

    /// Returns whether each offered frame is counted exactly once.
    pub fn balances(&self) -> bool {
        self.offered
            == self.excluded_total()
                + self.delivered
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
        self.count_excluded(&other.excluded);
    }

    /// Adds excluded frames. The caller counts them as offered.
    pub(crate) fn count_excluded(&mut self, more: &Exclusions) {
        for reason in Exclusion::ALL {
            self.excluded.count(reason, more.of(reason));
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
