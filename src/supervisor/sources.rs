//! The listeners whose frames each sink gets.

use std::sync::Arc;

use super::Supervisor;
use crate::{
    config::{self, Listen},
    frame_stream::ListenerId,
    listener::FormerId,
    router::Sources,
    sink::SinkSetupError,
};

/// The listeners of a plan, for the sinks that name some of them.
pub(super) struct Listeners {
    named: Vec<(Arc<str>, ListenerId)>,
    /// The numbers of removed and renamed listeners with which frames may still arrive.
    former: Vec<ListenerId>,
}

// === impl Listeners ===

impl Listeners {
    /// Records which numbers of the listeners of `running` are not in the plan. `planned` has the listeners of the plan.
    pub(super) fn new(
        planned: impl Iterator<Item = (Arc<str>, ListenerId)>,
        running: &mut Supervisor,
    ) -> Self {
        let named: Vec<_> = planned.collect();
        running.former_listeners.retain(|former| !former.is_over());
        let old = running.listeners.iter().map(|old| old.running.former_id());
        let leave = old.filter(|old| named.iter().all(|(_, planned)| *planned != old.id()));
        running.former_listeners.extend(leave);
        let former = running.former_listeners.iter().map(FormerId::id);
        Self {
            named,
            former: former.collect(),
        }
    }

    /// Returns the listeners that a sink names.
    pub(super) fn of(&self, sink: &config::Sink) -> Sources {
        if sink.from.is_empty() {
            return Sources::ALL;
        }
        Sources::only(self.named(sink))
    }

    /// Returns the listeners whose frames a sink gets. `old` is `None` if the sink starts.
    ///
    /// The senders of a removed listener finish their streams. Their frames still go to the sinks that got them before,
    /// as do frames that a listener has received under its former name.
    pub(super) fn with_former(&self, sink: &config::Sink, old: Option<&Sources>) -> Sources {
        if sink.from.is_empty() {
            return Sources::ALL;
        }
        let former = self.former.iter().copied();
        let former = former.filter(|id| old.is_some_and(|old| old.include(*id)));
        Sources::only(self.named(sink).chain(former))
    }

    fn named(&self, sink: &config::Sink) -> impl Iterator<Item = ListenerId> {
        let named = self.named.iter();
        named.filter_map(|(name, id)| sink.from.contains(name).then_some(*id))
    }
}

/// Refuses a sink that names a listener that does not exist. The parser refuses such a Tapfile, too, but a program can
/// build a configuration without a Tapfile.
pub(super) fn check(sink: &config::Sink, listeners: &[Listen]) -> Result<(), SinkSetupError> {
    let mut names = sink.from.iter();
    match names.find(|name| listeners.iter().all(|listen| listen.name != **name)) {
        Some(unknown) => Err(SinkSetupError::NoListener(Arc::clone(unknown))),
        None => Ok(()),
    }
}
