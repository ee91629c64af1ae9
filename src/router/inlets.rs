//! The set of queues that chunks are offered to. It is read for each chunk, without a lock.

use std::{ops::Deref, sync::Arc};

use arc_swap::{ArcSwap, Guard};

/// One or several queues that can be closed. After they are closed, nothing is offered to them.
pub(super) trait Close {
    fn close(&self);
}

/// The queues that chunks are offered to. The set is replaced as a whole.
#[derive(Debug)]
pub(super) struct Inlets<Q: Close>(ArcSwap<Vec<Arc<Inlet<Q>>>>);

/// A guard that keeps one of the queues open. Dropping it closes the queue.
///
/// All sets that contain the queue share one inlet. A thread that still offers to an old set therefore keeps the queues
/// of that set open until it is done.
#[derive(Debug)]
pub(super) struct Inlet<Q: Close>(Arc<Q>);

// === impl Inlets ===

impl<Q: Close> Inlets<Q> {
    /// The current set. Its queues stay open as long as the guard lives.
    pub(super) fn load(&self) -> Guard<Arc<Vec<Arc<Inlet<Q>>>>> {
        self.0.load()
    }

    /// Replaces the set, from the next chunk on. A queue in both sets misses no chunk and gets none twice. A queue that
    /// is only in the old set is closed as soon as the last offer to it is over.
    ///
    /// Two calls must not overlap.
    pub(super) fn replace(&self, queues: impl IntoIterator<Item = Arc<Q>>) {
        let old = self.0.load_full();
        let inlet = |queue: Arc<Q>| {
            let known = old.iter().find(|inlet| Arc::ptr_eq(&inlet.0, &queue));
            known.map_or_else(|| Arc::new(Inlet(Arc::clone(&queue))), Arc::clone)
        };
        let new = queues.into_iter().map(inlet).collect();
        self.0.store(Arc::new(new));
    }
}

impl<Q: Close> Default for Inlets<Q> {
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
