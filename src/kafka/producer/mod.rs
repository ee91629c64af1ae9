//! The state of an idempotent producer of one topic: its batches, their sequence numbers, and the leaders of the
//! partitions.
//!
//! ```text
//! append ─► batch of a partition ─► collect (stamp) ─► broker ─► settle ─┬─► stored: its records are done
//!             ▲                                                          ├─► refused: divided, or its record dropped
//!             └──────────────────── later, moved, connection lost ◄──────┘
//! ```
//!
//! A batch gets its stamp, the producer id and a sequence number, when it is sent for the first time. If the
//! outcome is unknown, the batch is sent again with the same stamp and the same records, so the broker stores it once.
//! At most one batch of a partition is in flight, and a batch that was not stored is sent before all later ones. So the
//! order of the records of a partition never changes.

mod batch;
mod collect;
mod limit;
mod partition;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::repeat,
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use self::{
    batch::Span,
    partition::{Failing, PartitionState},
    settle::{Consequence, Outcome},
};
use self::{
    batch::{Batch, capacity_for},
    limit::Limit,
    partition::Partition,
};
use super::{
    Compression, Headers, Metadata, ProducerId, Record,
    batch::{HEADER, Records},
    partitioner::partition_of,
};

/// The settings of a producer.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub compression: Compression,
    /// The time for which a batch waits for more records.
    pub linger: Duration,
    /// The headers of each record.
    pub headers: Headers,
}

/// An idempotent producer of one topic. It outlives connections to brokers.
#[derive(Debug)]
pub(crate) struct Producer {
    pub(super) settings: Settings,
    /// The producer id of new batches. `None` if the producer needs a new one.
    id: Option<ProducerId>,
    /// The partitions, including those that the topic no longer has: their sequence numbers must not be used again.
    partitions: Vec<Partition>,
    /// The number of partitions that the topic has now.
    count: usize,
    /// The brokers to which there is a connection.
    reachable: BTreeSet<i32>,
    /// The partition of records without a key. Another one is chosen after each batch.
    sticky: usize,
    /// The partition with which the next request to each leader begins.
    turns: BTreeMap<i32, usize>,
    /// The size at which a new batch will be full.
    limit: Limit,
    /// The size at which a request is full.
    request_limit: Limit,
    /// True if batches are sent without waiting for more records.
    is_flushing: bool,
    /// The memory of all batches, in bytes.
    memory: usize,
    /// Counts the calls of `clear`. Batches in flight from before the last call are dropped when they are settled.
    generation: u64,
    /// The memory that all batches may use, in bytes.
    bound: usize,
    /// Large buffers of batches that are done. New batches reuse them.
    spare: Vec<Records>,
}

/// Batches that were collected for one leader. They are in flight until they are settled.
#[derive(Debug)]
pub(crate) struct Shipped {
    leader: i32,
    /// The batches, each with its partition.
    pub(super) batches: Vec<(usize, Batch)>,
    pub(super) compression: Compression,
    generation: u64,
}

/// The largest size of a batch. It is well below the limit of brokers, which is 1 MiB by default.
const BATCH_BYTES: usize = 256 << 10;

/// The largest size of all batches of one request. A larger request would not be faster, because the broker writes the
/// batches one after the other.
const REQUEST_BYTES: usize = 4 << 20;

/// The number of large buffers that are kept for new batches. The bound on the memory does not include them.
const SPARE_AT_MOST: usize = 4;

/// The part of the bound that buffers without records may use, if each partition has one.
const PARTS_OF_BOUND: usize = 4;

// === impl Producer ===

