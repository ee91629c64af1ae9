//! How a sink is doing: published on a watch channel, and logged once a change.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{ConnectError, Disconnect, Stage};

/// What a sink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Looking its name up.
    Resolving,
    /// Dialling, and TLS if there is to be any.
    Connecting,
    /// Frame Streams: READY, ACCEPT, START.
    Handshaking,
    /// Taking frames.
    Up,
    /// Waiting for the next attempt.
    Backoff,
    /// Emptying its queue before it ends.
    Draining,
    /// Ended.
    Stopped,
}

/// A sink's state and how it came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Since when.
    pub since: SystemTime,
    /// The address it is connected to, or was last tried at.
    pub endpoint: Option<Arc<str>>,
    /// What went wrong last, in one sentence, and when.
    pub last_error: Option<(Arc<str>, SystemTime)>,
    /// Attempts that failed since it was up.
    pub failures: u32,
    /// When the next attempt is due; `Some` only in [`State::Backoff`].
    pub next_attempt: Option<SystemTime>,
    /// Attempts that ended in a completed handshake.
    pub connects: u64,
    /// Attempts that did not.
    pub failed_connects: u64,
    disconnects: [u64; Disconnect::LABELS.len()],
}

/// The sink's side of its [`Status`]: every part of the stack that changes it has one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reporter {
    sink: Arc<str>,
    status: Arc<watch::Sender<Status>>,
}

// === impl State ===

impl State {
    /// Every state, in the order of a sink's life.
    pub const ALL: [Self; 7] = [
        Self::Resolving,
        Self::Connecting,
        Self::Handshaking,
        Self::Up,
        Self::Backoff,
        Self::Draining,
        Self::Stopped,
    ];

    /// The word for it in logs, metrics and on the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::Connecting => "connecting",
            Self::Handshaking => "handshaking",
            Self::Up => "up",
            Self::Backoff => "backoff",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

// === impl Status ===

impl Status {
    /// Connections that ended, by [`Disconnect::label`].
    pub fn disconnects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Disconnect::LABELS.into_iter().zip(self.disconnects)
    }

    fn count_disconnect(&mut self, cause: &Disconnect) {
        self.disconnects[cause.index()] += 1;
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.since = SystemTime::now();
        self.next_attempt = None;
    }
}

// === impl Reporter ===

impl Reporter {
    /// A reporter for the sink of that name, which has not begun yet.
    pub fn new(sink: Arc<str>) -> Self {
        let status = Status {
            state: State::Resolving,
            since: SystemTime::now(),
            endpoint: None,
            last_error: None,
            failures: 0,
            next_attempt: None,
            connects: 0,
            failed_connects: 0,
            disconnects: Default::default(),
        };
        Self {
            sink,
            status: Arc::new(watch::Sender::new(status)),
        }
    }

    /// The sink's name.
    pub fn sink(&self) -> &Arc<str> {
        &self.sink
    }

    /// The status as it is and as it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn resolving(&self) {
        self.enter(State::Resolving, |_| {});
    }

    pub(super) fn connecting(&self, endpoint: &str) {
        self.enter(State::Connecting, |status| {
            status.endpoint = Some(endpoint.into());
        });
    }

    pub(super) fn handshaking(&self) {
        self.enter(State::Handshaking, |_| {});
    }

    pub(super) fn up(&self) {
        self.enter(State::Up, |status| {
            status.connects += 1;
            status.failures = 0;
        });
        let status = self.status.borrow();
        info!(sink = %self.sink, endpoint = status.endpoint.as_deref(), connects = status.connects, "sink is up");
    }

    /// An attempt failed; the next one comes after `delay`.
    pub(super) fn failed(&self, error: &ConnectError, delay: Duration) {
        let told: Arc<str> = error.to_string().into();
        let (failures, known) = {
            let status = self.status.borrow();
            let known = |(last, _): &(Arc<str>, SystemTime)| *last == told;
            let known = status.failures > 0 && status.last_error.as_ref().is_some_and(known);
            (status.failures.saturating_add(1), known)
        };
        self.back_off(&told, delay, |status| {
            status.failures = failures;
            status.failed_connects += 1;
        });
        let (sink, stage, endpoint) = (&self.sink, error.stage, &error.endpoint);
        let cause = error.sentence();
        let cause = cause.as_str();
        // The same failure again is no change of state: it is told once, and then only to who asks for detail.
        if known {
            debug!(%sink, %endpoint, %stage, cause, attempt = failures, next_attempt_in = ?delay, "sink is still down");
        } else {
            warn!(%sink, %endpoint, %stage, cause, attempt = failures, next_attempt_in = ?delay, "sink cannot be reached");
        }
    }

    /// A connection that was up ended; the next attempt comes after `delay`.
    pub(super) fn lost(&self, cause: &Disconnect, delay: Duration) {
        let text: Arc<str> = cause.to_string().into();
        self.back_off(&text, delay, |status| status.count_disconnect(cause));
        let status = self.status.borrow();
        let (sink, stage, endpoint) = (&self.sink, Stage::Write, status.endpoint.as_deref());
        warn!(%sink, endpoint, %stage, cause = &*text, next_attempt_in = ?delay, "sink is down");
    }

    /// A connection ended for good.
    pub(super) fn disconnected(&self, cause: &Disconnect) {
        self.status
            .send_modify(|status| status.count_disconnect(cause));
    }

    /// Nothing more will come; the queue is being emptied.
    pub fn draining(&self) {
        self.enter(State::Draining, |_| {});
    }

    /// It is over.
    pub fn stopped(&self) {
        self.status
            .send_modify(|status| status.enter(State::Stopped));
    }

    fn back_off(&self, cause: &Arc<str>, delay: Duration, change: impl FnOnce(&mut Status)) {
        self.enter(State::Backoff, |status| {
            let now = SystemTime::now();
            status.last_error = Some((Arc::clone(cause), now));
            if status.state == State::Backoff {
                status.next_attempt = now.checked_add(delay);
            }
            change(status);
        });
    }

    /// Enters `state`, unless the sink is on its way out: what its connection does then is no news. Makes `change` in
    /// any case, and both at once, so that whoever watches never sees the one without the other.
    fn enter(&self, state: State, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| {
            let leaving = matches!(status.state, State::Draining | State::Stopped);
            if status.state != state && !leaving {
                status.enter(state);
                debug!(sink = %self.sink, %state, "sink changes state");
            }
            change(status);
        });
    }
}
