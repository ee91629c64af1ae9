//! Which connection a chunk came from.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::memory::Budget;

/// One connection of a sender, as the chunks that it brought remember it.
///
/// Clones are cheap and name the same connection. A sender that reconnects is another source.
#[derive(Clone)]
pub struct Source(Arc<Identity>);

struct Identity {
    number: u64,
    listener: Arc<str>,
    peer: Box<str>,
    memory: Budget,
}

// === impl Source ===

impl Source {
    /// A connection that `peer` has made to `listener`, named as in the log.
    pub fn new(listener: Arc<str>, peer: &str) -> Self {
        Self::within(&Budget::default(), listener, peer)
    }

    /// The same. The memory of its chunks, and of what is made of them, counts against this budget.
    pub fn within(memory: &Budget, listener: Arc<str>, peer: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Identity {
            number: NEXT.fetch_add(1, Relaxed),
            listener,
            peer: peer.into(),
            memory: memory.clone(),
        }))
    }

    /// Its number, which no other connection of this process has or will have. Never 0.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The name of the listener.
    pub fn listener(&self) -> &str {
        &self.0.listener
    }

    pub(super) fn memory(&self) -> &Budget {
        &self.0.memory
    }

    /// The other end: an address, or a process.
    pub fn peer(&self) -> &str {
        &self.0.peer
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.peer(), self.listener())
    }
}
