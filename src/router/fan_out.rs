//! The router: every chunk, to every sink's queue.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Queue;
use crate::frame_stream::Chunk;

/// Hands each chunk to every queue. Cheap to clone; all clones share one set of queues.
#[derive(Debug, Clone)]
pub struct Router {
    queues: Arc<ArcSwap<Vec<Arc<Queue>>>>,
}

// === impl Router ===

impl Router {
    /// A router to `queues`.
    pub fn new(queues: impl IntoIterator<Item = Arc<Queue>>) -> Self {
        Self {
            queues: Arc::new(ArcSwap::from_pointee(queues.into_iter().collect())),
        }
    }

    /// Offers `chunk` to every sink. Never waits; each queue takes what it has room for and counts the rest.
    pub fn offer(&self, chunk: &Chunk) {
        for queue in self.queues.load().iter() {
            queue.push(chunk);
        }
    }

    /// Offers to `queues` from the next chunk on. A queue that is in both sets misses nothing and gets nothing twice.
    pub fn replace(&self, queues: impl IntoIterator<Item = Arc<Queue>>) {
        self.queues.store(Arc::new(queues.into_iter().collect()));
    }
}
