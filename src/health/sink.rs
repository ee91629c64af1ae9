//! The health of a sink. It is computed from the health of the sink's endpoints.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{EndpointStatus, Event, Failure, Health, State, Timestamp, endpoint::has_health};

/// The health of a sink. It is computed from the health of the sink's endpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkHealth {
    /// The best state of all endpoints, and the counts of all endpoints that the sink has had.
    #[serde(flatten)]
    pub health: Health,
    /// The endpoints in use. With `endpoints failover`, there is one endpoint after the first attempt to connect.
    pub endpoints: Vec<EndpointStatus>,
    /// The number of failed lookups of the sink's name. After a failed lookup, the sink continues to use the addresses
    /// of the last successful lookup.
    pub resolve_failures: u64,
    /// The error of the last lookup, and the time of the first lookup that failed with this error; `null` if the last
    /// lookup succeeded.
    pub resolve_error: Option<Failure>,
    /// True if the sink uses several endpoints at the same time.
    #[serde(skip)]
    several: bool,
    /// True if the sink waits for collectors. Its endpoints are the collectors that are connected.
    #[serde(skip)]
    waits: bool,
    /// The time at which a sink that waits for collectors accepts them again after a panic; `None` while it accepts.
    #[serde(skip)]
    accepts_at: Option<Timestamp>,
    #[serde(skip)]
    next_number: u64,
}

/// The change that an event has made. The log lines depend on it.
#[derive(Debug)]
pub(super) struct Change {
    /// The health of the endpoint before the event and after the event.
    pub(super) before: Health,
    pub(super) after: Health,
    /// The change of the whole sink. `None` if the event caused no such change, or if the sink uses one endpoint at a
    /// time.
    pub(super) turn: Option<Turn>,
    /// True if the last lookup before this event failed.
    pub(super) lookups_failed: bool,
    /// True if the sink waits for collectors.
    pub(super) waits: bool,
}

/// A change of a sink that uses several endpoints at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// No endpoint of the sink was up, and one has come up.
    Up,
    /// Only one endpoint of the sink was up, and it has gone down.
    Down,
}

// === impl SinkHealth ===

has_health!(SinkHealth, Health);

