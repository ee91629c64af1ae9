//! Frames that were written and wait for a confirmation.

use std::{collections::VecDeque, fmt, mem, sync::Arc, time::Instant};

use super::{
    held::Held,
    queue::Queue,
    settlement::{oldest, split_to},
};

/// Frames that a connection has written and that are not confirmed yet.
///
/// [`confirm`](Self::confirm) counts frames as delivered. When this value is dropped, the frames that are not confirmed
/// return to their positions in the queue, and the next connection sends them again. The connection must therefore keep
/// this value exactly as long as the frames can still be confirmed.
pub(crate) struct Written {
    queue: Arc<Queue>,
    /// The number of the batch.
    number: u64,
    held: VecDeque<Held>,
}

// === impl Written ===

impl Written {
    pub(super) fn new(queue: Arc<Queue>, number: u64, held: VecDeque<Held>) -> Self {
        Self {
            queue,
            number,
            held,
        }
    }

    /// Returns the entry of these frames in the queue's set of unconfirmed batches.
    fn oldest(&self) -> Option<(Instant, u64)> {
        oldest(&self.held, self.number)
    }

    /// Returns the memory that the ledger counts for the frames, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let amounts = self.held.iter().map(Held::amount);
        amounts.map(|amount| amount.bytes as u64).sum()
    }

    /// Counts the first `frames` frames as delivered. `bytes` is the size of these frames on the wire.
    pub(crate) fn confirm(&mut self, frames: usize, bytes: u64) {
        if frames > 0 {
            let before = self.oldest();
            let confirmed = split_to(&mut self.held, frames);
            self.queue.confirm(confirmed, bytes, before, self.oldest());
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            let before = self.oldest();
            self.queue.take_back(mem::take(&mut self.held), before);
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.held.iter().map(|held| &held.chunk);
        f.debug_list().entries(chunks).finish()
    }
}
