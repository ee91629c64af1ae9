//! The listeners whose frames each sink gets.

use std::sync::Arc;

use super::Supervisor;
use crate::{
    config::{self, Listen},
    frame_stream::ListenerId,
    router::Sources,
    sink::SinkSetupError,
};

/// The listeners of a plan, for the sinks that name some of them.
pub(super) struct Listeners {
    named: Vec<(Arc<str>, ListenerId)>,
    /// The removed listeners that may still receive frames.
    leaving: Vec<ListenerId>,
}

// === impl Listeners ===

impl Listeners {
    /// Records which listeners of `running` are not in the plan. `planned` has the listeners of the plan.
    pub(super) fn new(
        planned: impl Iterator<Item = (Arc<str>, ListenerId)>,
        running: &mut Supervisor,
    ) -> Self {
        let named: Vec<_> = planned.collect();
        if running.retiring_listeners.is_empty() {
            running.leaving_listeners.clear();
        }
        let old = running.listeners.iter().map(|old| old.running.id());
        let leave = old.filter(|id| named.iter().all(|(_, planned)| planned != id));
        running.leaving_listeners.extend(leave);
        Self {
            named,
            leaving: running.leaving_listeners.clone(),
        }
    }

    /// Returns the sources of a sink. `old` is `None` if the sink starts.
    ///
    /// The senders of a removed listener finish their streams. Their frames still go to the sinks that got them before.
    pub(super) fn of(&self, sink: &config::Sink, old: Option<&Sources>) -> Sources {
        if sink.from.is_empty() {
            return Sources::ALL;
        }
        let named = self.named.iter();
        let named = named.filter_map(|(name, id)| sink.from.contains(name).then_some(*id));
        let leaving = self.leaving.iter().copied();
        let leaving = leaving.filter(|id| old.is_some_and(|old| old.include(*id)));
        Sources::only(named.chain(leaving))
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
