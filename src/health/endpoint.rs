//! The health of one endpoint of a sink. It changes only when an event is reported.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Counts, Disconnect, Event, Failure, LedgerStatus, Timestamp};
use crate::closed_set::closed_set;

/// The health of an endpoint, or of a sink as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// The current state.
    pub state: State,
    /// The time at which the endpoint last came up, went down, began to drain, or stopped. Attempts to reconnect do not
    /// change this time.
    pub since: Timestamp,
    /// The address of the connection. Without a connection, the address of the last attempt; `null` before the first
    /// attempt.
    pub endpoint: Option<String>,
    /// The last error; `null` if there was none. The error is kept when the sink is up again.
    pub last_error: Option<Failure>,
    /// The number of failed attempts to connect since the endpoint was last up.
    pub failures: u32,
    /// The time of the next attempt to connect; `null` unless the state is `backoff`.
    pub next_attempt: Option<Timestamp>,
    /// The number of attempts to connect whose handshake was completed.
    pub connects: u64,
    /// The number of attempts to connect that failed.
    pub failed_connects: u64,
    /// The number of connections that ended, by reason. Every reason is present.
    pub disconnects: Counts,
    /// The number of writes that made no progress for one second.
    #[serde(default)]
    pub write_stalls: u64,
    /// True if the collector does not answer STOP with FINISH. In that case, `confirm finish` works as `confirm
    /// kernel`.
    #[serde(default)]
    pub degraded: bool,
    /// True if a connection is in use. An attempt to replace that connection may run at the same time.
    #[serde(skip)]
    pub(super) connected: bool,
}

/// One of a sink's endpoints, as `/status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The state of the endpoint, and the counts of its connections.
    #[serde(flatten)]
    pub health: Health,
    /// The account of the frames that were offered to the endpoint; `null` unless each endpoint of the sink has its own
    /// queue.
    pub ledger: Option<LedgerStatus>,
    /// The age in seconds of the oldest frame in the queue of the endpoint; `null` if the endpoint has no queue of its
    /// own, or if the queue is empty.
    pub oldest_seconds: Option<f64>,
    /// The number of this endpoint among all endpoints that the sink has had. The address is not enough to identify an
    /// endpoint: while an old endpoint still drains, a new endpoint can have the same address.
    #[serde(skip)]
    pub(super) number: u64,
}

closed_set! {
    /// The state of a sink, or of one of its endpoints.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum State {
        /// Waiting for a lookup of the sink's name.
        Resolving => "resolving",
        /// Connecting the socket. With TLS, this includes the TLS handshake.
        Connecting => "connecting",
        /// In the Frame Streams handshake: READY, ACCEPT, START.
        Handshaking => "handshaking",
        /// Connected and taking frames.
        Up => "up",
        /// Waiting for the next attempt.
        Backoff => "backoff",
        /// Waiting for collectors to connect. None is connected.
        Waiting => "waiting",
        /// Sending the frames that are left in its queue. Then the sink or endpoint ends.
        Draining => "draining",
        /// Ended.
        Stopped => "stopped",
    }
}

// === impl State ===

impl State {
    /// Returns whether an attempt to connect is in progress, or will follow after a delay.
    const fn is_attempt(self) -> bool {
        matches!(
            self,
            Self::Resolving | Self::Connecting | Self::Handshaking | Self::Backoff
        )
    }

    /// Returns whether the state is `Draining` or `Stopped`. After these states, no event leads to another state,
    /// except from `Draining` to `Stopped`.
    pub(super) const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining | Self::Stopped)
    }
}

// === impl Health ===

impl Health {
    /// Returns the health of an endpoint for which no event was reported yet.
    pub(crate) fn new(state: State, now: SystemTime) -> Self {
        Self {
            state,
            since: now.into(),
            endpoint: None,
            last_error: None,
            failures: 0,
            next_attempt: None,
            connects: 0,
            failed_connects: 0,
            disconnects: Disconnect::LABELS.map(|label| (label.into(), 0)).into(),
            write_stalls: 0,
            degraded: false,
            connected: false,
        }
    }

    /// Changes the health according to an event of this endpoint.
    pub(super) fn apply(&mut self, event: &Event<'_>, now: SystemTime) {
        self.count(event);
        match *event {
            Event::Started => {
                self.connected = false;
                self.degraded = false;
            }
            Event::Ended(_) => self.connected = false,
            Event::Resolving => self.attempt(State::Resolving, None, now),
            Event::Connecting(endpoint) => self.attempt(State::Connecting, Some(endpoint), now),
            Event::Handshaking(endpoint) => self.attempt(State::Handshaking, Some(endpoint), now),
            Event::Up(endpoint) => {
                self.enter(State::Up, now);
                self.endpoint = Some(endpoint.to_owned());
                self.connected = true;
                self.failures = 0;
            }
            Event::Failed { attempt, delay } => {
                self.fail(attempt.to_string(), now);
                self.failures = self.failures.saturating_add(1);
                self.back_off(delay, now);
            }
            Event::Lost { cause, delay, .. } => {
                self.connected = false;
                self.fail(cause.to_string(), now);
                self.wait(delay, now);
            }
            Event::Fault { fault, restart_in } => {
                self.connected = false;
                self.fault(fault, now);
                self.wait(restart_in, now);
            }
            Event::Renewed { endpoint, .. } => self.endpoint = Some(endpoint.to_owned()),
            Event::NotRenewed { attempt, .. } => self.fail(attempt.to_string(), now),
            Event::Refused(error) => self.fail(error.to_owned(), now),
            Event::Draining => self.enter(State::Draining, now),
            Event::Stopped => self.change(State::Stopped, now),
            Event::DoesNotConfirm => self.degraded = true,
            Event::ConfirmsAgain => self.degraded = false,
            // These events do not change the endpoint. They concern the sink's name or other endpoints, or they are
            // only logged.
            Event::Stalled
            | Event::Unconfirmed(_)
            | Event::RecordsRefused(_)
            | Event::Added
            | Event::Removed
            | Event::Left { .. }
            | Event::Divided
            | Event::Waiting
            | Event::Resolved { .. }
            | Event::LookupFailed { .. }
            | Event::FileCompleted { .. }
            | Event::FileLeft { .. }
            | Event::FileNotDeleted { .. }
            | Event::LeftOut { .. } => {}
        }
    }

