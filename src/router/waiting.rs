//! The chunks that wait in a queue, their amount and their senders.

use std::{collections::BTreeMap, ops::Range};

use super::{amount::Amount, held::Held, senders::Senders};

/// The waiting chunks of a queue, by position. The position of a chunk gives its place in the order of the queue.
#[derive(Default)]
pub(super) struct Waiting {
    chunks: BTreeMap<u64, Held>,
    amount: Amount,
    /// The amount of those frames that were written, but came back to the queue because they were not confirmed.
    returned: Amount,
    /// The senders of the frames. `None` while few chunks wait, because only a queue that is full or must free memory
    /// needs them.
    senders: Option<Box<Senders>>,
}

/// From this number of chunks on, the senders are known until no chunk waits any more. If they were found out only when
/// the queue is full, a very large queue would need too long while its lock is held.
const MANY: usize = 4096;

// === impl Waiting ===

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns the number of chunks.
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Returns the amount of all frames.
    pub(super) fn amount(&self) -> Amount {
        self.amount
    }

    /// Returns the amount of those frames that were written, but came back to the queue because they were not confirmed.
    pub(super) fn returned(&self) -> Amount {
        self.returned
    }

    /// Returns the oldest chunk.
    pub(super) fn first(&self) -> Option<&Held> {
        self.chunks.first_key_value().map(|(_, held)| held)
    }

    /// Returns the oldest chunk that does not begin before `position`.
    pub(super) fn first_from(&self, position: u64) -> Option<&Held> {
        self.chunks.range(position..).next().map(|(_, held)| held)
    }

    /// Returns the positions of the chunks that begin within `positions`.
    pub(super) fn within(&self, positions: Range<u64>) -> Vec<u64> {
        let chunks = self.chunks.range(positions);
        chunks.map(|(position, _)| *position).collect()
    }

    pub(super) fn get(&self, position: u64) -> Option<&Held> {
        self.chunks.get(&position)
    }

    pub(super) fn add(&mut self, held: Held) {
        self.amount += held.amount();
        if held.written_before {
            self.returned += held.amount();
        }
        if let Some(senders) = &mut self.senders {
            senders.add(held.chunk.source(), held.position, held.amount());
        }
        self.chunks.insert(held.position, held);
        if self.chunks.len() >= MANY {
            self.senders();
        }
    }

    pub(super) fn pop_first(&mut self) -> Option<Held> {
        let (_, held) = self.chunks.pop_first()?;
        self.subtract(&held);
        Some(held)
    }

    pub(super) fn remove(&mut self, position: u64) -> Option<Held> {
        let held = self.chunks.remove(&position)?;
        self.subtract(&held);
        Some(held)
    }

    /// Subtracts a chunk that was removed.
    fn subtract(&mut self, held: &Held) {
        self.amount -= held.amount();
        if held.written_before {
            self.returned -= held.amount();
        }
        if self.chunks.is_empty() {
            self.senders = None;
        } else if let Some(senders) = &mut self.senders {
            senders.remove(held.chunk.source(), held.position, held.amount());
        }
    }

    /// Keeps only the first `frames` frames of a chunk. Returns the amount of the frames that were dropped.
    pub(super) fn truncate(&mut self, position: u64, frames: usize) -> Amount {
        let Some(held) = self.chunks.get_mut(&position) else {
            return Amount::default();
        };
        let gone = held.truncate(frames);
        self.amount -= gone;
        if held.written_before {
            self.returned -= gone;
        }
        if let Some(senders) = &mut self.senders {
            senders.shrink(held.chunk.source(), gone);
        }
        gone
    }

    /// Returns the senders of the frames.
    pub(super) fn senders(&mut self) -> &mut Senders {
        let chunks = self.chunks.values();
        self.senders
            .get_or_insert_with(|| Box::new(Senders::of(chunks)))
    }

    /// Removes all chunks and returns them in order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Held> {
        std::mem::take(self).chunks.into_values()
    }

    /// Returns whether the amount and the senders are what the chunks say.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let mut amount = Amount::default();
        for held in self.chunks.values() {
            amount += held.amount();
        }
        let senders = self.senders.as_ref();
        amount == self.amount && senders.is_none_or(|it| **it == Senders::of(self.chunks.values()))
    }
}
