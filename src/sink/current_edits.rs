//! The edits of a sink while it runs, and the edits that it had before a reload.
//!
//! A reload can change the edits of a sink together with its listeners. Frames of the former listeners may still wait
//! in the queue then. They get the edits that belong to these listeners. Otherwise a frame could leave with the
//! `identity_prefix` of a server that did not send it. Former edits are dropped when no such frame is left.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    EditGroup,
    edits::{Computed, Edited},
    sharing::Editor,
};
use crate::{
    frame_stream::{Chunk, Remains, Source},
    router::Sources,
};

/// The edits of one sink. Clones share them. A reload replaces them while the sink runs.
#[derive(Debug, Clone)]
pub(crate) struct CurrentEdits(Arc<watch::Sender<History>>);

#[derive(Debug)]
struct History {
    current: Period,
    /// The oldest is first.
    former: Vec<Former>,
}

/// Edits that the sink had before a reload.
#[derive(Debug)]
struct Former {
    period: Period,
    /// The frames that may still need these edits.
    remains: Vec<Remains>,
}

/// Edits, and the listeners whose frames the sink gets while it has these edits.
#[derive(Debug, Clone)]
struct Period {
    sources: Sources,
    group: Arc<EditGroup>,
}

/// The edits that a service uses after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The service keeps its edits until its stream ends, because a new stream follows. Frames of new listeners get the
    /// new edits.
    UntilEnd,
    /// The service uses the new edits from the next batch on.
    Reloads,
}

/// Edits the chunks of one service.
#[derive(Debug)]
pub(super) struct Follower {
    follow: Follow,
    /// True if the service shares no edited chunks with others.
    is_apart: bool,
    own: Period,
    editor: Editor,
    edits: CurrentEdits,
    history: watch::Receiver<History>,
    /// True if some frames may need other edits than `own`.
    has_others: bool,
    computed: Computed,
}

/// The largest number of former edits that a sink keeps. If a frame waits in the queue during more reloads, each with
/// other listeners, it gets the current edits.
const FORMER_AT_MOST: usize = 32;

// === impl CurrentEdits ===

impl CurrentEdits {
    /// Creates the edits of a sink that gets the frames of all listeners.
    pub(crate) fn new(group: Arc<EditGroup>) -> Self {
        let sources = Sources::ALL;
        Self(Arc::new(watch::Sender::new(History {
            current: Period { sources, group },
            former: Vec::new(),
        })))
    }

    /// Sets the edits, and the listeners whose frames the sink gets. `remains` has the frames of all listeners that the
    /// router has had.
    ///
    /// The caller must call this function before the router offers frames of these listeners to the sink. So the
    /// service that gets such a frame knows the edits for it.
    pub(crate) fn replace(&self, group: &Arc<EditGroup>, sources: Sources, remains: &[Remains]) {
        self.0.send_modify(|History { current, former }| {
            let group = Arc::clone(group);
            let period = std::mem::replace(current, Period { sources, group });
            let of_period = |it: &&Remains| period.sources.include(it.id);
            let remains = remains.iter().filter(of_period).cloned().collect();
            former.push(Former { period, remains });
            // New edits also apply to frames from before the reload, unless their listener was removed from the sink.
            for it in former.iter_mut() {
                it.remains.retain(|it| !current.sources.include(it.id));
            }
            former.retain(|it| !it.is_over());
            let surplus = former.len().saturating_sub(FORMER_AT_MOST);
            former.drain(..surplus);
        });
    }

    /// Drops the former edits that no frame needs any more.
    fn drop_former(&self) {
        // Services call this function for each batch, and most calls drop nothing. A change needs the lock for itself.
        if !self.0.borrow().former.iter().any(Former::is_over) {
            return;
        }
        self.0
            .send_modify(|history| history.former.retain(|it| !it.is_over()));
    }

    /// Returns the number of former edits that the sink keeps.
    #[cfg(test)]
    pub(crate) fn former(&self) -> usize {
        self.0.borrow().former.len()
    }

