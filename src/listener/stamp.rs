//! The stamp that a listener adds to the chunks of its senders: its name, and the identity of frames that have none.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use arc_swap::{ArcSwap, Cache};

use super::identity::Identity;
use crate::{
    config::Listen,
    frame_stream::{Chunk, ListenerId, Presence, Remains, Source},
    memory::Budget,
};

/// The current stamp of a listener. All clones share it, and a reload replaces it while the listener runs. In log
/// lines, a `Stamp` appears as the listener's name.
#[derive(Debug, Clone)]
pub(crate) struct Stamp(Arc<ArcSwap<Imprint>>);

#[derive(Debug)]
struct Imprint {
    /// The number of the listener while it has this name. Another name needs another number, so that no sink gets a
    /// frame by the old name that is edited by the new one.
    presence: Presence,
    name: Arc<str>,
    identity: Option<Identity>,
}

/// The number that a listener has had until a reload.
#[derive(Debug, Clone)]
pub(crate) struct FormerId {
    imprint: Weak<Imprint>,
    pub(crate) remains: Remains,
}

/// Puts the stamp of the listener on the chunks of one connection.
pub(super) struct Stamper {
    /// The stamp of the listener. It is read for each chunk, and the cache makes this cheap.
    listener: Cache<Arc<ArcSwap<Imprint>>, Arc<Imprint>>,
    peer: String,
    memory: Budget,
    source: Source,
}

// === impl Stamp ===

impl Stamp {
    pub(super) fn of(listen: &Listen) -> Self {
        let imprint = Imprint::of(listen, Presence::new(ListenerId::next()));
        Self(Arc::new(ArcSwap::from_pointee(imprint)))
    }

    /// Replaces the stamp, from the next chunk of each connection on. Another name needs another `id`.
    pub(super) fn replace(&self, listen: &Listen, id: ListenerId) {
        let current = &self.0.load().presence;
        let presence = if current.id() == id {
            current.clone()
        } else {
            Presence::new(id)
        };
        self.0.store(Arc::new(Imprint::of(listen, presence)));
    }

    /// Returns the number that tells the sinks which listener a frame came from.
    pub(super) fn id(&self) -> ListenerId {
        self.0.load().presence.id()
    }

    /// Returns the current number, for the time after it was replaced.
    pub(super) fn former_id(&self) -> FormerId {
        let imprint = self.0.load_full();
        FormerId {
            imprint: Arc::downgrade(&imprint),
            remains: imprint.presence.remains(),
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.0.load().name)
    }

    /// Returns the stamper of a new connection.
    pub(super) fn stamper(&self, memory: &Budget, peer: &str) -> Stamper {
        let mut listener = Cache::new(Arc::clone(&self.0));
        let Imprint { presence, name, .. } = &**listener.load();
        let source = Source::of_listener(memory, presence, Arc::clone(name), peer);
        Stamper {
            listener,
            peer: peer.to_owned(),
            memory: memory.clone(),
            source,
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.load().name)
    }
}

// === impl Imprint ===

impl Imprint {
    fn of(listen: &Listen, presence: Presence) -> Self {
        Self {
            presence,
            name: Arc::clone(&listen.name),
            identity: listen.identity.clone().map(Identity::new),
        }
    }
}

// === impl FormerId ===

impl FormerId {
    pub(crate) fn id(&self) -> ListenerId {
        self.remains.id
    }

    /// Returns whether no frame can arrive with this number any more. A connection keeps the stamp of its last frames
    /// until its next frames arrive, so this function cannot return `true` while these frames are being offered.
    pub(crate) fn is_over(&self) -> bool {
        self.imprint.strong_count() == 0
    }
}

// === impl Stamper ===

impl Stamper {
    /// Stamps a new chunk of the connection.
    pub(super) fn stamp(&mut self, chunk: Chunk) -> Chunk {
        let Imprint {
            presence,
            name,
            identity,
        } = &**self.listener.load();
        if self.source.listener_id() != Some(presence.id()) {
            // A source never changes, so the connection gets a new source.
            let name = Arc::clone(name);
            self.source = Source::of_listener(&self.memory, presence, name, &self.peer);
        }
        let chunk = match identity {
            Some(identity) => identity.add_to(chunk),
            None => chunk,
        };
        chunk.brought_by(&self.source)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(name: &str, identity: Option<&'static str>) -> Listen {
        Listen {
            name: name.into(),
            identity: identity.map(Into::into),
            ..Listen::new("@in", crate::config::ListenAddress::Tcp(([0; 4], 1).into()))
        }
    }

    #[test]
    fn a_reload_changes_the_marks_of_an_open_connection() {
        const FRAME: &[u8] = b"\0\0\0\x06\x72\x02\x08\x05\x78\x01";
        let stamp = Stamp::of(&listen("a", None));
        let mut stamper = stamp.stamper(&Budget::default(), "192.0.2.1:7");
        let chunk = || Chunk::from_wire(FRAME.into()).expect("a frame");
        let origin = |chunk: &Chunk| chunk.source().cloned().expect("a source");
        let [first, second] = [(); 2].map(|()| stamper.stamp(chunk()));
        assert_eq!((first.wire(), origin(&first).listener()), (FRAME, "a"));
        assert_eq!(origin(&first), origin(&second));
        let former = stamp.former_id();
        assert_eq!(origin(&first).listener_id(), Some(former.id()));
        stamp.replace(&listen("b", Some("ns1")), ListenerId::next());
        // The frames that the connection has read last may not be offered yet.
        assert!(!former.is_over());
        let third = stamper.stamp(chunk());
        assert_eq!(
            third.wire(),
            b"\0\0\0\x0b\x0a\x03ns1\x72\x02\x08\x05\x78\x01"
        );
        let source = origin(&third);
        assert_eq!((source.listener(), source.peer()), ("b", "192.0.2.1:7"));
        assert!(former.is_over() && !former.remains.are_gone());
        let remembered = origin(&first).without_frames();
        assert_eq!(remembered, origin(&first));
        assert_eq!(source.listener_id(), Some(stamp.id()));
        assert_eq!(origin(&first).listener_id(), Some(former.id()));
        assert_ne!(former.id(), stamp.id());
        assert_ne!(Stamp::of(&listen("b", None)).id(), stamp.id());
        assert_eq!(stamp.to_string(), "b");
        // Another identity changes neither the number nor its presence.
        let current = stamp.former_id();
        stamp.replace(&listen("b", None), stamp.id());
        let _fourth = stamper.stamp(chunk());
        assert!(current.is_over() && !current.remains.are_gone());
        drop((first, second));
        assert!(former.remains.are_gone());
    }
}
