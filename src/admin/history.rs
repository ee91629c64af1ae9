//! The last five minutes of every sink, with one point per second.

use std::{collections::VecDeque, mem, time::Duration};

use serde::Serialize;

use super::{
    paces::Paces,
    verdict::{self, Lately},
};
use crate::health::{LedgerStatus, ListenerStatus, RouterStatus, SinkStatus};

/// The number of recent points, one per second, in which a loss still counts as ongoing.
#[allow(clippy::cast_possible_truncation)]
const NOW_POINTS: usize = verdict::NOW.as_secs() as usize;

/// The recent history of listeners and sinks. The admin endpoint records the router's counters once a second, even if
/// no page is open. So a page that is opened during an outage shows how the outage began.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The number of samples taken.
    seconds: u64,
    listeners: Vec<ListenerTrace>,
    sinks: Vec<SinkTrace>,
    paces: Paces,
}

/// A listener's count of frames, and its rate since the previous sample.
#[derive(Debug, Clone, Serialize)]
struct ListenerTrace {
    name: String,
    removed: bool,
    #[serde(skip)]
    frames: u64,
    /// Frames per second.
    rate: u64,
}

/// The counters and the state of a sink at one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SinkSample {
    name: String,
    removed: bool,
    /// The offered frames without the excluded ones.
    offered: u64,
    delivered: u64,
    dropped: u64,
    up: bool,
}

#[derive(Debug)]
struct SinkTrace {
    last: SinkSample,
    points: VecDeque<Point>,
}

/// The counts of a sink in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    /// Frames per second.
    offered: u32,
    /// Frames per second.
    delivered: u32,
    /// Frames lost in this second.
    dropped: u32,
    up: bool,
}

/// The latest points for the page, in the order of the listeners and sinks in the status.
#[derive(Debug, Serialize)]
pub(super) struct Points {
    /// The number of the latest second. A program that reads the points compares this number with the previous one, to
    /// find out how many seconds it has missed.
    second: u64,
    listeners: Vec<ListenerTrace>,
    sinks: Vec<SinkPoints>,
}

#[derive(Debug, Serialize)]
struct SinkPoints {
    name: String,
    removed: bool,
    /// Frames per second, from the oldest to the latest point.
    offered: Vec<u32>,
    delivered: Vec<u32>,
    /// Frames lost in each second.
    dropped: Vec<u32>,
    /// 1 if the sink was up or waited for collectors, otherwise 0.
    up: Vec<u8>,
}

// === impl History ===

impl History {
    /// The interval between samples.
    pub(super) const PERIOD: Duration = Duration::from_secs(1);

    /// Points kept for each sink: five minutes in about 5 KiB.
    pub(super) const POINTS: usize = 300;

    /// Adds a snapshot, taken `elapsed` after the previous one.
    pub(super) fn look(&mut self, status: &RouterStatus, elapsed: Duration) {
        self.paces.look(status, elapsed);
        self.record(
            status.listeners.iter().map(ListenerTrace::begin),
            status.sinks.iter().map(SinkSample::of),
            elapsed,
        );
    }

    /// Returns the last `count` points of every sink.
    pub(super) fn last(&self, count: usize) -> Points {
        Points {
            second: self.seconds,
            listeners: self.listeners.clone(),
            sinks: self
                .sinks
                .iter()
                .map(|trace| SinkPoints::of(trace, count))
                .collect(),
        }
    }

    /// Sets the rates of the senders in a status.
    pub(super) fn set_paces(&self, status: &mut RouterStatus) {
        self.paces.fill(status);
    }

    /// Returns the recent losses and deliveries of a sink. They are all zero before the first sample of the sink.
    pub(super) fn lately(&self, sink: &SinkStatus) -> Lately {
        let is_it =
            |trace: &&SinkTrace| trace.last.name == sink.name && trace.last.removed == sink.removed;
        let trace = self.sinks.iter().find(is_it);
        trace.map_or_else(Lately::default, |trace| trace.lately(&sink.ledger))
    }

    fn record(
        &mut self,
        listeners: impl Iterator<Item = ListenerTrace>,
        sinks: impl Iterator<Item = SinkSample>,
        elapsed: Duration,
    ) {
        self.seconds += 1;
        let before = mem::take(&mut self.listeners);
        for mut trace in listeners {
            let mut before = before.iter();
            let last = before.find(|last| last.name == trace.name && last.removed == trace.removed);
            trace.rate = last.map_or(0, |last| rate(grown(last.frames, trace.frames), elapsed));
            self.listeners.push(trace);
        }
        let mut before = mem::take(&mut self.sinks);
        for sample in sinks {
            let same = |trace: &SinkTrace| {
                trace.last.name == sample.name && trace.last.removed == sample.removed
            };
            let trace = match before.iter().position(same) {
                Some(place) => before.swap_remove(place).next(sample, elapsed),
                None => SinkTrace::begin(sample),
            };
            self.sinks.push(trace);
        }
    }
}

