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
}

/// The state of a partition that the topic has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartitionState {
    pub(crate) leader: Option<i32>,
    /// The time since which no batch could be stored, and the last error. `None` if the last batch was stored.
    pub(crate) failing: Option<Failing>,
}

/// The time since which the batches of a partition cannot be stored, and the last error.
pub(crate) type Failing = (Instant, ErrorCode);

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

    pub(super) fn has_stamp(&self) -> bool {
        let first = self.waiting.front();
        first.is_some_and(|batch| batch.stamp.is_some())
    }
}
