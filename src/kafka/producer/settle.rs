//! The end of a flight of batches: what the broker's response means for each of them.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{Error, Produced, error::Doing, error_code::Meaning, response::BatchResponse},
    BATCH_BYTES, Failing, Producer, SPARE_AT_MOST, Shipped, Span,
    batch::Batch,
    partition::Partition,
};

/// The outcome of records that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The brokers have stored them.
    Stored(Span),
    /// The brokers never store them.
    Refused(Span),
    /// They are sent again under another sequence number, so they may be stored twice.
    Resent(Span),
}

/// The consequences of a response for the link.
#[derive(Debug, Default)]
pub(crate) struct Consequence {
    /// True if the leaders must be looked up again. The lookup also gets a new producer id.
    pub(crate) needs_lookup: bool,
    /// The reason why no batch can be stored at present, with the partition.
    pub(crate) denied: Option<(usize, Error)>,
    /// True if the response does not contain all partitions of the request.
    pub(crate) is_incomplete: bool,
    /// The reason why some records were refused for good.
    pub(crate) refused: Option<Error>,
    /// True if a batch could not be stored and is sent again, or if a partition stores batches again.
    pub(crate) is_changed: bool,
}

/// The delay before a batch that the broker could not store is sent again. It doubles with each attempt.
const LEAST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

// === impl Consequence ===

impl Consequence {
    /// Returns whether the link must hear about this response.
    pub(crate) fn is_news(&self) -> bool {
        self.needs_lookup || self.denied.is_some() || self.refused.is_some() || self.is_changed
    }
}

// === impl Producer ===

impl Producer {
    /// Returns whether the leader of a partition has changed since its batch was sent. The task of the new leader must then
    /// look for work after the flight, because no batch can be sent during the flight.
    pub(crate) fn has_moved(&self, shipped: &Shipped) -> bool {
        let partitions = shipped.batches.iter();
        let mut partitions = partitions.filter_map(|(index, _)| self.partitions.get(*index));
        partitions.any(|partition| partition.leader != Some(shipped.leader))
    }

