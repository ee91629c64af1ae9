//! The listeners whose frames a sink gets.

use std::sync::Arc;

use crate::frame_stream::{ListenerId, Source};

/// The listeners whose frames a sink gets. Clones are cheap.
///
/// All frames of a chunk are from one listener, so one look at the chunk decides for all of them. A chunk that a sink
/// does not get is not offered to the sink, so the sink's ledger does not count its frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources(Option<Arc<[ListenerId]>>);

// === impl Sources ===

impl Sources {
    /// Any listener. A sink with these sources also gets frames that come from no listener.
    pub(crate) const ALL: Self = Self(None);

    /// Creates sources that contain only these listeners.
    pub(crate) fn only(listeners: impl IntoIterator<Item = ListenerId>) -> Self {
        Self(Some(listeners.into_iter().collect()))
    }

    /// Returns whether the sink gets the frames of this listener.
    pub(crate) fn include(&self, listener: ListenerId) -> bool {
        let listeners = self.0.as_deref();
        listeners.is_none_or(|listeners| listeners.contains(&listener))
    }

    /// Returns whether the sink gets the frames from `source`.
    #[inline]
    pub(super) fn include_source(&self, source: Option<&Source>) -> bool {
        if self.0.is_none() {
            return true;
        }
        let listener = source.and_then(Source::listener_id);
        listener.is_some_and(|listener| self.include(listener))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame_stream::Presence, memory::Budget, router::Losses};

    #[test]
    fn a_sink_gets_the_frames_of_its_listeners_and_of_no_others() {
        let ids = [(); 3].map(|()| ListenerId::next());
        let [a, b, c] = ids.map(|id| {
            Source::of_listener(&Budget::default(), &Presence::new(id), "in".into(), "peer")
        });
        let elsewhere = Source::new("in".into(), "peer");
        let two = Sources::only([ids[0], ids[2]]);
        for (source, is_included) in [
            (Some(&a), true),
            (Some(&b), false),
            (Some(&c), true),
            (Some(&elsewhere), false),
            (None, false),
        ] {
            assert_eq!(two.include_source(source), is_included, "{source:?}");
            assert!(Sources::ALL.include_source(source), "{source:?}");
        }
        assert!(two.include(ids[0]) && !two.include(ids[1]) && Sources::ALL.include(ids[1]));
    }

    #[test]
    fn the_counts_of_lost_frames_keep_no_trace_of_them() {
        let listener = Presence::new(ListenerId::next());
        let remains = listener.remains();
        let mut losses = Losses::default();
        // Two connections of one process.
        for _ in 0..2 {
            let source = Source::of_listener(&Budget::default(), &listener, "in".into(), "pid 7");
            losses.record(Some(&source), 1);
        }
        drop(listener);
        assert!(remains.are_gone());
        assert_eq!(losses.senders().len(), 1);
    }
}
