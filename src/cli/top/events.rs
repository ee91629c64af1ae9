//! Events of the router. `top` finds them by comparing successive statuses.

use std::collections::VecDeque;

use crate::{
    admin::{Failure, RouterStatus, SinkStatus, Timestamp},
    cli::facts::reasons,
    health::State,
};

/// The number of events kept.
const KEPT: usize = 500;

/// The number of latest events of a sink that a new event is compared with. If one of them is equal, its count grows,
/// and no event is added.
const RECENT: usize = 8;

/// A change of a sink or of the router, shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The time by the router's clock.
    pub(super) at: Timestamp,
    /// The sink; `None` for the router itself.
    pub(super) sink: Option<String>,
    pub(super) what: String,
    /// The number of times that this event has happened recently.
    pub(super) times: u32,
}

/// The latest events, the newest last.
#[derive(Debug, Default)]
pub(super) struct Events {
    events: VecDeque<Event>,
}

// === impl Events ===

impl Events {
    /// Returns the events of one sink and of the router, the newest first.
    pub(super) fn of<'a>(&'a self, sink: &'a str) -> impl Iterator<Item = &'a Event> {
        let events = self.events.iter().rev();
        events.filter(move |event| event.sink.as_deref().is_none_or(|name| name == sink))
    }

    /// Records an event of the router.
    pub(super) fn router(&mut self, at: Timestamp, what: String) {
        self.push(at, None, what);
    }

    /// Records the differences between two successive statuses of the same router.
    pub(super) fn compare(&mut self, earlier: &RouterStatus, later: &RouterStatus) {
        if earlier.reloads.last != later.reloads.last
            && let Some(last) = &later.reloads.last
        {
            let what = match (&last.error, &last.changes) {
                (Some(error), _) => format!("reload refused: {error}"),
                (None, Some(changes)) => format!("reloaded the configuration: {changes}"),
                (None, None) => "reload changed nothing".to_owned(),
            };
            self.router(last.at, what);
        }
        for sink in &later.sinks {
            let mut before = earlier.sinks.iter();
            match before.find(|before| before.name == sink.name) {
                Some(before) => self.compare_sinks(before, sink, later.now),
                None => self.push(later.now, Some(&sink.name), "added".to_owned()),
            }
        }
    }

    fn compare_sinks(&mut self, earlier: &SinkStatus, later: &SinkStatus, now: Timestamp) {
        let name = Some(later.name.as_str());
        if later.removed && !earlier.removed {
            self.push(now, name, "removed from the configuration".to_owned());
        }
        if earlier.is_up() && !later.is_up() {
            self.push(later.since, name, format!("down, in {}", later.state));
        }
        // A new error shows that the sink went down between two polls, even if the sink was up at both polls.
        let failed = self.failed(
            &later.name,
            "",
            earlier.last_error.as_ref(),
            later.last_error.as_ref(),
        );
        let mut failed_at_endpoint = false;
        if later.endpoints.len() > 1 {
            for endpoint in &later.endpoints {
                let mut before = earlier.endpoints.iter();
                let before = before.find(|before| before.endpoint == endpoint.endpoint);
                let before = before.and_then(|before| before.last_error.as_ref());
                let prefix = format!("{}: ", endpoint.address());
                let known = later.last_error == endpoint.last_error;
                failed_at_endpoint |= !known
                    && self.failed(&later.name, &prefix, before, endpoint.last_error.as_ref());
            }
        }
        if !failed && !failed_at_endpoint {
            for (reason, count) in &later.disconnects {
                if earlier
                    .disconnects
                    .get(reason)
                    .is_some_and(|before| before < count)
                {
                    self.push(now, name, format!("a connection ended: {reason}"));
                }
            }
        }
        let endpoint = later.endpoint.as_deref().unwrap_or("an unknown address");
        let came = match (earlier.is_up(), later.is_up()) {
            (false, true) => Some(format!("up, at {endpoint}")),
            (true, true) if earlier.connects < later.connects && later.waits => {
                Some("a collector has connected".to_owned())
            }
            (true, true) if earlier.connects < later.connects => {
                Some(format!("reconnected, to {endpoint}"))
            }
            _ => None,
        };
        if let Some(what) = came {
            self.push(later.since, name, what);
        }
        if earlier.state == State::Up && later.state == State::Waiting {
            self.push(now, name, "no collector is connected".to_owned());
        }
        self.compare_sockets(earlier, later, now);
        self.losses(earlier, later, now);
    }

    /// Records whether collectors can connect to a sink that waits for them.
    fn compare_sockets(&mut self, earlier: &SinkStatus, later: &SinkStatus, now: Timestamp) {
        let (before, lost) = (&earlier.not_listening, &later.not_listening);
        let prefix = "no collector can connect: ";
        self.failed(&later.name, prefix, before.as_ref(), lost.as_ref());
        if before.is_some() && lost.is_none() {
            let what = "collectors can connect again".to_owned();
            self.push(now, Some(&later.name), what);
        }
    }

    /// Records lost frames. Losses in successive polls are merged into one event.
    fn losses(&mut self, earlier: &SinkStatus, later: &SinkStatus, now: Timestamp) {
        let (before, after) = (&earlier.ledger.dropped, &later.ledger.dropped);
        let lost = later.ledger.dropped_total();
        let Some(lost) = lost.checked_sub(earlier.ledger.dropped_total()) else {
            return;
        };
        if lost > 0 {
            let by_reason = after.iter().map(|(reason, count)| {
                let before = before.get(reason).copied().unwrap_or_default();
                (reason.clone(), count.saturating_sub(before))
            });
            let why = reasons(&by_reason.collect());
            // The event names the reason without the counts, because the counts change with each poll. So events with
            // the same reason are equal and can be merged.
            let why = why.split(' ').next().unwrap_or_default();
            self.again(now, &later.name, format!("losing frames: {why}"));
        }
    }