    /// Ends the flight of `shipped`. `answer` is `None` if the broker sent no response, so it is not known whether it
    /// has stored the batches.
    pub(crate) fn settle(
        &mut self,
        shipped: Shipped,
        answer: Option<&Produced>,
        now: Instant,
        outcomes: &mut Vec<Outcome>,
    ) -> Consequence {
        let mut consequence = Consequence::default();
        if answer.is_none() {
            self.shrink_requests(&shipped, now);
        }
        for (index, mut batch) in shipped.batches {
            let answers = answer.map_or(&[][..], |it| &it.partitions);
            let found = answers
                .iter()
                .find(|it| usize::try_from(it.partition) == Ok(index));
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.is_in_flight = false;
            }
            if shipped.generation != self.generation {
                self.recycle(batch);
                continue;
            }
            let Some(answer) = found else {
                consequence.is_incomplete = answer.is_some();
                batch.is_in_doubt = true;
                if let Some(partition) = self.partitions.get_mut(index) {
                    partition.cut(now);
                }
                self.put_back(index, batch, outcomes);
                continue;
            };
            self.settle_one(index, batch, answer, now, outcomes, &mut consequence);
        }
        consequence
    }

    /// Makes requests smaller if the broker hangs up on them again and again. A single request without an answer proves
    /// nothing, because brokers restart. A request that is not larger than a batch does not get smaller.
    fn shrink_requests(&mut self, shipped: &Shipped, now: Instant) {
        let batches = &shipped.batches;
        let mut partitions = batches.iter().map(|(index, _)| self.partitions.get(*index));
        let has_cut = |it: Option<&Partition>| it.is_some_and(|it| it.cuts > 0);
        if batches.len() > 1 && partitions.all(has_cut) {
            let size: usize = batches.iter().map(|(_, batch)| batch.records.size()).sum();
            if size > BATCH_BYTES {
                self.request_limit.shrink(size.max(2 * BATCH_BYTES), now);
            }
        }
    }

    fn settle_one(
        &mut self,
        index: usize,
        mut batch: Batch,
        answer: &BatchResponse,
        now: Instant,
        outcomes: &mut Vec<Outcome>,
        consequence: &mut Consequence,
    ) {
        let refused = || Error::of_code(Doing::Produce, answer.code, Some(&answer.text));
        let meaning = answer.code.meaning();
        let works = matches!(meaning, Meaning::Stored | Meaning::Refused);
        consequence.is_changed |= self.note(index, (!works).then_some((now, answer.code)));
        match meaning {
            Meaning::Stored => {
                outcomes.extend(batch.spans.iter().copied().map(Outcome::Stored));
                self.recycle(batch);
            }
            Meaning::Refused => {
                // The broker may have stored the batch after all. Then its sequence numbers are taken, so continue
                // under a new producer id.
                if batch.is_in_doubt && batch.stamp.is_some_and(|it| Some(it.producer) == self.id) {
                    self.id = None;
                    consequence.needs_lookup = true;
                }
                if answer.code.is_of_size() && batch.records.count() > 1 {
                    self.limit.shrink(batch.records.size(), now);
                }
                if self.divide(index, batch, &answer.refused, outcomes) {
                    consequence.refused = Some(refused());
                }
            }
            Meaning::Forgotten => {
                batch.failures += 1;
                let stamp = batch.stamp.take();
                if stamp.is_some_and(|stamp| Some(stamp.producer) == self.id) {
                    self.id = None;
                }
                batch.is_in_doubt = false;
                outcomes.extend(batch.spans.iter().copied().map(Outcome::Resent));
                self.delay(index, batch.failures, now);
                self.put_back(index, batch, outcomes);
                consequence.needs_lookup = true;
            }
            meaning @ (Meaning::Later | Meaning::Moved | Meaning::Denied) => {
                batch.failures += 1;
                // Some of these errors come after the leader has appended the batch, for example because the replicas are
                // slow.
                batch.is_in_doubt = true;
                self.delay(index, batch.failures, now);
                self.put_back(index, batch, outcomes);
                match meaning {
                    Meaning::Denied => consequence.denied = Some((index, refused())),
                    Meaning::Moved => consequence.needs_lookup = true,
                    _ => {}
                }
            }
        }
    }

    /// Records whether the broker could store the last batch of a partition. Returns whether the connections must know it.
    fn note(&mut self, index: usize, failing: Option<Failing>) -> bool {
        let Some(partition) = self.partitions.get_mut(index) else {
            return false;
        };
        let before = partition.failing;
        let was_suspect = partition.is_suspect();
        partition.cuts = 0;
        partition.failing = match (before, failing) {
            (Some((since, _)), Some((_, code))) => Some((since, code)),
            _ => failing,
        };
        before.is_some() || failing.is_some() || was_suspect
    }

    fn delay(&mut self, index: usize, failures: u32, now: Instant) {
        let doublings = failures.saturating_sub(1).min(10);
        let delay = (LEAST_DELAY * (1 << doublings)).min(LONGEST_DELAY);
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.not_before = Some(now + delay);
        }
    }

    fn put_back(&mut self, index: usize, batch: Batch, outcomes: &mut Vec<Outcome>) {
        match self.partitions.get_mut(index) {
            Some(partition) if index < self.count => partition.waiting.push_front(batch),
            _ => {
                self.move_records(&batch, outcomes);
                self.recycle(batch);
            }
        }
    }

    /// Moves the records of a removed partition to other partitions.
    pub(super) fn move_records(&mut self, batch: &Batch, outcomes: &mut Vec<Outcome>) {
        if batch.stamp.is_some() {
            outcomes.extend(batch.spans.iter().copied().map(Outcome::Resent));
        }
        batch.each(|record, ticket, place| {
            self.append(&record, (ticket, place), batch.begun);
        });
    }

    /// Handles a batch that the broker refused. If the broker named records, or if the batch is a single record, these
    /// records are refused for good. Otherwise, the batch is divided into parts, which are sent separately. Returns
    /// whether records are refused for good.
    fn divide(
        &mut self,
        index: usize,
        batch: Batch,
        places: &[i32],
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        // The broker has not used the sequence numbers of the batch.
        if let (Some(stamp), Some(partition)) = (batch.stamp, self.partitions.get_mut(index))
            && Some(stamp.producer) == self.id
        {
            partition.sequence = stamp.sequence;
        }
        let count = usize::try_from(batch.records.count()).unwrap_or_default();
        let mut named = vec![false; count];
        for place in places {
            let place = usize::try_from(*place).ok();
            if let Some(named) = place.and_then(|place| named.get_mut(place)) {
                *named = true;
            }
        }
        let has_named = named.contains(&true);
        let parts = if has_named {
            1
        } else {
            self.limit.parts_of(batch.records.size()).min(count)
        };
        let part = |place: usize| {
            if has_named {
                (!named[place]).then_some(0)
            } else {
                (count > 1).then(|| place * parts / count)
            }
        };
        let headers = self.settings.headers.clone();
        let mut is_final = false;
        let parts = batch.divide(&headers, parts, part, |span| {
            is_final = true;
            outcomes.push(Outcome::Refused(span));
        });
        if batch.is_in_doubt {
            let spans = parts.iter().flat_map(|part| &part.spans);
            outcomes.extend(spans.copied().map(Outcome::Resent));
        }
        self.recycle(batch);
        for part in parts.into_iter().rev() {
            self.memory += part.memory();
            self.put_back(index, part, outcomes);
        }
        is_final
    }

    /// Releases the memory of a batch that is done. Keeps a large buffer for a new batch.
    pub(super) fn recycle(&mut self, batch: Batch) {
        self.memory -= batch.memory();
        if self.spare.len() < SPARE_AT_MOST && batch.records.memory() == BATCH_BYTES {
            self.spare.push(batch.records.emptied());
        }
    }
}
