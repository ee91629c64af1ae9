//! The state of a sink as its connection to a topic reports it.

use std::time::Duration;

use tokio::time::Instant;

use super::obstacle::Obstacle;
use crate::{
    health::{Disconnect, Event, Reporter},
    sink::STEADY,
};

/// The state of the sink. It is up as long as each partition has a leader that takes its batches.
#[derive(Debug)]
pub(super) struct Condition {
    status: Reporter,
    endpoint: String,
    state: State,
    /// The time since which a partition gets no frames. `None` if all partitions get frames.
    outage: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The connection is not complete. The layer above reports that it cannot be made.
    Opening,
    /// The sink is up since this time.
    Up(Instant),
    Down,
}

/// The time for which a partition can be without a leader before the sink is down.
///
/// When brokers restart one after another, they move each leader first, and a lookup finds the new leader within some
/// hundred milliseconds. Such a move must not change the state, because alerts and logs would report an outage with each
/// update of the cluster. After a crash, a partition is without a leader for several seconds, and the state says so.
pub(super) const GRACE: Duration = Duration::from_millis(1500);

// === impl Condition ===

impl Condition {
    pub(super) fn new(status: Reporter, endpoint: String) -> Self {
        Self {
            status,
            endpoint,
            state: State::Opening,
            outage: Some(Instant::now()),
        }
    }

    /// Returns whether all partitions got frames at the last check.
    pub(super) fn is_in_order(&self) -> bool {
        self.outage.is_none()
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening)
    }

    /// Returns whether the sink is reported as down.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    /// Returns whether an obstacle has lasted longer than [`GRACE`].
    pub(super) fn is_outage(&self) -> bool {
        self.outage.is_some_and(|since| since.elapsed() >= GRACE)
    }

    /// Returns the time at which an outage that has begun counts.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.outage.map(|since| since + GRACE)
    }

    /// Records whether there is an obstacle. Returns whether it is new.
    pub(super) fn check(&mut self, has_obstacle: bool) -> bool {
        let is_new = has_obstacle && self.outage.is_none();
        self.outage = has_obstacle.then(|| self.outage.unwrap_or_else(Instant::now));
        is_new
    }

    /// Begins to report. From now on, the sink takes frames.
    pub(super) fn open(&mut self, obstacle: Option<&Obstacle>, delay: Duration) {
        self.state = State::Down;
        match obstacle {
            None => self.update(None, delay),
            Some(obstacle) => self.fail(obstacle, delay),
        }
    }

    /// Reports that the sink has come up, or that it has gone down. The next lookup starts after `delay`.
    pub(super) fn update(&mut self, obstacle: Option<Obstacle>, delay: Duration) {
        match (&self.state, obstacle) {
            (State::Down, None) => {
                self.state = State::Up(Instant::now());
                self.status.report(&Event::Up(&self.endpoint));
            }
            (State::Up(since), Some(obstacle)) if self.is_outage() => {
                let steady = since.elapsed() >= STEADY;
                self.state = State::Down;
                // Without a need for another lookup, there is a connection already, on which the broker must answer.
                let delay = obstacle.needs_lookup.then_some(delay);
                let kind = Some(obstacle.error.kind());
                self.status.report(&Event::Lost {
                    cause: &Disconnect::PartitionLost(Box::new(obstacle.error)),
                    steady,
                    delay,
                    kind,
                });
            }
            _ => {}
        }
    }

    /// Reports that a lookup has not helped. The next one starts after `delay`.
    pub(super) fn fail(&mut self, obstacle: &Obstacle, delay: Duration) {
        if let State::Down = self.state {
            let attempt = &obstacle.error.as_failed();
            self.status.report(&Event::Failed { attempt, delay });
        }
    }
}