    fn failed(
        &mut self,
        sink: &str,
        prefix: &str,
        earlier: Option<&Failure>,
        later: Option<&Failure>,
    ) -> bool {
        match later {
            Some(failure) if earlier != later => {
                self.again(failure.at, sink, format!("{prefix}{}", failure.error));
                true
            }
            _ => false,
        }
    }

    /// Records an event. If a recent event of the same sink is equal, adds one to its count instead.
    fn again(&mut self, at: Timestamp, sink: &str, what: String) {
        let recent = self.events.iter().enumerate().rev();
        let mut recent = recent
            .filter(|(_, event)| event.sink.as_deref() == Some(sink))
            .take(RECENT);
        let same = recent.find(|(_, event)| event.what == what);
        let same = same.map(|(index, _)| index);
        let times = same.and_then(|index| self.events.remove(index));
        let times = times.map_or(1, |same| same.times.saturating_add(1));
        self.push(at, Some(sink), what);
        if let Some(last) = self.events.back_mut() {
            last.times = times;
        }
    }

    fn push(&mut self, at: Timestamp, sink: Option<&str>, what: String) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            at,
            sink: sink.map(str::to_owned),
            what,
            times: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{at, counts, down, endpoint, refused, router, sink};

    fn shown(events: &Events, sink: &str) -> Vec<String> {
        let shown = events.of(sink).map(|event| match event.times {
            1 => event.what.clone(),
            times => format!("{} ({times})", event.what),
        });
        shown.collect()
    }

    #[test]
    fn an_outage_is_recorded_with_its_errors() {
        let mut events = Events::default();
        let up = router(vec![sink("a", "unix:///a"), sink("b", "unix:///b")]);
        let mut gone = router(vec![sink("a", "unix:///a"), down("b", "unix:///b")]);
        events.compare(&up, &up);
        events.compare(&up, &gone);
        // Three more attempts, all with losses.
        for second in 1..4 {
            let mut later = gone.clone();
            let sink = &mut later.sinks[1];
            sink.last_error.as_mut().expect("failed").at = at(second);
            *sink.ledger.dropped.get_mut("queue_full").expect("a reason") += 5;
            events.compare(&gone, &later);
            gone = later;
        }
        let mut back = gone.clone();
        back.sinks[1] = sink("b", "unix:///b");
        back.sinks[1].ledger = gone.sinks[1].ledger.clone();
        events.compare(&gone, &back);
        assert_eq!(
            shown(&events, "b"),
            [
                "up, at unix:///b",
                "losing frames: queue_full (4)",
                "cannot connect: Connection refused (os error 111) (4)",
                "down, in backoff",
            ]
        );
        assert_eq!(shown(&events, "a"), [""; 0]);
    }

    #[test]
    fn reconnects_new_sinks_and_refused_reloads_are_recorded() {
        let mut events = Events::default();
        let before = router(vec![sink("a", "unix:///a")]);
        let mut after = refused(router(vec![sink("a", "unix:///a"), sink("b", "unix:///b")]));
        after.sinks[0].disconnects = counts(&[("closed", 1), ("io", 0)]);
        after.sinks[0].connects = 2;
        events.compare(&before, &after);
        assert_eq!(
            shown(&events, "a"),
            [
                "reconnected, to unix:///a",
                "a connection ended: closed",
                "reload refused: /etc/tapfan/Tapfile has 1 error",
            ]
        );
        assert_eq!(shown(&events, "b")[0], "added");
    }

    #[test]
    fn errors_name_their_endpoint() {
        let mut events = Events::default();
        let mut before = sink("a", "tcp://192.0.2.1:6000");
        before.endpoints.push(endpoint("tcp://192.0.2.2:6000"));
        let mut after = before.clone();
        after.endpoints[1].last_error = down("a", "").last_error.clone();
        events.compare(&router(vec![before]), &router(vec![after]));
        assert_eq!(
            shown(&events, "a"),
            ["tcp://192.0.2.2:6000: cannot connect: Connection refused (os error 111)"]
        );
    }

    #[test]
    fn the_last_collector_leaves_and_the_socket_is_lost() {
        let mut events = Events::default();
        let mut up = sink("a", "pid 1, connection 1");
        up.waits = true;
        let mut waiting = up.clone();
        waiting.endpoints.clear();
        waiting.health.health.state = State::Waiting;
        let mut lost = waiting.clone();
        lost.not_listening = down("a", "").last_error.clone();
        let [up, waiting, lost] = [up, waiting, lost].map(|sink| router(vec![sink]));
        events.compare(&up, &waiting);
        events.compare(&waiting, &lost);
        events.compare(&lost, &waiting);
        assert_eq!(
            shown(&events, "a"),
            [
                "collectors can connect again",
                "no collector can connect: cannot connect: Connection refused (os error 111)",
                "no collector is connected",
            ]
        );
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let mut events = Events::default();
        for number in 0..2 * KEPT {
            events.router(at(0), number.to_string());
        }
        assert_eq!(events.of("a").count(), KEPT);
        assert_eq!(shown(&events, "a")[0], (2 * KEPT - 1).to_string());
    }
}
