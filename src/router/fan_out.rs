//! The router: offers every chunk to every sink.

use std::sync::Arc;

#[cfg(feature = "tap")]
use super::DropReason;
use super::{Queues, inlets::Inlets, shortage};
use crate::{frame_stream::Chunk, memory::Budget};

/// Offers each chunk to the queues of every sink. Cheap to clone; all clones share one set of sinks.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    sinks: Arc<Inlets<Queues>>,
    memory: Budget,
}

// === impl Router ===

impl Router {
    /// A router to these sinks, without a common memory limit.
    #[cfg(test)]
    pub(crate) fn new(sinks: impl IntoIterator<Item = Arc<Queues>>) -> Self {
        Self::within(Budget::default(), sinks)
    }

    /// A router to these sinks, which share `memory`. When memory is short, the queue that holds the most loses frames
    /// first.
    pub(crate) fn within(memory: Budget, sinks: impl IntoIterator<Item = Arc<Queues>>) -> Self {
        let router = Self {
            sinks: Arc::default(),
            memory,
        };
        router.replace(sinks);
        router
    }

    /// Offers `chunk` to every sink. It never waits: each queue keeps the frames that fit and counts the others as
    /// lost.
    pub(crate) fn offer(&self, chunk: &Chunk) {
        let sinks = self.sinks.load();
        if self.memory.is_short() {
            let inlets: Vec<_> = sinks.iter().flat_map(|queues| queues.inlets()).collect();
            let queues: Vec<_> = inlets.iter().map(|queue| &***queue).collect();
            shortage::offer(&self.memory, &queues, chunk);
            return;
        }
        for queues in sinks.iter() {
            queues.offer(chunk);
        }
    }

    /// Counts `frames` as offered to every sink and lost.
    #[cfg(feature = "tap")]
    pub(crate) fn lose(&self, reason: DropReason, frames: u64) {
        for queues in self.sinks.load().iter() {
            queues.lose(reason, frames);
        }
    }

    /// Replaces the sinks, from the next chunk on. A sink in both sets misses no chunk and gets none twice. The queues
    /// of a removed sink are closed as soon as the last offer to them is over.
    ///
    /// Two calls must not overlap.
    pub(crate) fn replace(&self, sinks: impl IntoIterator<Item = Arc<Queues>>) {
        self.sinks.replace(sinks);
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
    fn the_queues_of_a_removed_sink_are_closed_when_the_last_offer_is_over() {
        let chunk = Chunk::from_wire(b"\0\0\0\x01a".as_slice().into()).expect("a frame");
        let (stays, goes) = (queues(), queues());
        let router = Router::new([Arc::clone(&stays), Arc::clone(&goes)]);
        // Holds the set, as an offer in progress does.
        let offering = router.sinks.load();
        router.replace([Arc::clone(&stays)]);
        router.replace([queues(), Arc::clone(&stays)]);
        assert!(!is_closed(&goes));
        drop(offering);
        assert!(is_closed(&goes) && !is_closed(&stays));
        router.offer(&chunk);
        assert_eq!((stays.ledger().offered, goes.ledger().offered), (1, 0));
    }
}
