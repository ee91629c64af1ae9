//! The polled state of the router: its last status, its rates and its recent history.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    events::Events,
    rates::{ListenerRates, SinkRates, added},
    series::{KEPT, Series},
};
use crate::{
    admin::{RouterStatus, SinkStatus, quantile},
    cli::{facts::fill, figures::age},
};

/// A router that is polled.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The last status received.
    pub(super) status: Option<RouterStatus>,
    /// The local time since which polls fail, and the reason for the failures; `None` if the last poll succeeded.
    pub(super) lost: Option<(Instant, String)>,
    pub(super) events: Events,
    sinks: BTreeMap<String, SinkHistory>,
    listeners: BTreeMap<String, ListenerHistory>,
}

#[derive(Debug, Default)]
pub(super) struct SinkHistory {
    /// The rates between the last two polls. `None` if one of these polls failed or the router was restarted between
    /// them.
    pub(super) rates: Option<SinkRates>,
    pub(super) incoming: Series,
    pub(super) outgoing: Series,
    pub(super) dropped: Series,
    /// The fill of the queue from 0 to 1.
    pub(super) fill: Series,
    /// The growth of the latency histogram between two polls, for each poll.
    latencies: VecDeque<Vec<u64>>,
}

#[derive(Debug, Default)]
pub(super) struct ListenerHistory {
    pub(super) rates: Option<ListenerRates>,
    pub(super) frames: Series,
}

// === impl Watched ===

impl Watched {
    /// Records a successful poll.
    pub(super) fn seen(&mut self, mut status: RouterStatus, now: Instant) {
        without_namesakes(&mut status);
        let before = self.status.take();
        let before = before.filter(|before| {
            let same = before.started == status.started;
            if !same {
                let what = format!("the router was restarted (tapfan {})", status.version);
                self.events.router(status.started, what);
            }
            same
        });
        if let Some((since, _)) = self.lost.take() {
            let away = age(now.saturating_duration_since(since));
            let what = format!("the router answers again, after {away}");
            self.events.router(status.now, what);
        }
        if let Some(before) = &before {
            self.events.compare(before, &status);
        }
        let time = before
            .as_ref()
            .map_or(Duration::ZERO, |before| status.now.since(before.now));
        self.sinks
            .retain(|name, _| status.sinks.iter().any(|sink| sink.name == *name));
        for sink in &status.sinks {
            let mut earlier = before.iter().flat_map(|before| &before.sinks);
            let earlier = earlier.find(|earlier| earlier.name == sink.name);
            let history = self.sinks.entry(sink.name.clone()).or_default();
            history.seen(earlier, sink, time);
        }
        self.listeners.retain(|name, _| {
            status
                .listeners
                .iter()
                .any(|listener| listener.name == *name)
        });
        for listener in &status.listeners {
            let mut earlier = before.iter().flat_map(|before| &before.listeners);
            let earlier = earlier.find(|earlier| earlier.name == listener.name);
            let rates = earlier.and_then(|earlier| ListenerRates::between(earlier, listener, time));
            let history = self.listeners.entry(listener.name.clone()).or_default();
            history.rates = rates;
            history.frames.push(rates.map(|rates| rates.frames));
        }
        self.status = Some(status);
    }

    /// Records a failed poll. `why` is the reason, as one clause.
    pub(super) fn missed(&mut self, why: String, now: Instant) {
        if let Some((_, last)) = &mut self.lost {
            *last = why;
        } else {
            if let Some(status) = &self.status {
                let what = format!("the router was lost: {why}");
                self.events.router(status.now, what);
            }
            self.lost = Some((now, why));
        }
        for history in self.sinks.values_mut() {
            history.missed();
        }
        for history in self.listeners.values_mut() {
            history.rates = None;
            history.frames.push(None);
        }
    }

    pub(super) fn sink(&self, name: &str) -> Option<&SinkHistory> {
        self.sinks.get(name)
    }

    pub(super) fn listener(&self, name: &str) -> Option<&ListenerHistory> {
        self.listeners.get(name)
    }
}

/// Drops each removed sink and listener that has the same name as a configured one. Histories are kept by name, so the
/// values of both would be mixed in one history.
fn without_namesakes(status: &mut RouterStatus) {
    let mut sinks = HashSet::new();
    status.sinks.retain(|sink| sinks.insert(sink.name.clone()));
    let mut listeners = HashSet::new();
    status
        .listeners
        .retain(|listener| listeners.insert(listener.name.clone()));
}

// === impl SinkHistory ===

impl SinkHistory {
    fn seen(&mut self, earlier: Option<&SinkStatus>, later: &SinkStatus, time: Duration) {
        let ledgers = earlier.map(|earlier| (&earlier.ledger, &later.ledger));
        let rates = ledgers.and_then(|(earlier, later)| SinkRates::between(earlier, later, time));
        self.push(rates, Some(fill(&later.queue)));
        let counts = earlier.map(|earlier| (&earlier.latency.counts, &later.latency.counts));
        match counts.and_then(|(earlier, later)| added(earlier, later)) {
            Some(added) => {
                if self.latencies.len() == KEPT {
                    self.latencies.pop_front();
                }
                self.latencies.push_back(added);
            }
            // There is no earlier histogram, or its buckets are different. So the growth since the last poll is
            // unknown.
            None => self.latencies.clear(),
        }
    }