    /// Counts an event. This function is called twice for each event of an endpoint: for the health of the endpoint,
    /// and for the health of the whole sink.
    pub(super) fn count(&mut self, event: &Event<'_>) {
        match *event {
            Event::Up(_) => self.connects += 1,
            Event::Renewed { reason, .. } => {
                self.connects += 1;
                self.count_end(reason);
            }
            Event::Failed { attempt, .. } | Event::NotRenewed { attempt, .. } => {
                self.failed_connects += 1;
                if attempt.is_own_listener {
                    self.count_end(&Disconnect::OwnListener);
                }
            }
            Event::Refused(_) => self.failed_connects += 1,
            Event::Lost { cause, .. } | Event::Ended(cause) => self.count_end(cause),
            Event::Stalled => self.write_stalls += 1,
            Event::Started
            | Event::Resolving
            | Event::Connecting(_)
            | Event::Handshaking(_)
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
            | Event::Divided
            | Event::Waiting
            | Event::Resolved { .. }
            | Event::LookupFailed { .. }
            | Event::FileCompleted { .. }
            | Event::FileLeft { .. }
            | Event::FileNotDeleted { .. }
            | Event::LeftOut { .. } => {}
        }
    }

    /// Records that the task of the sink or of the endpoint has panicked.
    pub(super) fn fault(&mut self, fault: &dyn Error, now: SystemTime) {
        self.fail(format!("a bug in tapfan, please report it: {fault}"), now);
    }

    fn count_end(&mut self, cause: &Disconnect) {
        *self.disconnects.entry(cause.label().into()).or_default() += 1;
    }

    fn fail(&mut self, error: String, now: SystemTime) {
        let at = now.into();
        self.last_error = Some(Failure { error, at });
    }

    /// Waits for the next attempt. With `None`, the attempt begins at once.
    fn wait(&mut self, delay: Option<Duration>, now: SystemTime) {
        match delay {
            Some(delay) => self.back_off(delay, now),
            None => self.enter(State::Connecting, now),
        }
    }

    fn back_off(&mut self, delay: Duration, now: SystemTime) {
        self.enter(State::Backoff, now);
        if self.state == State::Backoff {
            self.next_attempt = now.checked_add(delay).map(Into::into);
        }
    }

    /// Enters a state that belongs to an attempt to connect. Does nothing if a connection is in use: an attempt to
    /// replace that connection changes the health only when it succeeds or fails.
    fn attempt(&mut self, state: State, endpoint: Option<&str>, now: SystemTime) {
        if !self.connected {
            self.enter(state, now);
            if let Some(endpoint) = endpoint {
                self.endpoint = Some(endpoint.to_owned());
            }
        }
    }

    /// Enters a state. Does nothing if the endpoint is draining or has stopped.
    pub(super) fn enter(&mut self, state: State, now: SystemTime) {
        if self.state != state && !self.state.is_leaving() {
            self.change(state, now);
        }
    }

    /// Sets the state. If this is another attempt in the same outage, does not change `since`.
    fn change(&mut self, state: State, now: SystemTime) {
        if !(self.state.is_attempt() && state.is_attempt()) {
            self.since = now.into();
        }
        self.state = state;
        self.next_attempt = None;
    }
}

// === impl EndpointStatus ===

/// Lets callers access the fields of `health` directly. In the JSON they also appear next to the other fields of the
/// struct.
macro_rules! has_health {
    ($whole:ty, $part:ty) => {
        impl std::ops::Deref for $whole {
            type Target = $part;

            fn deref(&self) -> &$part {
                &self.health
            }
        }

        impl std::ops::DerefMut for $whole {
            fn deref_mut(&mut self) -> &mut $part {
                &mut self.health
            }
        }
    };
}

pub(super) use has_health;

has_health!(EndpointStatus, Health);

impl EndpointStatus {
    /// Creates the status of an endpoint that has no queue of its own.
    pub(crate) fn new(health: Health, number: u64) -> Self {
        Self {
            health,
            ledger: None,
            oldest_seconds: None,
            number,
        }
    }

    /// Returns the address of the endpoint, such as `tcp://192.0.2.1:6000`.
    pub fn address(&self) -> &str {
        self.endpoint.as_deref().unwrap_or_default()
    }
}
