//! How a sink is doing: published on a watch channel, and logged once a change.

mod endpoint;
mod known;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{debug, info, warn};

pub use self::endpoint::EndpointStatus;
use self::{endpoint::Part, known::Known};
use super::{
    ConnectError, Disconnect, Stage,
    connect::{FailureKind, ResolveKind},
};
use crate::{
    closed_set::closed_set,
    net::{Addresses, Destination, ResolveError},
};

closed_set! {
    /// What a sink is doing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum State {
        /// Looking its name up.
        Resolving => "resolving",
        /// Dialling, and TLS if there is to be any.
        Connecting => "connecting",
        /// Frame Streams: READY, ACCEPT, START.
        Handshaking => "handshaking",
        /// Taking frames.
        Up => "up",
        /// Waiting for the next attempt.
        Backoff => "backoff",
        /// Emptying its queue before it ends.
        Draining => "draining",
        /// Ended.
        Stopped => "stopped",
    }
}

/// A sink's state and how it came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Since when it is up, or is not: the attempts of one outage do not begin it anew. Since when it is draining, or
    /// stopped, once it is.
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
    /// Times that a collector took nothing of a write for a whole second.
    pub write_stalls: u64,
    /// Look-ups of its name that failed.
    pub resolve_failures: u64,
    /// Why its name cannot be looked up, in one sentence, and since when that is so; `None` if the last look-up
    /// succeeded. The sink goes on with the last good addresses.
    pub resolve_error: Option<(Arc<str>, SystemTime)>,
    /// The addresses that it uses: with `endpoints failover` the one that `endpoint` names, none before the first attempt;
    /// otherwise every one that has a connection, or ought to have. Those that are at their end are not among them.
    pub endpoints: Vec<EndpointStatus>,
    /// Whether there is a connection in use, beside which another may be in the making.
    connected: bool,
    /// Whether there are reporters for endpoints, on which all of this hangs then.
    divided: bool,
    disconnects: [u64; Disconnect::LABELS.len()],
}

/// The sink's side of its [`Status`]: every part of the stack that changes it has one. Cheap to clone.
///
/// A sink that uses several endpoints at a time has one more for each: what it is told shows in the
/// sink's status as well.
#[derive(Debug, Clone)]
pub struct Reporter {
    sink: Arc<str>,
    /// That of the sink, if this is one of its endpoints.
    whole: Option<Part>,
    status: Arc<watch::Sender<Status>>,
    /// The failures of this outage that the log knows of.
    known: Arc<Known<FailureKind>>,
    /// The same of the replacing of the connection in use.
    known_of_renewal: Arc<Known<FailureKind>>,
    /// The same of the lookups of the name.
    known_of_name: Arc<Known<ResolveKind>>,
}

/// Addresses in a log line: the first few.
struct List<'a>(&'a Addresses);

// === impl State ===