// === impl SinkTrace ===

impl SinkTrace {
    fn begin(sample: SinkSample) -> Self {
        Self {
            points: VecDeque::with_capacity(History::POINTS),
            last: sample,
        }
    }

    fn next(mut self, sample: SinkSample, elapsed: Duration) -> Self {
        let last = &self.last;
        let point = Point {
            offered: short(rate(grown(last.offered, sample.offered), elapsed)),
            delivered: short(rate(grown(last.delivered, sample.delivered), elapsed)),
            dropped: short(grown(last.dropped, sample.dropped)),
            up: sample.up,
        };
        if self.points.len() == History::POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.last = sample;
        self
    }

    /// Returns the recent losses and deliveries for the verdict. They include the counts of `ledger` that are newer
    /// than the last point.
    fn lately(&self, ledger: &LedgerStatus) -> Lately {
        let fresh = ledger.dropped_total().saturating_sub(self.last.dropped);
        let lost = |points: usize| {
            let latest = self.points.iter().rev().take(points);
            latest.fold(fresh, |sum, point| sum.saturating_add(point.dropped.into()))
        };
        let idle = self.points.iter().rev();
        let idle = idle.take_while(|point| point.delivered == 0).count();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        Lately {
            lost: lost(History::POINTS),
            losing: self.losing(fresh),
            idle: if ledger.delivered > self.last.delivered {
                Duration::ZERO
            } else {
                History::PERIOD.saturating_mul(idle)
            },
        }
    }
}

impl SinkTrace {
    /// Returns the number of frames lost within the last [`verdict::NOW`], without those lost before the sink came up.
    /// `fresh` is the number of frames lost after the last sample.
    ///
    /// Losses of an outage that has ended do not count. The second in which the sink came up does not count either,
    /// because its losses may belong to the outage.
    fn losing(&self, fresh: u64) -> u64 {
        if !self.last.up {
            return 0;
        }
        let latest = || self.points.iter().rev().take(NOW_POINTS);
        let up = latest().take_while(|point| point.up).count();
        let came_up = usize::from(up < latest().count());
        let since = latest().take(up.saturating_sub(came_up));
        since.fold(fresh, |sum, point| sum.saturating_add(point.dropped.into()))
    }
}

// === impl ListenerTrace ===

impl ListenerTrace {
    fn begin(listener: &ListenerStatus) -> Self {
        Self {
            name: listener.name.clone(),
            removed: listener.removed,
            frames: listener.frames,
            rate: 0,
        }
    }
}

// === impl SinkSample ===

impl SinkSample {
    fn of(sink: &SinkStatus) -> Self {
        Self {
            name: sink.name.clone(),
            removed: sink.removed,
            offered: sink.ledger.wanted(),
            delivered: sink.ledger.delivered,
            dropped: sink.ledger.dropped_total(),
            up: sink.is_in_order(),
        }
    }
}

// === impl SinkPoints ===

impl SinkPoints {
    fn of(trace: &SinkTrace, count: usize) -> Self {
        let points = || {
            let skipped = trace.points.len().saturating_sub(count);
            trace.points.iter().skip(skipped)
        };
        Self {
            name: trace.last.name.clone(),
            removed: trace.last.removed,
            offered: points().map(|point| point.offered).collect(),
            delivered: points().map(|point| point.delivered).collect(),
            dropped: points().map(|point| point.dropped).collect(),
            up: points().map(|point| u8::from(point.up)).collect(),
        }
    }
}