    /// Returns the edits for a service that starts now.
    pub(super) fn follower(&self, follow: Follow, is_apart: bool) -> Follower {
        let mut history = self.0.subscribe();
        let (own, has_others) = {
            let history = history.borrow_and_update();
            (history.current.clone(), !history.former.is_empty())
        };
        Follower {
            follow,
            is_apart,
            editor: own.editor(is_apart),
            own,
            edits: self.clone(),
            history,
            has_others,
            computed: Computed::default(),
        }
    }
}

// === impl Former ===

impl Former {
    fn is_over(&self) -> bool {
        self.remains.iter().all(Remains::are_gone)
    }
}

// === impl Period ===

impl Period {
    fn editor(&self, is_apart: bool) -> Editor {
        if is_apart {
            self.group.apart().editor()
        } else {
            self.group.editor()
        }
    }

    fn has_edits_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.group, &other.group)
    }
}

// === impl Follower ===

impl Follower {
    /// Takes over the changes since the last batch. Returns whether a frame of the next batch needs an edit.
    pub(super) fn change_any(&mut self, batch: &[Chunk]) -> bool {
        self.catch_up();
        !self.editor.is_noop() || batch.iter().any(|chunk| self.others(chunk).is_some())
    }

    fn catch_up(&mut self) {
        if self.has_others {
            self.edits.drop_former();
        }
        if !self.history.has_changed().unwrap_or(false) {
            return;
        }
        let history = self.history.borrow_and_update();
        let is_new = !history.current.has_edits_of(&self.own);
        if !is_new || self.follow == Follow::Reloads {
            self.own = history.current.clone();
        }
        self.has_others = is_new || !history.former.is_empty();
        if is_new && self.follow == Follow::Reloads {
            self.editor = self.own.editor(self.is_apart);
        }
    }

    /// Returns the chunk with edited frames.
    pub(super) fn edit(&mut self, chunk: &Chunk) -> Edited {
        match self.others(chunk) {
            Some(group) => group.edit_alone(chunk, &mut self.computed),
            None if self.editor.is_noop() => Edited::untouched(chunk),
            None => self.editor.edit(chunk),
        }
    }

