//! Frames that were written and wait for a confirmation.

use std::{collections::VecDeque, fmt, sync::Arc};

use super::{
    DropReason,
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

/// Consecutive frames whose wait for a confirmation ends in the same way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) frames: usize,
    /// The size of the frames on the wire.
    pub(crate) bytes: u64,
    pub(crate) settlement: Settlement,
}

/// The end of the wait for a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "kafka"),
    allow(dead_code, reason = "only Kafka sinks keep frames")
)]
pub(crate) enum Settlement {
    /// The frames are delivered.
    Delivered,
    Dropped(DropReason),
    /// The frames return to their positions in the queue. The collector may have them.
    Returned,
    /// The frames return to their positions in the queue. They were never sent.
    Unsent,
}

// === impl Written ===

impl Written {
    pub(super) fn new(queue: Arc<Queue>, number: u64, held: VecDeque<Held>, is_kept: bool) -> Self {
        Self {
            queue,
            number,
            held,
            is_kept,
        }
    }

    /// Returns the number of frames.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(crate) fn frames(&self) -> usize {
        count(&self.held)
    }

    /// Returns the memory that the ledger counts for the frames, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let amounts = self.held.iter().map(Held::amount);
        amounts.map(|amount| amount.bytes as u64).sum()
    }

    /// Counts the first `frames` frames as delivered. `bytes` is the size of these frames on the wire.
    pub(crate) fn confirm(&mut self, frames: usize, bytes: u64) {
        self.settle([Run {
            frames,
            bytes,
            settlement: Settlement::Delivered,
        }]);
    }

    /// Settles the first frames: those of the first run, then those of the second, and so on. The queue is locked only
    /// once.
    pub(crate) fn settle(&mut self, runs: impl IntoIterator<Item = Run>) {
        let Self {
            queue,
            number,
            held,
            is_kept,
        } = self;
        let before = oldest(held, *number);
        queue.end_flight(|contents| {
            for run in runs {
                let split = split_to(held, run.frames);
                if *is_kept {
                    contents.kept -= count(&split);
                }
                match run.settlement {
                    Settlement::Delivered => contents.confirm(split, run.bytes, *is_kept),
                    Settlement::Dropped(reason) => contents.drop_unconfirmed(split, reason),
                    Settlement::Returned => contents.take_back(split, true),
                    Settlement::Unsent => contents.take_back(split, false),
                }
            }
            contents.change_oldest(before, oldest(held, *number));
        });
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
}

fn count(held: &VecDeque<Held>) -> usize {
    held.iter().map(|held| held.chunk.len()).sum()
}

impl Drop for Written {
    fn drop(&mut self) {
        let frames = count(&self.held);
        if frames > 0 {
            self.settle([Run {
                frames,
                bytes: 0,
                settlement: Settlement::Returned,
            }]);
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.held.iter().map(|held| &held.chunk);
        f.debug_list().entries(chunks).finish()
    }
}
