//! The batches and the leader of one partition.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{super::ErrorCode, batch::Batch};

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The broker that is the leader now.
    pub(super) leader: Option<i32>,
    /// The epoch of this leader.
    pub(super) epoch: i32,
    /// True if there is a connection to the leader.
    pub(super) is_reachable: bool,
    /// The sequence number of the next batch that gets a stamp.
    pub(super) sequence: i32,
    /// The size of the last batch that was sent. The next one is expected to be as large.
    pub(super) expected: usize,
    /// The batches to send, in order. Only the first one can have a stamp. Only the last one can get more records.
    pub(super) waiting: VecDeque<Batch>,
    pub(super) is_in_flight: bool,
    /// The time before which no batch is sent, because the broker could not store the last one.
    pub(super) not_before: Option<Instant>,
    /// The first answer that a batch cannot be stored, since the last batch was stored.
    pub(super) failing: Option<Failing>,
    /// The number of connections in a row that ended while a batch of the partition was in flight.
    pub(super) cuts: u32,
}

/// The state of a partition that the topic has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionState {
    pub(crate) leader: Option<i32>,
    /// The time since which no batch could be stored, and the last error. `None` if the last batch was stored.
    pub(crate) failing: Option<Failing>,
    /// The number of connections in a row that ended while the first batch was in flight, if there are so many that this
    /// batch may be the reason. Otherwise 0.
    pub(crate) cuts: u32,
}

/// The time since which the batches of a partition cannot be stored, and the last error.
pub(crate) type Failing = (Instant, ErrorCode);

/// The number of connections in a row that end while a batch is in flight, after which this batch may be the reason.
///
/// Brokers restart, so a few connections that end prove nothing. A proxy may limit the size of a request: the size of the
/// requests is halved until it is that of a single batch, and this many connections end on the way.
const SUSPECT_AFTER: u32 = 5;

/// The delay before a suspect batch is sent again. It doubles with each connection that ends.
const LEAST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

// === impl Partition ===

impl Partition {
    /// Returns the time at which the first waiting batch can be sent.
    pub(super) fn due(&self, linger: Duration, is_flushing: bool) -> Option<Instant> {
        if self.is_in_flight {
            return None;
        }
        let first = self.waiting.front()?;
        let waits = first.stamp.is_none() && !first.is_full() && self.waiting.len() == 1;
        let due = if waits && !is_flushing {
            first.begun + linger
        } else {
            first.begun
        };
        Some(self.not_before.map_or(due, |least| due.max(least)))
    }

    /// Counts a connection that ended while a batch was in flight.
    pub(super) fn cut(&mut self, now: Instant) {
        self.cuts = self.cuts.saturating_add(1);
        if let Some(more) = self.cuts.checked_sub(SUSPECT_AFTER) {
            let delay = LEAST_DELAY * (1 << more.min(10));
            self.not_before = Some(now + delay.min(LONGEST_DELAY));
        }
    }

    /// Returns whether the first batch may be the reason why connections end again and again. For example, a bug in a broker
    /// makes it fail at this batch, or a proxy allows no request as large as this batch.
    ///
    /// Such a batch is sent alone and seldom, so that the other partitions of its leader get frames. It is never dropped: a
    /// cluster whose brokers crash again and again ends the connections in the same way, and must cost no frames.
    pub(super) fn is_suspect(&self) -> bool {
        self.cuts >= SUSPECT_AFTER
    }

    pub(super) fn state(&self) -> PartitionState {
        PartitionState {
            leader: self.leader,
            failing: self.failing,
            cuts: if self.is_suspect() { self.cuts } else { 0 },
        }
    }

    pub(super) fn has_stamp(&self) -> bool {
        let first = self.waiting.front();
        first.is_some_and(|batch| batch.stamp.is_some())
    }
}
