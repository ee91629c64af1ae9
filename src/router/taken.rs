//! What was taken from a queue, and has to be settled with it.

use std::{collections::VecDeque, fmt, sync::Arc, thread};

use super::{
    held::Held,
    queue::{Progress, Queue},
};
use crate::frame_stream::{Batch, Chunk};

/// Frames in flight: taken from a queue, and neither written nor given back.
///
/// It is settled once. Whoever drops it gives all of it back; if that is because writing it panics, a connection has died
/// within it.
pub struct Taken {
    queue: Arc<Queue>,
    number: u64,
    /// `None` once it is settled.
    held: Option<VecDeque<Held>>,
    /// Somebody writes it, or has tried to.
    begun: bool,
}

// === impl Taken ===

impl Taken {
    pub(super) fn new(queue: Arc<Queue>, number: u64, held: VecDeque<Held>) -> Self {
        Self {
            queue,
            number,
            held: Some(held),
            begun: false,
        }
    }

    /// The chunks, to be written in this order.
    pub fn begin(&mut self) -> Batch {
        self.begun = true;
        self.chunks().cloned().collect()
    }

    /// The same for whoever only looks.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.held.iter().flatten().map(|held| &held.chunk)
    }

    /// Ends it: `progress` is counted as delivered, the rest goes back to where it was taken from.
    pub fn settle(mut self, progress: Progress) {
        self.end(progress);
    }

    fn end(&mut self, progress: Progress) {
        if let Some(held) = self.held.take() {
            self.queue.settle(self.number, held, progress);
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
