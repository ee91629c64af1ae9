//! Frames that were written and wait for a confirmation.

use std::{collections::VecDeque, fmt, sync::Arc, time::Instant};

use super::{
    DropReason,
    contents::Contents,
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
    /// True if the frames do not return to the queue when their connection ends.
    is_kept: bool,
}

// === impl Written ===

impl Written {
    pub(super) fn new(queue: Arc<Queue>, number: u64, held: VecDeque<Held>) -> Self {
        Self {
            queue,
            number,
            held,
            is_kept: false,
        }
    }

    /// Marks the frames so that they do not return to the queue when their connection ends. The consumer of a closed
    /// queue then waits until they are confirmed or dropped.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(super) fn kept(mut self) -> Self {
        self.is_kept = true;
        self.queue.lock().kept += count(&self.held);
        self
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
        self.split(frames, |contents, confirmed| {
            contents.confirm(confirmed, bytes);
        });
    }

    /// Counts the first `frames` frames as dropped for `reason`.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(crate) fn drop_first(&mut self, frames: usize, reason: DropReason) {
        self.split(frames, |contents, dropped| {
            contents.drop_unconfirmed(dropped, reason);
        });
    }

    /// Puts the first `frames` frames back at their positions in the queue.
    pub(crate) fn give_back(&mut self, frames: usize) {
        self.split(frames, Contents::take_back);
    }

    /// Counts `frames` frames as sent again in a way in which the collector may get them twice.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(crate) fn count_resent(&self, frames: u64) {
        self.queue.lock().ledger.resent += frames;
    }

    /// Returns whether the queue is closed.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(crate) fn is_closing(&self) -> bool {
        self.queue.lock().closed
    }

    /// Splits off the first `frames` frames, and passes them to `settle`, which changes the contents of the queue.
    fn split(&mut self, frames: usize, settle: impl FnOnce(&mut Contents, VecDeque<Held>)) {
        if frames == 0 {
            return;
        }
        let before = self.oldest();
        let split = split_to(&mut self.held, frames);
        let after = self.oldest();
        let kept = if self.is_kept { count(&split) } else { 0 };
        self.queue.end_flight(|contents| {
            contents.kept -= kept;
            contents.change_oldest(before, after);
            settle(contents, split);
        });
    }
}

fn count(held: &VecDeque<Held>) -> usize {
    held.iter().map(|held| held.chunk.len()).sum()
}

impl Drop for Written {
    fn drop(&mut self) {
        self.give_back(count(&self.held));
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.held.iter().map(|held| &held.chunk);
        f.debug_list().entries(chunks).finish()
    }
}
