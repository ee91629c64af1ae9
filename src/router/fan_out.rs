//! The router: every chunk, to every sink's queue.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Queues, shortage};
use crate::{frame_stream::Chunk, memory::Budget};

/// Hands each chunk to every sink's queues. Cheap to clone; all clones share one set of sinks.
#[derive(Debug, Clone)]
pub struct Router {
    inlets: Arc<ArcSwap<Vec<Arc<Inlet>>>>,
    memory: Budget,
}

/// The router's hold on a sink's queues: it closes them when nobody can offer to them any more.
///
/// Every set of sinks that has this one shares it, so it outlives whoever is still offering to a set of the past.
#[derive(Debug)]
struct Inlet(Arc<Queues>);

// === impl Router ===

impl Router {
    /// A router to sinks with these `queues`, whose memory is not bounded together.
    pub fn new(queues: impl IntoIterator<Item = Arc<Queues>>) -> Self {
        Self::within(Budget::default(), queues)
    }

    /// The same. When `memory` is short, the queue that holds most gives way.
    pub fn within(memory: Budget, queues: impl IntoIterator<Item = Arc<Queues>>) -> Self {
        let inlets = queues.into_iter().map(Inlet).map(Arc::new).collect();
        Self {
            inlets: Arc::new(ArcSwap::from_pointee(inlets)),
            memory,
        }
    }

    /// Offers `chunk` to every sink. Never waits; each queue takes what it has room for and counts the rest.
    pub fn offer(&self, chunk: &Chunk) {
        let inlets = self.inlets.load();
        if self.memory.is_short() {
            let holds: Vec<_> = inlets.iter().flat_map(|inlet| inlet.0.offered()).collect();
            let queues: Vec<_> = holds.iter().map(|hold| hold.queue()).collect();
            shortage::offer(&self.memory, &queues, chunk);
            return;
        }
        for inlet in inlets.iter() {
            inlet.0.offer(chunk);
        }
    }

    /// Offers to `queues` from the next chunk on. A queue that is in both sets misses nothing and gets nothing twice.
    /// Those that are in the old set only are closed as soon as the last chunk was offered to it.
    ///
    /// To be called by one at a time.
    pub fn replace(&self, queues: impl IntoIterator<Item = Arc<Queues>>) {
        let old = self.inlets.load_full();
        let inlet = |queue: Arc<Queues>| {
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

    fn queues() -> Arc<Queues> {
        Arc::new(Queues::new(Limits {
            frames: 10,
            bytes: 1 << 20,
        }))
    }

    fn is_closed(queues: &Queues) -> bool {
        let queue = queues.one();
        tokio_test::task::spawn(std::future::poll_fn(|cx| queue.poll_end(cx)))
            .poll()
            .is_ready()
    }

    #[test]
    fn a_queue_that_is_left_out_is_closed_when_the_last_offer_is_over() {
        let chunk = Chunk::from_wire(b"\0\0\0\x01a".as_slice().into()).expect("a frame");
        let (stays, goes) = (queues(), queues());
        let router = Router::new([Arc::clone(&stays), Arc::clone(&goes)]);
        // As an offer does that has not come to its end.
        let offering = router.inlets.load();
        router.replace([Arc::clone(&stays)]);
        router.replace([queues(), Arc::clone(&stays)]);
        assert!(!is_closed(&goes));
        drop(offering);
        assert!(is_closed(&goes) && !is_closed(&stays));
        router.offer(&chunk);
        assert_eq!((stays.ledger().offered, goes.ledger().offered), (1, 0));
    }
}
