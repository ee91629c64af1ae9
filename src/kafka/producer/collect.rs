//! The beginning of a flight of batches: the batches of a request to one leader.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{
    super::batch::{Stamp, sequence_after},
    Producer, Shipped,
    partition::Partition,
};

// === impl Producer ===

impl Producer {
    /// Takes the batches that can be sent to the broker `leader` now. They are in flight until they are
    /// [settled](Self::settle). A suspect batch is sent without others, because the connection will probably end.
    pub(crate) fn collect(&mut self, leader: i32, now: Instant) -> Option<Shipped> {
        let mut batches = Vec::new();
        let mut size = 0;
        let mut next = None;
        let most = self.request_limit.current(now);
        // A request has room for the full batches of only some partitions. If each request began with the first partition,
        // the others would wait as long as the first ones are busy.
        let begin = self.turns.get(&leader).copied().unwrap_or_default();
        let begin = begin.min(self.partitions.len());
        let (before, behind) = self.partitions.split_at_mut(begin);
        let behind = behind.iter_mut().zip(begin..);
        for (partition, index) in behind.chain(before.iter_mut().zip(0..)) {
            if partition.leader != Some(leader) {
                continue;
            }
            let due = partition.due(self.settings.linger, self.is_flushing);
            if due.is_none_or(|due| due > now) {
                continue;
            }
            let is_alone = partition.is_suspect();
            let front = partition.waiting.front();
            let more = front.map_or(0, |batch| batch.records.size());
            if !batches.is_empty() && (is_alone || size + more > most) {
                next = next.or(Some(index));
                continue;
            }
            let Some(mut batch) = partition.waiting.pop_front() else {
                continue;
            };
            if batch.stamp.is_none() {
                let Some(producer) = self.id else {
                    partition.waiting.push_front(batch);
                    continue;
                };
                let sequence = partition.sequence;
                batch.stamp = Some(Stamp { producer, sequence });
                partition.sequence = sequence_after(sequence, batch.records.count());
            }
            size += more;
            partition.expected = batch.records.size();
            partition.is_in_flight = true;
            batches.push((index, batch));
            if is_alone {
                next = next.or(Some(index + 1));
                break;
            }
        }
        if let Some(next) = next {
            self.turns.insert(leader, next);
        }
        (!batches.is_empty()).then_some(Shipped {
            leader,
            batches,
            compression: self.settings.compression,
            generation: self.generation,
        })
    }

    /// Returns whether a batch of a partition of this leader was sent, and must be sent again because there was no answer.
    pub(crate) fn must_send_again(&self, leader: i32) -> bool {
        let partitions = self.partitions.iter();
        let mut led = partitions.filter(|partition| partition.leader == Some(leader));
        led.any(Partition::has_stamp)
    }

    /// Returns the leaders to which a batch was sent that has no answer yet. A topic can have thousands of partitions, so this
    /// function looks at each partition once, and not once for each leader.
    pub(crate) fn sent_to(&self) -> BTreeSet<i32> {
        let sent = self.partitions.iter();
        let sent = sent.filter(|partition| partition.is_in_flight || partition.has_stamp());
        sent.filter_map(|partition| partition.leader).collect()
    }

    /// Returns the time at which a batch can be sent to the broker `leader`. `None` if none waits.
    pub(crate) fn due(&self, leader: i32) -> Option<Instant> {
        let partitions = self.partitions.iter();
        let led = partitions.filter(|partition| partition.leader == Some(leader));
        led.filter(|partition| self.id.is_some() || partition.has_stamp())
            .filter_map(|partition| partition.due(self.settings.linger, self.is_flushing))
            .min()
    }
}