impl SinkHealth {
    /// Returns the health of a sink that has not started yet.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self {
            health: Health::new(State::Resolving, now),
            endpoints: Vec::new(),
            resolve_failures: 0,
            resolve_error: None,
            several: false,
            waits: false,
            accepts_at: None,
            next_number: 1,
        }
    }

    /// Returns whether at least one endpoint of the sink takes frames, or the sink waits for collectors, as it should.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up | State::Waiting) || self.endpoints_up() > 0
    }

    /// Returns the number of the sink's endpoints that take frames.
    pub fn endpoints_up(&self) -> usize {
        let endpoints = self.endpoints.iter();
        endpoints.filter(|one| one.state == State::Up).count()
    }

    /// Adds an endpoint to a sink that uses several endpoints at the same time. Returns the number of the new endpoint.
    pub(super) fn add(&mut self, address: &str, now: SystemTime) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let endpoint = Health {
            endpoint: Some(address.to_owned()),
            ..Health::new(State::Connecting, now)
        };
        self.endpoints.push(EndpointStatus::new(endpoint, number));
        number
    }

    /// Changes the health according to an event of the sink, or of the endpoint with this number. Returns `None` if the
    /// sink has no such endpoint. This can happen, because the tasks of a removed endpoint may still report events
    /// while they end.
    pub(super) fn apply(
        &mut self,
        number: Option<u64>,
        event: &Event<'_>,
        now: SystemTime,
    ) -> Option<Change> {
        let lookups_failed = self.resolve_error.is_some();
        let was_up = self.state == State::Up;
        let (before, after) = match number {
            Some(number) => self.apply_to_endpoint(number, event, now)?,
            None => self.apply_to_whole(event, now),
        };
        let turn = match (was_up, self.state) {
            _ if number.is_none() => None,
            (false, State::Up) => Some(Turn::Up),
            (true, state) if state != State::Up && !state.is_leaving() => Some(Turn::Down),
            _ => None,
        };
        Some(Change {
            before,
            after,
            turn,
            lookups_failed,
            waits: self.waits,
        })
    }

    /// Applies an event of the sink itself. If the sink uses one endpoint at a time, the health of the sink is that of
    /// the endpoint. Returns the health before the event and after the event.
    fn apply_to_whole(&mut self, event: &Event<'_>, now: SystemTime) -> (Health, Health) {
        let before = self.health.clone();
        match *event {
            Event::Started => (self.several, self.waits) = (false, false),
            Event::Divided => self.divide(false, now),
            Event::Waiting => self.divide(true, now),
            Event::Fault { fault, restart_in } if self.waits => {
                let accepts_at = restart_in.and_then(|delay| now.checked_add(delay));
                self.accepts_at = accepts_at.map(Into::into).or(self.accepts_at.take());
                self.health.fault(fault, now);
                self.fold(now);
                return (before, self.health.clone());
            }
            Event::Resolved { .. } => self.resolve_error = None,
            Event::LookupFailed { error, .. } => {
                self.resolve_failures += 1;
                let error = error.to_string();
                let known = self.resolve_error.take();
                let known = known.filter(|known| known.error == error);
                let at = now.into();
                self.resolve_error = known.or(Some(Failure { error, at }));
            }
            // These events change only the health of an endpoint, or nothing.
            Event::Resolving
            | Event::Connecting(_)
            | Event::Handshaking(_)
            | Event::Up(_)
            | Event::Failed { .. }
            | Event::Lost { .. }
            | Event::Renewed { .. }
            | Event::NotRenewed { .. }
            | Event::Stalled
            | Event::Ended(_)
            | Event::Unconfirmed(_)
            | Event::RecordsRefused(_)
            | Event::DoesNotConfirm
            | Event::ConfirmsAgain
            | Event::Fault { .. }
            | Event::Draining
            | Event::Stopped
            | Event::Added
            | Event::Removed
            | Event::Left { .. }
            | Event::FileCompleted { .. }
            | Event::FileLeft { .. }
            | Event::FileNotDeleted { .. }
            | Event::Refused(_)
            | Event::LeftOut { .. } => {}
        }
        self.health.apply(event, now);
        if !self.several {
            let in_use = self.endpoint.is_some();
            self.endpoints = in_use
                .then(|| EndpointStatus::new(self.health.clone(), 0))
                .into_iter()
                .collect();
        }
        (before, self.health.clone())
    }

    /// Begins to use several endpoints at the same time. `waits` is true if they are collectors that connect to the
    /// sink.
    fn divide(&mut self, waits: bool, now: SystemTime) {
        self.connected = false;
        self.several = true;
        // The collectors stay if the sink gets another socket, or accepts again after a panic.
        if !(waits && self.waits) {
            self.endpoints.clear();
        }
        self.waits = waits;
        self.accepts_at = None;
        self.fold(now);
    }

    /// Applies an event of an endpoint. Returns the health of the endpoint before the event and after the event.
    fn apply_to_endpoint(
        &mut self,
        number: u64,
        event: &Event<'_>,
        now: SystemTime,
    ) -> Option<(Health, Health)> {
        let mut endpoints = self.endpoints.iter_mut();
        let endpoint = endpoints.find(|endpoint| endpoint.number == number)?;
        let before = endpoint.health.clone();
        endpoint.apply(event, now);
        let after = endpoint.health.clone();
        self.health.count(event);
        if after.last_error != before.last_error && !after.state.is_leaving() {
            self.last_error.clone_from(&after.last_error);
        }
        if let Event::Removed = event {
            self.endpoints.retain(|endpoint| endpoint.number != number);
        }
        self.fold(now);
        Some((before, after))
    }

    /// Sets the state of the sink to the best state of its endpoints. Endpoints that are draining or have stopped do
    /// not count.
    fn fold(&mut self, now: SystemTime) {
        let Self {
            health: sink,
            endpoints,
            waits,
            accepts_at,
            ..
        } = self;
        let used = || endpoints.iter().filter(|one| !one.state.is_leaving());
        let Some(best) = used().max_by_key(|one| (one.state != State::Backoff, one.state as u8))
        else {
            if *waits {
                // These values belong to the endpoints. They may be left from a time when the sink connected to its
                // collectors.
                sink.endpoint = None;
                sink.degraded = false;
                sink.failures = 0;
                sink.next_attempt = None;
                if accepts_at.is_none() {
                    sink.enter(State::Waiting, now);
                } else {
                    sink.enter(State::Backoff, now);
                }
                if sink.state == State::Backoff {
                    sink.next_attempt.clone_from(accepts_at);
                }
            }
            return;
        };
        // The sink shows the address of one endpoint. This address changes only if another endpoint has a better state.
        if !used().any(|one| one.state == best.state && one.endpoint == sink.endpoint) {
            sink.endpoint.clone_from(&best.endpoint);
        }
        sink.degraded = used().any(|one| one.degraded);
        sink.failures = match best.state {
            State::Up => 0,
            _ => used().fold(0, |sum, one| sum.saturating_add(one.failures)),
        };
        sink.enter(best.state, now);
        if sink.state == State::Backoff {
            sink.next_attempt = used().filter_map(|one| one.next_attempt).min();
        }
    }
}
