//! Batches of frames that were taken from a queue.

use std::{collections::VecDeque, fmt, sync::Arc, thread};

use super::{held::Held, left_out::LeftOut, progress::Progress, queue::Queue, written::Written};
use crate::frame_stream::{Batch, Chunk};

/// A batch of frames that was taken from a queue and is not settled yet.
///
/// [`settle`](Self::settle) or [`settle_unconfirmed`](Self::settle_unconfirmed) ends the flight of the batch. If this
/// value is dropped without a call of one of them, all frames return to the queue. If a panic drops this value after a
/// write has begun, the queue assumes that a connection died while it was writing the first frame.
pub(crate) struct Taken {
    queue: Arc<Queue>,
    number: u64,
    /// The chunks of the batch. `None` after the batch is settled.
    held: Option<VecDeque<Held>>,
    left_out: LeftOut,
    /// True after a write has begun.
    begun: bool,
}

// === impl Taken ===

impl Taken {
    pub(super) fn new(queue: Arc<Queue>, number: u64, held: VecDeque<Held>) -> Self {
        Self {
            queue,
            number,
            held: Some(held),
            left_out: LeftOut::default(),
            begun: false,
        }
    }

    /// Marks the write as begun, and returns the chunks in order.
    pub(crate) fn begin(&mut self) -> Batch {
        self.begun = true;
        self.chunks().cloned().collect()
    }

    /// Returns the chunks in order. Does not mark the write as begun.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.held.iter().flatten().map(|held| &held.chunk)
    }

    /// Sets the frames that the sink does not send. When the batch is settled, such a frame counts as dropped if the
    /// write has reached its place in the batch.
    pub(crate) fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
    }

    /// Settles the batch. The frames that `progress` covers count as delivered. The other frames return to their
    /// positions in the queue.
    pub(crate) fn settle(mut self, progress: Progress) {
        self.end(progress);
    }

    /// Settles the batch. The frames that `progress` covers are unconfirmed from now on, and count as delivered when
    /// they are confirmed. The other frames return to their positions in the queue.
    pub(crate) fn settle_unconfirmed(self, progress: Progress) -> Written {
        self.write(progress, false)
    }

    /// Settles the batch like [`settle_unconfirmed`](Self::settle_unconfirmed). The frames do not return to the queue when
    /// their connection ends. Their latency ends when they are confirmed.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(crate) fn settle_kept(self, progress: Progress) -> Written {
        self.write(progress, true)
    }

    fn write(mut self, progress: Progress, is_kept: bool) -> Written {
        let held = self.held.take().unwrap_or_default();
        let (queue, number) = (&self.queue, self.number);
        let written = queue.settle_unconfirmed(number, held, &self.left_out, progress, is_kept);
        Written::new(Arc::clone(queue), number, written, is_kept)
    }

    fn end(&mut self, progress: Progress) {
        if let Some(held) = self.held.take() {
            self.queue
                .settle(self.number, held, &self.left_out, progress);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.end(Progress {
            cut: self.begun && thread::panicking(),
            ..Progress::default()
        });
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.chunks()).finish()
    }
}