    fn missed(&mut self) {
        self.push(None, None);
    }

    fn push(&mut self, rates: Option<SinkRates>, fill: Option<f64>) {
        self.rates = rates;
        self.incoming.push(rates.map(|rates| rates.incoming));
        self.outgoing.push(rates.map(|rates| rates.outgoing));
        self.dropped.push(rates.map(|rates| rates.dropped));
        self.fill.push(fill);
    }

    /// Returns the quantile `q` of the latency over the last `polls` polls, in seconds.
    pub(super) fn latency(&self, bounds: &[f64], polls: usize, q: f64) -> Option<f64> {
        let mut sum = vec![0_u64; bounds.len() + 1];
        for added in self.latencies.iter().rev().take(polls) {
            for (sum, added) in sum.iter_mut().zip(added) {
                *sum = sum.saturating_add(*added);
            }
        }
        quantile(bounds, &sum, q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{at, router, sink};

    /// Returns the status of the router `seconds` after the first status. `frames` is the number of frames that have
    /// passed its listener and its sink since then.
    fn later(seconds: i64, frames: u64) -> RouterStatus {
        let mut status = router(vec![sink("a", "unix:///a")]);
        status.now = at(seconds);
        status.listeners[0].frames += frames;
        let sink = &mut status.sinks[0];
        sink.ledger.offered += frames;
        sink.ledger.delivered += frames;
        sink.latency.counts[0] += frames;
        status
    }

    fn outgoing(watched: &Watched) -> Option<f64> {
        Some(watched.sink("a")?.rates?.outgoing)
    }

    #[test]
    fn rates_use_the_clock_of_the_router() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.seen(later(0, 0), now);
        assert_eq!(outgoing(&watched), None);
        // The local clock does not advance in this test, because only the router's clock matters for rates.
        watched.seen(later(4, 8000), now);
        assert_eq!(outgoing(&watched), Some(2000.0));
        let listener = watched.listener("unix:///run/tapfan/dnstap.sock");
        let rates = listener.expect("known").rates.expect("two looks");
        assert_eq!((rates.frames, rates.bytes.round()), (2000.0, 0.0));
        let history = watched.sink("a").expect("known");
        let bounds = [0.001, 0.01, 0.1, 1.0];
        let close = |q, expected: f64| {
            let found = history.latency(&bounds, 60, q).expect("frames");
            assert!((found - expected).abs() < 1e-9, "{found}");
        };
        close(0.5, 0.0005);
        close(1.0, 0.001);
    }

    #[test]
    fn rates_start_again_after_a_restart_of_the_router() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.seen(later(0, 5000), now);
        let mut restarted = later(3, 9000);
        restarted.started = at(2);
        watched.seen(restarted.clone(), now);
        assert_eq!(outgoing(&watched), None, "though the counter has grown");
        let event = watched.events.of("a").next().expect("an event");
        assert!(event.what.contains("restarted"), "{event:?}");
        restarted.now = at(4);
        restarted.sinks[0].ledger.delivered += 10;
        watched.seen(restarted, now);
        assert_eq!(outgoing(&watched), Some(10.0));
    }

    #[test]
    fn failed_polls_leave_a_gap_and_the_next_rate_spans_it() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.seen(later(0, 0), now);
        watched.seen(later(1, 100), now);
        watched.missed("Connection refused".to_owned(), now);
        watched.missed("it did not answer".to_owned(), now + Duration::from_secs(1));
        let (since, why) = watched.lost.clone().expect("lost");
        assert_eq!((since, why.as_str()), (now, "it did not answer"));
        assert_eq!(outgoing(&watched), None);
        assert!(watched.status.is_some(), "what was known stays");
        watched.seen(later(5, 500), now + Duration::from_secs(2));
        assert!(watched.lost.is_none());
        assert_eq!(outgoing(&watched), Some(100.0));
        let series = &watched.sink("a").expect("known").outgoing;
        assert_eq!(
            series.columns(5, 5),
            [None, Some(100.0), None, None, Some(100.0)]
        );
        let events: Vec<&str> = watched
            .events
            .of("a")
            .map(|event| event.what.as_str())
            .collect();
        assert_eq!(
            events,
            [
                "the router answers again, after 2s",
                "the router was lost: Connection refused"
            ]
        );
    }

    #[test]
    fn a_removed_sink_is_not_confused_with_its_namesake() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        for second in 0..4_u32 {
            let mut status = later(second.into(), 100 * u64::from(second));
            let mut leaving = status.sinks[0].clone();
            leaving.removed = true;
            leaving.ledger.delivered = 1_000_000;
            status.sinks.push(leaving);
            watched.seen(status, now);
        }
        assert_eq!(outgoing(&watched), Some(100.0));
        let series = &watched.sink("a").expect("known").outgoing;
        assert_eq!(series.columns(4, 4)[1..], [Some(100.0); 3]);
        assert_eq!(watched.events.of("a").count(), 0);
    }

    #[test]
    fn the_history_of_a_removed_sink_is_dropped() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.seen(later(0, 0), now);
        let mut without = later(1, 0);
        without.sinks.clear();
        watched.seen(without, now);
        assert!(watched.sink("a").is_none());
    }
}