impl State {
    /// Whether it is on its way to a connection.
    const fn is_attempt(self) -> bool {
        matches!(
            self,
            Self::Resolving | Self::Connecting | Self::Handshaking | Self::Backoff
        )
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

    fn count_failure(&mut self, error: &ConnectError) {
        self.failed_connects += 1;
        if error.is_own_listener() {
            // There was a connection, and it is this side that ended it.
            self.count_disconnect(&Disconnect::OwnListener);
        }
    }

    fn count_disconnect(&mut self, cause: &Disconnect) {
        self.disconnects[cause.index()] += 1;
    }

    fn enter(&mut self, state: State) {
        if !(self.state.is_attempt() && state.is_attempt()) {
            self.since = SystemTime::now();
        }
        self.state = state;
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
            write_stalls: 0,
            resolve_failures: 0,
            resolve_error: None,
            endpoints: Vec::new(),
            connected: false,
            divided: false,
            disconnects: Default::default(),
        };
        Self {
            sink,
            whole: None,
            status: Arc::new(watch::Sender::new(status)),
            known: Arc::default(),
            known_of_renewal: Arc::default(),
            known_of_name: Arc::default(),
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

    /// Makes a change, and shows it.
    fn modify(&self, change: impl FnOnce(&mut Status)) {
        let mut turn = None;
        self.status.send_modify(|status| {
            change(status);
            if !status.divided {
                status.endpoints = EndpointStatus::of(status).into_iter().collect();
            }
            if let Some(part) = &self.whole {
                turn = part.show(status);
            }
        });
        if let Some(turn) = turn {
            turn.log(&self.sink);
        }
    }

    /// There is no connection, whatever was before.
    pub(super) fn begins(&self) {
        self.status.send_if_modified(|status| {
            status.connected = false;
            std::mem::take(&mut status.divided)
        });
    }

    pub(super) fn resolving(&self) {
        self.attempts(State::Resolving, |_| {});
    }

    /// A look-up of the sink's name succeeded.
    pub(super) fn resolved(&self, name: &Destination, before: &Addresses, now: &Addresses) {
        let mut recovered = false;
        self.status.send_if_modified(|status| {
            recovered = status.resolve_error.take().is_some();
            recovered
        });
        self.known_of_name.clear();
        let sink = &self.sink;
        let moved = !now.is_same_set(before);
        if recovered {
            info!(%sink, %name, addresses = %List(now), "the name can be looked up again");
        } else if moved && !before.is_empty() {
            info!(%sink, %name, addresses = %List(now), before = %List(before), "the name leads elsewhere now");
        } else if moved {
            debug!(%sink, %name, addresses = %List(now), "the name was looked up");
        }
    }

    /// A look-up of the sink's name failed; `keeps` says that there are addresses from before to go on with.
    pub(super) fn resolve_failed(&self, name: &Destination, error: &ResolveError, keeps: bool) {
        let text: Arc<str> = error.to_string().into();
        self.modify(|status| {
            status.resolve_failures += 1;
            let last = status.resolve_error.take();
            let since = last
                .filter(|(last, _)| *last == text)
                .map_or_else(SystemTime::now, |(_, since)| since);
            status.resolve_error = Some((Arc::clone(&text), since));
        });
        let (sink, cause) = (&self.sink, &*text);
        // Without addresses the attempt to connect fails, and the log has a line about that.
        if !keeps || !self.known_of_name.is_news(ResolveKind::of(error)) {
            debug!(%sink, %name, cause, "the name cannot be looked up");
        } else {
            warn!(%sink, %name, cause, "the name cannot be looked up; its last good addresses stay in use");
        }
    }

    pub(super) fn connecting(&self, endpoint: &Arc<str>) {
        self.attempts(State::Connecting, |status| {
            status.endpoint = Some(Arc::clone(endpoint));
        });
    }

    pub(super) fn handshaking(&self, endpoint: &Arc<str>) {
        self.attempts(State::Handshaking, |status| {
            status.endpoint = Some(Arc::clone(endpoint));
        });
    }

    pub(super) fn up(&self, endpoint: &Arc<str>) {
        self.enter(State::Up, |status| {
            status.endpoint = Some(Arc::clone(endpoint));
            status.connected = true;
            status.connects += 1;
            status.failures = 0;
        });
        self.known_of_renewal.clear();
        let (sink, connects) = (&self.sink, self.status.borrow().connects);
        if self.whole.is_some() {
            info!(%sink, %endpoint, connects, "an endpoint is up");
        } else {
            info!(%sink, %endpoint, connects, "sink is up");
        }
    }

    /// An attempt failed; the next one comes after `delay`.
    pub(super) fn failed(&self, error: &ConnectError, delay: Duration) {
        let cause: Arc<str> = error.to_string().into();
        self.back_off(&cause, delay, |status| {
            status.failures = status.failures.saturating_add(1);
            status.count_failure(error);
        });
        let (sink, stage, endpoint) = (&self.sink, error.stage, &error.endpoint);
        let attempt = self.status.borrow().failures;
        let sentence = error.sentence();
        let cause = sentence.as_str();
        let news = self.known.is_news(FailureKind::of(error));
        if self.whole.is_some() {
            if news {
                warn!(%sink, %endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "an endpoint cannot be reached");
            } else {
                debug!(%sink, %endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "an endpoint is still down");
            }
        } else if news {
            warn!(%sink, %endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "sink cannot be reached");
        } else {
            debug!(%sink, %endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "sink is still down");
        }
    }

    /// A connection that was up ended; the next attempt comes after `delay`, or is being made already. If it was
    /// `steady`, the outage before it was over.
    pub(super) fn lost(&self, cause: &Disconnect, steady: bool, delay: Option<Duration>) {
        let text: Arc<str> = cause.to_string().into();
        let change = |status: &mut Status| {
            status.connected = false;
            status.count_disconnect(cause);
        };
        match delay {
            Some(delay) => self.back_off(&text, delay, change),
            None => self.enter(State::Connecting, |status| {
                status.last_error = Some((Arc::clone(&text), SystemTime::now()));
                change(status);
            }),
        }
        if steady {
            self.known.clear();
        }
        let endpoint = self.status.borrow().endpoint.clone();
        let (sink, stage, endpoint) = (&self.sink, Stage::Write, endpoint.as_deref());
        let (reason, delay) = (cause.label(), delay.unwrap_or_default());
        let cause = &*text;
        if self.whole.is_some() {
            warn!(%sink, endpoint, %stage, reason, cause, next_attempt_in = ?delay, "an endpoint is down");
        } else {
            warn!(%sink, endpoint, %stage, reason, cause, next_attempt_in = ?delay, "sink is down");
        }
    }

    /// A connection to `endpoint` took the place of the one that was in use, for this `reason`.
    pub(super) fn renewed(&self, endpoint: &Arc<str>, reason: &Disconnect) {
        let mut before = None;
        self.modify(|status| {
            before = status.endpoint.replace(Arc::clone(endpoint));
            status.connects += 1;
            status.count_disconnect(reason);
        });
        self.known_of_renewal.clear();
        let (sink, before) = (&self.sink, before.as_deref());
        let (reason, cause) = (reason.label(), reason);
        if let Disconnect::Rotated = cause {
            debug!(%sink, %endpoint, before, reason, %cause, "sink has a new connection");
        } else {
            info!(%sink, %endpoint, before, reason, %cause, "sink has a new connection");
        }
    }

    /// The connection in use is to be replaced for this `reason`, and no other can be made; the next attempt comes
    /// after `delay`.
    pub(super) fn not_renewed(&self, error: &ConnectError, reason: &Disconnect, delay: Duration) {
        let text: Arc<str> = error.to_string().into();
        self.modify(|status| {
            status.last_error = Some((text, SystemTime::now()));
            status.count_failure(error);
        });
        let (sink, stage, endpoint) = (&self.sink, error.stage, &error.endpoint);
        let sentence = error.sentence();
        let (cause, reason) = (sentence.as_str(), reason.label());
        if self.known_of_renewal.is_news(FailureKind::of(error)) {
            warn!(%sink, %endpoint, %stage, cause, reason, next_attempt_in = ?delay, "no new connection can be made; the old one stays in use");
        } else {
            debug!(%sink, %endpoint, %stage, cause, reason, next_attempt_in = ?delay, "the old connection is still in use");
        }
    }

    /// The collector took nothing of a write for a whole second.
    pub(super) fn stalled(&self) {
        self.modify(|status| status.write_stalls += 1);
        debug!(sink = %self.sink, "the collector does not take what is written");
    }

    /// A connection ended for good.
    pub(super) fn disconnected(&self, cause: &Disconnect) {
        self.modify(|status| {
            status.connected = false;
            status.count_disconnect(cause);
        });
    }

    /// Nothing more will come; the queue is being emptied.
    pub fn draining(&self) {
        self.enter(State::Draining, |_| {});
    }

    /// It is over.
    pub fn stopped(&self) {
        self.modify(|status| status.enter(State::Stopped));
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

    /// Enters a state on the way to a connection, unless there is one in use: what is tried beside it is no news before
    /// it succeeds or fails.
    fn attempts(&self, state: State, change: impl FnOnce(&mut Status)) {
        if !self.status.borrow().connected {
            self.enter(state, change);
        }
    }

    /// Enters `state`, unless the sink is on its way out: what its connection does then is no news. Makes `change` in
    /// any case, and both at once, so that whoever watches never sees the one without the other.
    fn enter(&self, state: State, change: impl FnOnce(&mut Status)) {
        let mut entered = false;
        self.modify(|status| {
            let leaving = matches!(status.state, State::Draining | State::Stopped);
            entered = status.state != state && !leaving;
            if entered {
                status.enter(state);
            }
            change(status);
        });
        // Not before: a log that nobody reads holds up who writes it, and must not hold up who looks.
        if entered {
            debug!(sink = %self.sink, %state, "sink changes state");
        }
    }
}

// === impl List ===

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (place, address) in self.0.iter().take(SHOWN).enumerate() {
            let gap = if place > 0 { " " } else { "" };
            write!(f, "{gap}{address}")?;
        }
        match self.0.iter().count() {
            all if all > SHOWN => write!(f, " and {} more", all - SHOWN),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