/// Returns the growth of a counter. If the counter decreased, it belongs to a new sink of the same name, whose counter
/// started at 0.
fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn rate(count: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    let rate = (u128::from(count) * 1_000_000 + micros / 2) / micros;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn short(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, up: bool, offered: u64, delivered: u64) -> SinkSample {
        SinkSample {
            name: name.into(),
            removed: false,
            offered,
            delivered,
            dropped: 0,
            up,
        }
    }

    fn record(history: &mut History, samples: impl IntoIterator<Item = SinkSample>) {
        history.record([].into_iter(), samples.into_iter(), History::PERIOD);
    }

    #[test]
    fn a_point_holds_the_rates_of_one_second() {
        let mut history = History::default();
        record(&mut history, [sample("a", true, 1_000, 900)]);
        assert!(history.last(9).sinks[0].offered.is_empty());
        record(&mut history, [sample("a", true, 1_500, 1_000)]);
        let half = Duration::from_millis(500);
        history.record(
            [].into_iter(),
            [sample("a", false, 1_600, 1_001)].into_iter(),
            half,
        );
        let points = history.last(History::POINTS);
        assert_eq!(points.second, 3);
        assert_eq!(points.sinks[0].offered, [500, 200]);
        assert_eq!(points.sinks[0].delivered, [100, 2]);
        assert_eq!(points.sinks[0].up, [1, 0]);
        assert_eq!(history.last(1).sinks[0].offered, [200]);
    }

    #[test]
    fn points_are_kept_for_five_minutes() {
        let mut history = History::default();
        for second in 0..=400 {
            record(&mut history, [sample("a", true, second * second, 0)]);
        }
        let sinks = history.last(usize::MAX).sinks;
        assert_eq!(sinks[0].offered.len(), History::POINTS);
        assert_eq!(sinks[0].offered.last(), Some(&799));
        assert_eq!(history.sinks[0].points.capacity(), History::POINTS);
    }

    #[test]
    fn each_sink_keeps_its_history_through_reloads() {
        let mut history = History::default();
        record(
            &mut history,
            [sample("a", true, 0, 0), sample("b", true, 0, 0)],
        );
        record(
            &mut history,
            [sample("a", true, 1, 0), sample("b", true, 2, 0)],
        );
        // The order changes, and a new sink starts without points.
        record(
            &mut history,
            [
                sample("b", true, 4, 0),
                sample("c", true, 9, 0),
                sample("a", true, 7, 0),
            ],
        );
        let offered = |place: usize| history.last(9).sinks[place].offered.clone();
        assert_eq!((offered(0), offered(2)), (vec![2, 2], vec![1, 6]));
        assert!(offered(1).is_empty());
        record(&mut history, [sample("a", true, 3, 0)]);
        assert_eq!(history.last(9).sinks.len(), 1);
        assert_eq!(history.last(1).sinks[0].offered, [3]);
    }

    #[test]
    fn a_sink_that_came_up_again_is_no_longer_losing() {
        let mut history = History::default();
        let mut dropped = 0;
        let mut second = |up: bool, lost: u64| {
            dropped += lost;
            let sample = SinkSample {
                dropped,
                ..sample("a", up, 0, 0)
            };
            record(&mut history, [sample]);
            let trace = &history.sinks[0];
            (trace.losing(0), trace.losing(5))
        };
        second(true, 0);
        assert_eq!(second(true, 7), (7, 12));
        assert_eq!(second(false, 100), (0, 0), "it is down");
        // The sink has lost frames before it came up in this second.
        assert_eq!(second(true, 50), (0, 5));
        assert_eq!(second(true, 0), (0, 5));
        assert_eq!(second(true, 3), (3, 8), "it loses frames while it is up");
    }

    #[test]
    fn recent_losses_are_known_for_five_minutes() {
        let mut history = History::default();
        let mut second = |dropped: u64, delivered: u64| {
            let sample = SinkSample {
                dropped,
                ..sample("a", true, 0, delivered)
            };
            record(&mut history, [sample]);
            let trace = &history.sinks[0];
            let ledger = |more: u64| LedgerStatus {
                offered: 0,
                excluded: crate::health::Counts::new(),
                delivered,
                delivered_bytes: 0,
                dropped: [("queue_full".into(), dropped + more)].into(),
                queued: 0,
                in_flight: 0,
                unconfirmed: 0,
                resent: 0,
            };
            assert_eq!(
                trace.lately(&ledger(3)).lost,
                trace.lately(&ledger(0)).lost + 3
            );
            let Lately { lost, losing, idle } = trace.lately(&ledger(0));
            (lost, losing, idle.as_secs())
        };
        // The losses before the first sample do not count, because their time is unknown.
        assert_eq!(second(7, 0), (0, 0, 0));
        assert_eq!(second(9, 1), (2, 2, 0));
        for idle in 1..10 {
            assert_eq!(second(9, 1), (2, 2, idle));
        }
        for idle in 10..300 {
            assert_eq!(second(9, 1), (2, 0, idle));
        }
        assert_eq!(second(9, 1), (0, 0, 300));
        assert_eq!(second(10, 2), (1, 1, 0));
    }
}
