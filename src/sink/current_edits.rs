//! The edits of a sink while it runs, and the edits that it had before a reload.
//!
//! A reload can change the edits of a sink together with its listeners. Frames of the former listeners may still wait
//! in the queue then. They get the edits that belong to these listeners. Otherwise a frame could leave with the
//! `identity_prefix` of a server that did not send it.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    EditGroup,
    edits::{Computed, Edited},
    sharing::Editor,
};
use crate::{
    frame_stream::{Chunk, Source},
    router::Sources,
};

/// The edits of one sink. Clones share them. A reload replaces them while the sink runs.
#[derive(Debug, Clone)]
pub(crate) struct CurrentEdits(Arc<watch::Sender<History>>);

#[derive(Debug)]
struct History {
    current: Period,
    /// The oldest is first.
    former: Vec<Period>,
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

    /// Sets the edits, and the listeners whose frames the sink gets.
    ///
    /// The caller must call this function before the router offers frames of these listeners to the sink. So the
    /// service that gets such a frame knows the edits for it.
    pub(crate) fn replace(&self, group: &Arc<EditGroup>, sources: Sources) {
        self.0.send_modify(|History { current, former }| {
            let group = Arc::clone(group);
            let last = std::mem::replace(current, Period { sources, group });
            former.push(last);
            // New edits also apply to frames from before the reload, unless their listener was removed from the sink.
            former.retain(|period| period.sources != current.sources);
            let surplus = former.len().saturating_sub(FORMER_AT_MOST);
            former.drain(..surplus);
        });
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
            history,
            has_others,
            computed: Computed::default(),
        }
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
    /// Takes over the changes since the last batch. Returns whether no frame of the next batch needs an edit.
    pub(super) fn is_noop(&mut self) -> bool {
        if self.history.has_changed().unwrap_or(false) {
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
        !self.has_others && self.editor.is_noop()
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
        let mut newest_first = newest_first.chain(history.former.iter().rev());
        let period = newest_first.find(|period| period.sources.include(listener))?;
        (!period.has_edits_of(&self.own)).then(|| Arc::clone(&period.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Edits,
        frame_stream::ListenerId,
        memory::Budget,
        sink::{EditGroups, FrameEdits},
    };

    fn chunk(listener: ListenerId) -> Chunk {
        let source = Source::of_listener(&Budget::default(), listener, "in".into(), "pid 1");
        let chunk = Chunk::from_wire(b"\0\0\0\x06\x72\x02\x08\x05\x78\x01".as_slice().into());
        chunk.expect("a frame").brought_by(&source)
    }

    /// Returns the identity that the service gives to a frame of this listener.
    fn identity(follower: &mut Follower, listener: ListenerId) -> String {
        if follower.is_noop() {
            return String::new();
        }
        let edited = follower.edit(&chunk(listener));
        let frame = edited.chunk.frames().next().expect("a frame");
        String::from_utf8_lossy(crate::dnstap::identity(frame)).into()
    }

    #[test]
    fn a_frame_gets_the_edits_that_belong_to_its_listener() {
        let groups = EditGroups::default();
        let edits = |identity: &'static str| {
            let edits = Edits {
                identity: (!identity.is_empty()).then(|| identity.into()),
                ..Edits::default()
            };
            groups.group(FrameEdits::new(true, &edits))
        };
        let [a, b, c] = [(); 3].map(|()| ListenerId::next());
        let current = CurrentEdits::new(edits("all"));
        current.replace(&edits("all"), Sources::only([a]));
        let mut stays = current.follower(Follow::UntilEnd, false);
        let mut changes = current.follower(Follow::Reloads, false);
        assert_eq!(identity(&mut changes, a), "all");
        // Only the edits change.
        current.replace(&edits("one"), Sources::only([a]));
        assert_eq!(identity(&mut changes, a), "one");
        assert_eq!(identity(&mut stays, a), "all");
        let mut stays = current.follower(Follow::UntilEnd, true);
        // The listeners and the edits change.
        current.replace(&edits("two"), Sources::only([b]));
        for follower in [&mut stays, &mut changes] {
            assert_eq!([a, b].map(|of| identity(follower, of)), ["one", "two"]);
        }
        let mut next = current.follower(Follow::UntilEnd, false);
        assert_eq!([a, b].map(|of| identity(&mut next, of)), ["one", "two"]);
        // The current edits change nothing, but frames of the former listeners are edited.
        current.replace(&edits(""), Sources::only([c]));
        let all = [a, b, c].map(|of| identity(&mut changes, of));
        assert_eq!(all, ["one", "two", ""]);
        // A listener that returns gets the current edits.
        current.replace(&edits(""), Sources::ALL);
        assert_eq!([a, b, c].map(|of| identity(&mut changes, of)), [""; 3]);
    }

    #[test]
    fn the_number_of_former_edits_is_bounded() {
        let groups = EditGroups::default();
        let group = groups.group(FrameEdits::new(true, &Edits::default()));
        let current = CurrentEdits::new(Arc::clone(&group));
        for _ in 0..100 {
            current.replace(&group, Sources::only([ListenerId::next()]));
        }
        assert_eq!(current.0.borrow().former.len(), FORMER_AT_MOST);
    }
}
