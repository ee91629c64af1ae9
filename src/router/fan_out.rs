//! The router: every chunk, to every sink's queue.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Queue;
use crate::frame_stream::Chunk;

/// Hands each chunk to every queue. Cheap to clone; all clones share one set of queues.
#[derive(Debug, Clone)]
pub struct Router {
    inlets: Arc<ArcSwap<Vec<Arc<Inlet>>>>,
}

/// The router's hold on a queue: it closes the queue when nobody can offer to it any more.
///
/// Every set of queues that has this one shares it, so it outlives whoever is still offering to a set of the past.
#[derive(Debug)]
struct Inlet(Arc<Queue>);

// === impl Router ===

impl Router {
    /// A router to `queues`.
    pub fn new(queues: impl IntoIterator<Item = Arc<Queue>>) -> Self {
        let inlets = queues.into_iter().map(Inlet).map(Arc::new).collect();
        Self {
            inlets: Arc::new(ArcSwap::from_pointee(inlets)),
        }
    }

    /// Offers `chunk` to every sink. Never waits; each queue takes what it has room for and counts the rest.
    pub fn offer(&self, chunk: &Chunk) {
        for inlet in self.inlets.load().iter() {
            inlet.0.push(chunk);
        }
    }

    /// Offers to `queues` from the next chunk on. A queue that is in both sets misses nothing and gets nothing twice.
    /// One that is in the old set only is [closed](Queue::close) as soon as the last chunk was offered to it.
    ///
    /// To be called by one at a time.
    pub fn replace(&self, queues: impl IntoIterator<Item = Arc<Queue>>) {
        let old = self.inlets.load_full();
        let inlet = |queue: Arc<Queue>| {
            let known = old.iter().find(|inlet| Arc::ptr_eq(&inlet.0, &queue));
            known.map_or_else(|| Arc::new(Inlet(Arc::clone(&queue))), Arc::clone)
        };
        let inlets = queues.into_iter().map(inlet).collect();
        self.inlets.store(Arc::new(inlets));
    }
}

// === impl Inlet ===

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Limits;

    fn queue() -> Arc<Queue> {
        Arc::new(Queue::new(Limits {
            frames: 10,
            bytes: 1 << 20,
        }))
    }

    fn is_closed(queue: &Queue) -> bool {
        tokio_test::task::spawn(std::future::poll_fn(|cx| queue.poll_end(cx)))
            .poll()
            .is_ready()
    }

    #[test]
    fn a_queue_that_is_left_out_is_closed_when_the_last_offer_is_over() {
        let chunk = Chunk::from_wire(b"\0\0\0\x01a".as_slice().into()).expect("a frame");
        let (stays, goes) = (queue(), queue());
        let router = Router::new([Arc::clone(&stays), Arc::clone(&goes)]);
        // As an offer does that has not come to its end.
        let offering = router.inlets.load();
        router.replace([Arc::clone(&stays)]);
        router.replace([queue(), Arc::clone(&stays)]);
        assert!(!is_closed(&goes));
        drop(offering);
        assert!(is_closed(&goes) && !is_closed(&stays));
        router.offer(&chunk);
        assert_eq!((stays.ledger().offered, goes.ledger().offered), (1, 0));
    }
}