impl Producer {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            id: None,
            partitions: Vec::new(),
            count: 0,
            reachable: BTreeSet::new(),
            sticky: 0,
            turns: BTreeMap::new(),
            limit: Limit::new(BATCH_BYTES),
            request_limit: Limit::new(REQUEST_BYTES),
            is_flushing: false,
            memory: 0,
            bound: usize::MAX,
            generation: 0,
            spare: Vec::new(),
        }
    }

    /// Returns the memory of all batches, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Sets the memory that all batches may use, in bytes. The caller must check it before it appends records.
    pub(crate) fn set_bound(&mut self, bytes: usize) {
        self.bound = bytes;
    }

    /// Returns whether all records are stored or refused.
    pub(crate) fn is_empty(&self) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.all(|it| it.waiting.is_empty() && !it.is_in_flight)
    }

    /// Drops all batches. Batches in flight are dropped when they are settled. Calls `unsent` with the records of batches
    /// that were not sent.
    pub(crate) fn clear(&mut self, mut unsent: impl FnMut(Span)) {
        for partition in &mut self.partitions {
            for batch in partition.waiting.drain(..) {
                if batch.stamp.is_none() {
                    batch.spans.iter().copied().for_each(&mut unsent);
                }
                self.memory -= batch.memory();
            }
            partition.failing = None;
            partition.cuts = 0;
        }
        self.generation += 1;
        // The dropped batches would leave gaps in the sequence numbers, which brokers refuse. A new producer id starts
        // at 0.
        self.id = None;
    }

    /// Turns flushing on or off. While it is on, batches do not wait for more records.
    pub(crate) fn flush(&mut self, on: bool) {
        self.is_flushing = on;
    }

    pub(crate) fn needs_id(&self) -> bool {
        self.id.is_none()
    }

    /// Sets the producer id of all batches that have no stamp.
    pub(crate) fn set_id(&mut self, id: ProducerId) {
        self.id = Some(id);
        for partition in &mut self.partitions {
            partition.sequence = 0;
        }
    }

    // --- Partitions and leaders

    /// Applies new metadata. If the topic has fewer partitions than before, it is another topic with the same name, and
    /// the batches of the missing partitions move to the others.
    pub(crate) fn set_leaders(&mut self, metadata: &Metadata) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.count = metadata.leaders.len();
        if self.partitions.len() < self.count {
            self.partitions.resize_with(self.count, Partition::default);
        }
        // Without a connection to any leader, records without a key stay with this partition.
        if self.sticky >= self.count {
            self.sticky = 0;
        }
        let epochs = metadata.epochs.iter().chain(repeat(&-1));
        for (partition, epoch) in self.partitions.iter_mut().zip(epochs) {
            partition.epoch = *epoch;
        }
        let leaders = metadata.leaders.iter().chain(repeat(&None));
        for (partition, leader) in self.partitions.iter_mut().zip(leaders) {
            if partition.leader != *leader {
                partition.leader = *leader;
                partition.is_reachable = leader.is_some_and(|it| self.reachable.contains(&it));
                // The new leader may be ready at once.
                partition.not_before = None;
            }
        }
        let leaders = self.leaders();
        self.turns.retain(|leader, _| leaders.contains(leader));
        for index in self.count..self.partitions.len() {
            self.partitions[index].failing = None;
            self.partitions[index].cuts = 0;
            for batch in std::mem::take(&mut self.partitions[index].waiting) {
                self.move_records(&batch, &mut outcomes);
                self.recycle(batch);
            }
        }
        outcomes
    }

    /// Returns whether the topic had more partitions, or a partition had a later leader, in the metadata that the producer
    /// has. Then the broker that sent `metadata` does not know the newest state, or the topic was created again.
    pub(crate) fn is_older(&self, metadata: &Metadata) -> bool {
        let epochs = self.partitions.iter().map(|it| it.epoch);
        metadata.is_behind(self.count, epochs)
    }

    /// Returns the leaders of all partitions.
    pub(crate) fn leaders(&self) -> BTreeSet<i32> {
        self.partitions.iter().filter_map(|it| it.leader).collect()
    }

    /// Returns whether this broker leads a partition.
    pub(crate) fn leads(&self, broker: i32) -> bool {
        self.partitions.iter().any(|it| it.leader == Some(broker))
    }

    /// Returns the state of each partition that the topic has now.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionState> {
        let partitions = self.partitions.iter().take(self.count);
        partitions.map(Partition::state)
    }

    /// Sets whether there is a connection to the broker `leader`.
    pub(crate) fn set_reachable(&mut self, leader: i32, is_reachable: bool) {
        if is_reachable {
            self.reachable.insert(leader);
        } else {
            self.reachable.remove(&leader);
        }
        for partition in &mut self.partitions {
            if partition.leader == Some(leader) && partition.is_reachable != is_reachable {
                partition.is_reachable = is_reachable;
                if !partition.is_suspect() {
                    partition.not_before = None;
                }
            }
        }
    }

    // --- Append records

    /// Appends a record. `ticket` and `place` identify it in outcomes. Returns the leader to wake, if this record
    /// started or filled a batch.
    pub(crate) fn append(
        &mut self,
        record: &Record<'_>,
        (ticket, place): (u64, u32),
        now: Instant,
    ) -> Option<i32> {
        let size = Records::size_of(record, &self.settings.headers);
        let index = match record.key {
            Some(key) => partition_of(key, self.count),
            None => self.sticky_for(size),
        };
        debug_assert!(index < self.count, "partition {index} of {}", self.count);
        let headers = &self.settings.headers;
        let partition = self.partitions.get_mut(index)?;
        let open = partition.waiting.back();
        let is_new = !open.is_some_and(|batch| batch.has_room(size));
        if is_new {
            // With many partitions, most batches are small. If each began with a large buffer, the buffers alone would
            // exceed the bound.
            let share = self.bound / PARTS_OF_BOUND / self.count.max(1);
            let capacity = capacity_for(size + HEADER, partition.expected.min(share));
            let used = self.spare.pop_if(|_| capacity == BATCH_BYTES);
            let records = used.unwrap_or_else(|| Records::new(capacity));
            let limit = self.limit.current(now);
            let batch = Batch::new(records, limit, now);
            self.memory += batch.memory();
            partition.waiting.push_back(batch);
        }
        let batch = partition.waiting.back_mut()?;
        let (was_full, before) = (batch.is_full(), batch.memory());
        batch.append(record, headers, ticket, place);
        self.memory += batch.memory() - before;
        let is_news = is_new || (batch.is_full() && !was_full);
        partition.leader.filter(|_| is_news)
    }

    /// Returns the partition of a record without a key. Chooses another one when a batch is full, when the leader of the
    /// partition cannot be reached, and when its last batch could not be stored or is suspect.
    fn sticky_for(&mut self, size: usize) -> usize {
        let is_good = |partition: &Partition| {
            partition.leader.is_some()
                && partition.is_reachable
                && partition.failing.is_none()
                && !partition.is_suspect()
        };
        if let Some(partition) = self.partitions.get(self.sticky)
            && is_good(partition)
            && partition.waiting.back().is_some_and(|it| it.has_room(size))
        {
            return self.sticky;
        }
        let count = self.count;
        let next = (1..=count).map(|step| (self.sticky + step) % count);
        let good = |index: &usize| self.partitions.get(*index).is_some_and(is_good);
        // An idle partition first, because its leader sends the batch sooner.
        let idle = |index: &usize| good(index) && self.partitions[*index].waiting.is_empty();
        let chosen = next.clone().find(idle).or_else(|| next.clone().find(good));
        self.sticky = chosen.unwrap_or(self.sticky);
        self.sticky
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
