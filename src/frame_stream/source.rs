//! The connection that a chunk came from.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::memory::Budget;

/// The connection from which a chunk of frames came. Each chunk has one.
///
/// Clones are cheap and identify the same connection. A sender that reconnects becomes a new source.
#[derive(Clone)]
pub struct Source(Arc<Identity>);

/// A number for each name of each listener. It is unique in the life of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerId(u64);

/// The number of a listener, and the proof that frames with this number exist or may still arrive. A listener shares it
/// with its connections and with the frames that it has received.
#[derive(Debug, Clone)]
pub(crate) struct Presence(Arc<ListenerId>);

/// Shows whether frames with the number of a listener are left.
#[derive(Debug, Clone)]
pub(crate) struct Remains {
    pub(crate) id: ListenerId,
    presence: Weak<ListenerId>,
}

struct Identity {
    number: u64,
    listener_id: Option<ListenerId>,
    /// `None` if this source belongs to no frame, or if there is no `listener_id`.
    presence: Option<Presence>,
    sender: u64,
    listener: Arc<str>,
    peer: Box<str>,
    memory: Budget,
}

// === impl Source ===

impl Source {
    /// Creates a source for the connection of `peer` to `listener`. Log lines show both names.
    pub fn new(listener: Arc<str>, peer: &str) -> Self {
        Self::within(&Budget::default(), listener, peer)
    }

    /// Like [`new`](Self::new), with a budget for the memory of the source's chunks and of chunks derived from them.
    pub fn within(memory: &Budget, listener: Arc<str>, peer: &str) -> Self {
        Self::build(memory, None, listener, peer)
    }

    /// Like [`within`](Self::within), for a connection to a running listener.
    pub(crate) fn of_listener(
        memory: &Budget,
        presence: &Presence,
        listener: Arc<str>,
        peer: &str,
    ) -> Self {
        Self::build(memory, Some(presence.clone()), listener, peer)
    }

    fn build(memory: &Budget, presence: Option<Presence>, listener: Arc<str>, peer: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(Arc::new(Identity {
            number: NEXT.fetch_add(1, Relaxed),
            listener_id: presence.as_ref().map(Presence::id),
            presence,
            sender: sender(&listener, peer),
            listener,
            peer: peer.into(),
            memory: memory.clone(),
        }))
    }

    /// Returns the same source without its `Presence`, for a holder that outlives the frames.
    pub fn without_frames(&self) -> Self {
        if self.0.presence.is_none() {
            return self.clone();
        }
        let Identity {
            number,
            listener_id,
            presence: _,
            sender,
            listener,
            peer,
            memory,
        } = &*self.0;
        Self(Arc::new(Identity {
            number: *number,
            listener_id: *listener_id,
            presence: None,
            sender: *sender,
            listener: Arc::clone(listener),
            peer: peer.clone(),
            memory: memory.clone(),
        }))
    }

    /// Returns a number that is unique among all connections in the life of this process. It is never 0.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Returns a number shared by all connections of one sender (a process or an IP address) to one listener.
    pub fn sender(&self) -> u64 {
        self.0.sender
    }

    /// Returns the running listener, or `None` for frames that were made in this process or were read from a spool.
    pub(crate) fn listener_id(&self) -> Option<ListenerId> {
        self.0.listener_id
    }

    /// Returns the name of the listener.
    pub fn listener(&self) -> &str {
        &self.0.listener
    }

    pub(crate) fn memory(&self) -> &Budget {
        &self.0.memory
    }

    /// Returns the address or process of the sender.
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

// === impl ListenerId ===

impl ListenerId {
    /// Returns a number that no other listener has.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

// === impl Presence ===

impl Presence {
    pub(crate) fn new(id: ListenerId) -> Self {
        Self(Arc::new(id))
    }

    pub(crate) fn id(&self) -> ListenerId {
        *self.0
    }

    pub(crate) fn remains(&self) -> Remains {
        Remains {
            id: self.id(),
            presence: Arc::downgrade(&self.0),
        }
    }
}

// === impl Remains ===

impl Remains {
    /// Returns whether no frame with this number exists, and none can arrive.
    pub(crate) fn are_gone(&self) -> bool {
        self.presence.strong_count() == 0
    }
}

/// Hashes the parts that all connections of one sender share. The port changes with each connection.
fn sender(listener: &str, peer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    listener.hash(&mut hasher);
    match peer.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().hash(&mut hasher),
        Err(_) => peer.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_process_or_address_have_the_same_sender() {
        let sender = |listener: &str, peer| Source::new(listener.into(), peer).sender();
        let first = sender("in", "192.0.2.1:7");
        for same in ["192.0.2.1:8", "[::ffff:192.0.2.1]:9"] {
            assert_eq!(sender("in", same), first, "{same}");
        }
        for other in ["192.0.2.2:7", "[2001:db8::1]:7", "pid 7, uid 0"] {
            assert_ne!(sender("in", other), first, "{other}");
        }
        assert_ne!(sender("in2", "192.0.2.1:7"), first);
        assert_eq!(sender("in", "pid 7, uid 0"), sender("in", "pid 7, uid 0"));
    }
}