    /// Returns the edits for a chunk that does not get the service's own edits.
    fn others(&self, chunk: &Chunk) -> Option<Arc<EditGroup>> {
        if !self.has_others {
            return None;
        }
        let listener = chunk.source().and_then(Source::listener_id)?;
        if self.own.sources.include(listener) {
            return None;
        }
        let history = self.history.borrow();
        let newest_first = [&history.current].into_iter();
        let former = history.former.iter().rev().map(|it| &it.period);
        let mut newest_first = newest_first.chain(former);
        let period = newest_first.find(|period| period.sources.include(listener))?;
        (!period.has_edits_of(&self.own)).then(|| Arc::clone(&period.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Edits,
        frame_stream::{ListenerId, Presence},
        memory::Budget,
        sink::{EditGroups, FrameEdits},
    };

    fn chunk(listener: &Presence) -> Chunk {
        let source = Source::of_listener(&Budget::default(), listener, "in".into(), "pid 1");
        let chunk = Chunk::from_wire(b"\0\0\0\x06\x72\x02\x08\x05\x78\x01".as_slice().into());
        chunk.expect("a frame").brought_by(&source)
    }

    fn listeners<const N: usize>() -> ([Presence; N], [Remains; N]) {
        let listeners = [(); N].map(|()| Presence::new(ListenerId::next()));
        let remains = listeners.each_ref().map(Presence::remains);
        (listeners, remains)
    }

    fn only<const N: usize>(listeners: [&Presence; N]) -> Sources {
        Sources::only(listeners.map(Presence::id))
    }

    /// Creates edits that set this identity, or change nothing if it is empty.
    fn edits(groups: &EditGroups, identity: &'static str) -> Arc<EditGroup> {
        let edits = Edits {
            identity: (!identity.is_empty()).then(|| identity.into()),
            ..Edits::default()
        };
        groups.group(FrameEdits::new(true, &edits))
    }

    /// Returns the identity that the service gives to a frame of this listener.
    fn identity(follower: &mut Follower, listener: &Presence) -> String {
        let chunk = chunk(listener);
        if !follower.change_any(std::slice::from_ref(&chunk)) {
            return String::new();
        }
        let edited = follower.edit(&chunk);
        let frame = edited.chunk.frames().next().expect("a frame");
        String::from_utf8_lossy(crate::dnstap::identity(frame)).into()
    }

    #[test]
    fn a_frame_gets_the_edits_that_belong_to_its_listener() {
        let groups = EditGroups::default();
        let edits = |identity| edits(&groups, identity);
        let ([a, b, c], remains) = listeners();
        let (a, b, c) = (&a, &b, &c);
        let current = CurrentEdits::new(edits("all"));
        current.replace(&edits("all"), only([a]), &remains);
        let mut stays = current.follower(Follow::UntilEnd, false);
        let mut changes = current.follower(Follow::Reloads, false);
        assert_eq!(identity(&mut changes, a), "all");
        // Only the edits change.
        current.replace(&edits("one"), only([a]), &remains);
        assert_eq!(identity(&mut changes, a), "one");
        assert_eq!(identity(&mut stays, a), "all");
        let mut stays = current.follower(Follow::UntilEnd, true);
        // The listeners and the edits change.
        current.replace(&edits("two"), only([b]), &remains);
        for follower in [&mut stays, &mut changes] {
            assert_eq!([a, b].map(|of| identity(follower, of)), ["one", "two"]);
        }
        let mut next = current.follower(Follow::UntilEnd, false);
        assert_eq!([a, b].map(|of| identity(&mut next, of)), ["one", "two"]);
        // The current edits change nothing, but frames of the former listeners are edited.
        current.replace(&edits(""), only([c]), &remains);
        let all = [a, b, c].map(|of| identity(&mut changes, of));
        assert_eq!(all, ["one", "two", ""]);
        // A listener that returns gets the current edits.
        current.replace(&edits(""), Sources::ALL, &remains);
        assert_eq!([a, b, c].map(|of| identity(&mut changes, of)), [""; 3]);
    }

    #[test]
    fn former_edits_are_dropped_with_the_last_frame_of_their_listener() {
        let groups = EditGroups::default();
        let current = CurrentEdits::new(edits(&groups, "all"));
        let ([a, b], remains) = listeners();
        let followers = [Follow::Reloads, Follow::UntilEnd];
        let mut followers = followers.map(|follow| current.follower(follow, false));
        current.replace(&edits(&groups, "one"), only([&a]), &remains);
        current.replace(&edits(&groups, ""), only([&b]), &remains);
        let (waits, later) = (chunk(&a), chunk(&b));
        drop((a, b));
        for follower in &mut followers {
            assert!(follower.change_any(std::slice::from_ref(&waits)));
        }
        let [changes, stays] = &mut followers;
        // A batch without such a frame passes as it is.
        assert!(!changes.change_any(std::slice::from_ref(&later)));
        assert_eq!(current.former(), 1);
        drop(waits);
        assert!(!changes.change_any(std::slice::from_ref(&later)));
        assert_eq!(current.former(), 0);
        assert!(!changes.has_others);
        // This service keeps the edits of its stream.
        assert!(stays.change_any(std::slice::from_ref(&later)));
        // A reload drops former edits, too.
        let ([c], _) = listeners();
        current.replace(&edits(&groups, "two"), only([&c]), &remains);
        current.replace(&edits(&groups, "three"), only([&c]), &remains);
        assert_eq!(current.former(), 1);
        drop(later);
        current.replace(&edits(&groups, "four"), only([&c]), &remains);
        assert_eq!(current.former(), 0);
    }

    #[test]
    fn the_number_of_former_edits_is_bounded() {
        let groups = EditGroups::default();
        let group = groups.group(FrameEdits::new(true, &Edits::default()));
        let current = CurrentEdits::new(Arc::clone(&group));
        let (listeners, remains) = listeners::<100>();
        for listener in &listeners {
            current.replace(&group, only([listener]), &remains);
        }
        assert_eq!(current.former(), FORMER_AT_MOST);
    }
}
