//! The health of a sink, as a fold over its endpoints.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{EndpointStatus, Event, Failure, Health, State, endpoint::has_health};

/// The health of a sink, folded from its endpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkHealth {
    /// The state of the endpoint that is closest to taking frames, and the counts of all endpoints so far.
    #[serde(flatten)]
    pub health: Health,
    /// The endpoints in use. With `endpoints failover` there is one, once it was tried.
    pub endpoints: Vec<EndpointStatus>,
    /// Lookups of its name that failed. It continues with the last good addresses.
    pub resolve_failures: u64,
    /// The error of the lookups and the time at which they began to fail; `null` if the last lookup succeeded.
    pub resolve_error: Option<Failure>,
    /// True if it uses several endpoints at a time.
    #[serde(skip)]
    several: bool,
    #[serde(skip)]
    next_number: u64,
}

/// The change that an event made, as far as the log needs it.
#[derive(Debug)]
pub(super) struct Change {
    /// The endpoint before the event, and after it.
    pub(super) before: Health,
    pub(super) after: Health,
    /// The consequence for a sink with several endpoints.
    pub(super) turn: Option<Turn>,
    /// True if lookups failed before.
    pub(super) lookups_failed: bool,
}

/// A change of a sink with several endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The first of its endpoints came up.
    Up,
    /// The last one went down.
    Down,
}

// === impl SinkHealth ===

has_health!(SinkHealth, Health);

impl SinkHealth {
    /// A sink that has not started yet.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self {
            health: Health::new(State::Resolving, now),
            endpoints: Vec::new(),
            resolve_failures: 0,
            resolve_error: None,
            several: false,
            next_number: 1,
        }
    }

    /// Returns whether it takes frames, at one endpoint at least.
    pub fn is_up(&self) -> bool {
        self.state == State::Up || self.endpoints_up() > 0
    }

    /// The number of its endpoints that take frames.
    pub fn endpoints_up(&self) -> usize {
        let endpoints = self.endpoints.iter();
        endpoints.filter(|one| one.state == State::Up).count()
    }

    /// Adds an endpoint to a sink that uses several at a time, and returns its number.
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

    /// Takes an event into account: of the endpoint with this number, or of the sink. `None` if there is no such endpoint:
    /// parts of its stack may still be ending after it was removed.
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
        })
    }

    /// An event of the sink itself. If it uses one endpoint at a time, that endpoint's health is the sink's. Returns it before
    /// and after the event.
    fn apply_to_whole(&mut self, event: &Event<'_>, now: SystemTime) -> (Health, Health) {
        let before = self.health.clone();
        match *event {
            Event::Started => self.several = false,
            Event::Divided => {
                self.connected = false;
                self.several = true;
                self.endpoints.clear();
            }
            Event::Resolved { .. } => self.resolve_error = None,
            Event::LookupFailed { error, .. } => {
                self.resolve_failures += 1;
                let error = error.to_string();
                let known = self
                    .resolve_error
                    .take()
                    .filter(|known| known.error == error);
                let at = now.into();
                self.resolve_error = known.or(Some(Failure { error, at }));
            }
            _ => {}
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

    /// Returns the endpoint's health before and after the event.
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

    /// The sink is as well as the best of its endpoints. One that is on the way out does not count.
    fn fold(&mut self, now: SystemTime) {
        let Self {
            health: sink,
            endpoints,
            ..
        } = self;
        let used = || endpoints.iter().filter(|one| !one.state.is_leaving());
        let Some(best) = used().max_by_key(|one| (one.state != State::Backoff, one.state as u8))
        else {
            return;
        };
        // It keeps its address for as long as no other endpoint is better.
        if !used().any(|one| one.state == best.state && one.endpoint == sink.endpoint) {
            sink.endpoint.clone_from(&best.endpoint);
        }
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
