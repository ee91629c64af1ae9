//! The listeners whose frames each sink gets.

use std::sync::Arc;

use super::Supervisor;
use crate::{
    config::{self, Listen},
    frame_stream::{ListenerId, Remains},
    listener::FormerId,
    router::Sources,
    sink::SinkSetupError,
};

/// The listeners of a plan, for the sinks that name some of them.
pub(super) struct Listeners {
    named: Vec<(Arc<str>, ListenerId)>,
    /// The numbers of removed and renamed listeners with which frames may still arrive.
    former: Vec<ListenerId>,
    /// The frames of all listeners from before the plan.
    remains: Vec<Remains>,
}

// === impl Listeners ===

impl Listeners {
    /// Records which numbers of the listeners of `running` are not in the plan. `planned` has the listeners of the plan.
    pub(super) fn new(
        planned: impl Iterator<Item = (Arc<str>, ListenerId)>,
        running: &mut Supervisor,
    ) -> Self {
        let named: Vec<_> = planned.collect();
        let former = &mut running.former_listeners;
        former.retain(|former| !former.remains.are_gone());
        let old = running.listeners.iter().map(|old| old.running.former_id());
        let (stay, leave): (Vec<_>, Vec<_>) =
            old.partition(|old| named.iter().any(|(_, planned)| *planned == old.id()));
        former.extend(leave);
        let remains = former.iter().chain(&stay).map(|it| it.remains.clone());
        let remains = remains.collect();
        let former = former.iter().filter(|former| !former.is_over());
        Self {
            named,
            former: former.map(FormerId::id).collect(),
            remains,
        }
    }

    /// Returns the frames of all listeners that the router has had, as long as there are any.
    pub(super) fn remains(&self) -> &[Remains] {
        &self.remains
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test]
    async fn the_former_names_of_a_listener_leave_no_edits_if_no_frame_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = |name: &str| {
            let socket = folder.path().join("in");
            let tapfile = format!(
                "listen {} {{\n name {name}\n}}\n\
                 dnstap unix:///nowhere/tapfan {{\n name out\n from {name}\n}}",
                socket.display(),
            );
            let loaded = config::parse("Tapfile".as_ref(), &tapfile, &|_| None);
            loaded.config.expect("no errors")
        };
        let mut router = Supervisor::start(&config("first")).expect("started");
        for number in 0..5 {
            let name = format!("listener-{number}");
            router.reload(&config(&name)).expect("sound");
            // Frames may still arrive under the last name until the listener has its new name.
            assert_eq!(router.sinks[0].edits.former(), 1, "{name}");
            assert!(router.former_listeners.len() <= 2);
        }
    }
}
