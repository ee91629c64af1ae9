//! The router: every chunk, to every sink's queue.

use std::sync::Arc;

use super::Queue;
use crate::frame_stream::Chunk;

/// Hands each chunk to every queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Router {
    queues: Arc<[Arc<Queue>]>,
}

// === impl Router ===

impl Router {
    /// A router to `queues`.
    pub fn new(queues: impl IntoIterator<Item = Arc<Queue>>) -> Self {
        Self {
            queues: queues.into_iter().collect(),
        }
    }

    /// Offers `chunk` to every sink. Never waits; each queue takes what it has room for and counts the rest.
    pub fn offer(&self, chunk: &Chunk) {
        for queue in self.queues.iter() {
            queue.push(chunk);
        }
    }
}
