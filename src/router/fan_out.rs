//! The router: offers every chunk to every sink that gets frames from the listener of the chunk.

use std::sync::Arc;

#[cfg(feature = "tap")]
use super::DropReason;
use super::{Queues, Selection, inlets::Inlets, offer::Offer, shortage};
use crate::{frame_stream::Chunk, memory::Budget};

/// Offers each chunk to the queues of every sink that gets frames from its listener. A clone is cheap. All clones share
/// one set of sinks.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    sinks: Arc<Inlets<Queues, Selection>>,
    memory: Budget,
}

// === impl Router ===

impl Router {
    /// Creates a router that offers chunks to these sinks and has no memory limit.
    #[cfg(test)]
    pub(crate) fn new(sinks: impl IntoIterator<Item = Arc<Queues>>) -> Self {
        Self::within(Budget::default(), sinks)
    }

    /// Creates a router that offers chunks to these sinks. `memory` is the limit for all sinks together. When memory is
    /// short, the queue that holds the most bytes loses frames first.
    pub(crate) fn within(memory: Budget, sinks: impl IntoIterator<Item = Arc<Queues>>) -> Self {
        let router = Self {
            sinks: Arc::default(),
            memory,
        };
        let sinks = sinks.into_iter();
        router.replace(sinks.map(|queues| (queues, Selection::default())));
        router
    }

    /// Offers `chunk` to every sink that gets frames from its source, without waiting. A sink with a filter gets only the
    /// frames that pass it. Each queue keeps the frames that fit, and counts the others as lost.
    pub(crate) fn offer(&self, chunk: &Chunk) {
        let sinks = self.sinks.load();
        if self.memory.is_short() {
            let sinks = sinks.iter();
            let sinks = sinks.map(|(queues, selection)| (queues.inlets(), selection.of(chunk)));
            let sinks: Vec<(_, Option<Offer<'_>>)> = sinks.collect();
            let offers = sinks.iter().flat_map(|(inlets, offer)| {
                let queues = inlets.iter().map(|inlet| &***inlet);
                queues.map(move |queue| (queue, offer.as_ref()))
            });
            shortage::offer(&self.memory, &offers.collect::<Vec<_>>());
            return;
        }
        for (queues, selection) in sinks.iter() {
            if !selection.includes(chunk) {
                continue;
            }
            match &selection.screen {
                None => queues.offer(chunk),
                Some(screen) => queues.put(&Offer::screened(screen, chunk)),
            }
        }
    }

    /// Returns whether another thread is using the queue of a sink now, so that [`offer`](Self::offer) would have to
    /// wait for that thread.
    #[cfg(feature = "tap")]
    pub(crate) fn is_in_use(&self) -> bool {
        let sinks = self.sinks.load();
        sinks.iter().any(|(queues, _)| queues.is_in_use())
    }

    /// Counts `frames` that come from no listener as offered to every sink, and lost by every sink.
    #[cfg(feature = "tap")]
    pub(crate) fn lose(&self, reason: DropReason, frames: u64) {
        for (queues, selection) in self.sinks.load().iter() {
            if selection.sources.include_source(None) {
                queues.lose(reason, frames);
            }
        }
    }

    /// Replaces the set of sinks and the selection of each sink, from the next chunk on. A sink that is in the old set and
    /// in the new set misses no chunk and gets no chunk twice. The queues of a removed sink are closed as soon as no
    /// thread offers to them any more.
    ///
    /// The caller must not call this function while another call is in progress.
    pub(crate) fn replace(&self, sinks: impl IntoIterator<Item = (Arc<Queues>, Selection)>) {
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
        // This guard keeps the old set of sinks alive, as an offer in progress does.
        let offering = router.sinks.load();
        let from_all = |queues: &Arc<Queues>| (Arc::clone(queues), Selection::default());
        router.replace([from_all(&stays)]);
        router.replace([from_all(&queues()), from_all(&stays)]);
        assert!(!is_closed(&goes));
        drop(offering);
        assert!(is_closed(&goes) && !is_closed(&stays));
        router.offer(&chunk);
        assert_eq!((stays.ledger().offered, goes.ledger().offered), (1, 0));
    }
}
