//! Batches of frames on their way through the layers of a sink.

#[cfg(test)]
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

#[cfg(test)]
use crate::router::{Limits, Queue};
use crate::{
    frame_stream::{Batch, Chunk},
    memory::Budget,
    router::{LeftOut, Progress, Taken, Written},
};

/// The chunks that a connection must write, and the frames of the queue from which they were made.
///
/// Both are in one value, because only the connection knows which frames were written and confirmed. The connection
/// reports this to the queue. If a layer drops a shipment, all its frames return to the queue.
#[derive(Debug)]
pub(crate) struct Shipment {
    /// The chunks to write, in order.
    chunks: Batch,
    taken: Taken,
}

// === impl Shipment ===

impl Shipment {
    /// Creates a shipment of a batch, and marks the write of the batch as begun.
    pub(super) fn new(mut taken: Taken) -> Self {
        Self {
            chunks: taken.begin(),
            taken,
        }
    }

    pub(super) fn chunks(&self) -> &Batch {
        &self.chunks
    }

    /// Returns the memory limit of the router. `None` if the frames come from a program that uses tapfan as a library.
    pub(super) fn memory_limit(&self) -> Option<usize> {
        self.memory().map(Budget::limit)
    }

    /// Returns the memory of the router's frames. `None` if the frames come from a program that uses tapfan as a library.
    pub(super) fn memory(&self) -> Option<&Budget> {
        let source = self.taken.chunks().find_map(Chunk::source)?;
        Some(source.memory())
    }

    /// Replaces the chunks by edited chunks. `left_out` lists the frames that are not in the edited chunks.
    #[must_use]
    pub(super) fn edited(mut self, chunks: Batch, left_out: LeftOut) -> Self {
        self.taken.leave_out(left_out);
        Self { chunks, ..self }
    }

    /// Counts the frames that `progress` covers as delivered. The other frames return to the queue.
    pub(super) fn settle(self, progress: Progress) {
        self.taken.settle(progress);
    }

    /// Counts all frames as delivered.
    pub(super) fn settle_all(self) {
        let chunks = self.chunks.iter();
        let mut progress = Progress::default();
        for chunk in chunks {
            progress.frames += chunk.len();
            progress.bytes += chunk.wire().len() as u64;
        }
        self.settle(progress);
    }

    /// Counts the frames that `progress` covers as unconfirmed. They are delivered when they are confirmed. The other
    /// frames return to the queue. Returns the written frames, and the chunks.
    pub(super) fn settle_unconfirmed(self, progress: Progress) -> (Written, Batch) {
        (self.taken.settle_unconfirmed(progress), self.chunks)
    }
}

#[cfg(feature = "kafka")]
impl Shipment {
    /// Counts the frames that `progress` covers as unconfirmed, also after the end of their connection. They are delivered
    /// when they are confirmed. The other frames return to the queue. Returns the written frames, and the chunks.
    pub(super) fn settle_kept(self, progress: Progress) -> (Written, Batch) {
        (self.taken.settle_kept(progress), self.chunks)
    }
}

#[cfg(test)]
impl Shipment {
    /// Puts `chunks` into a new queue, and takes them from it. Returns them as a shipment, and the queue.
    pub(crate) fn of(chunks: &[Chunk]) -> (Self, Arc<Queue>) {
        let queue = Arc::new(Queue::new(Limits {
            frames: 1000,
            bytes: 1 << 30,
        }));
        for chunk in chunks {
            queue.push(chunk);
        }
        (Self::again(&queue), queue)
    }

    /// Takes the frames that wait in the queue, and returns them as a shipment.
    pub(crate) fn again(queue: &Arc<Queue>) -> Self {
        let mut cx = Context::from_waker(Waker::noop());
        match queue.poll_take(&mut cx) {
            Poll::Ready(Some(taken)) => Self::new(taken),
            _ => panic!("no frames"),
        }
    }
}
