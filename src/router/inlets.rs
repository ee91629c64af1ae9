//! The set of queues to which chunks are offered. Each offer of a chunk reads the set, without a lock.

use std::{ops::Deref, sync::Arc};

use arc_swap::{ArcSwap, Guard};

/// One or several queues that can be closed. No chunk is offered to a closed queue.
pub(super) trait Close {
    fn close(&self);
}

/// The queues to which chunks are offered, each with a condition. The set is always replaced as a whole, so a change of
/// several conditions takes effect for all queues at the same time.
#[derive(Debug)]
pub(super) struct Inlets<Q: Close, C = ()>(ArcSwap<Vec<(Arc<Inlet<Q>>, C)>>);

/// The queues at one moment.
type Set<Q, C> = Arc<Vec<(Arc<Inlet<Q>>, C)>>;

/// A guard that keeps one of the queues open. When the guard is dropped, it closes the queue.
///
/// All sets that contain the queue share one guard. An old set lives as long as a thread still offers a chunk to its
/// queues. So a queue that is only in an old set is closed when the last such thread is done.
#[derive(Debug)]
pub(super) struct Inlet<Q: Close>(Arc<Q>);

// === impl Inlets ===

impl<Q: Close, C> Inlets<Q, C> {
    /// Returns the current set. The queues of the set stay open as long as the caller keeps the returned guard.
    pub(super) fn load(&self) -> Guard<Set<Q, C>> {
        self.0.load()
    }

    /// Replaces the set, from the next chunk on. A queue that is in the old set and in the new set misses no chunk and
    /// gets no chunk twice. A queue that is only in the old set is closed as soon as no thread offers to it any more.
    ///
    /// The caller must not call this function while another call is in progress.
    pub(super) fn replace(&self, queues: impl IntoIterator<Item = (Arc<Q>, C)>) {
        let old = self.0.load_full();
        let inlet = |queue: Arc<Q>| {
            let mut known = old.iter().map(|(inlet, _)| inlet);
            let known = known.find(|inlet| Arc::ptr_eq(&inlet.0, &queue));
            known.map_or_else(|| Arc::new(Inlet(Arc::clone(&queue))), Arc::clone)
        };
        let queues = queues.into_iter();
        let new = queues.map(|(queue, condition)| (inlet(queue), condition));
        let new = new.collect();
        self.0.store(Arc::new(new));
    }
}

impl<Q: Close, C> Default for Inlets<Q, C> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

// === impl Inlet ===

impl<Q: Close> Deref for Inlet<Q> {
    type Target = Q;

    fn deref(&self) -> &Q {
        &self.0
    }
}

impl<Q: Close> Drop for Inlet<Q> {
    fn drop(&mut self) {
        self.0.close();
    }
}
