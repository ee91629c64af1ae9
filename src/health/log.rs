//! The log lines about the events of sinks. Each event has one line. During an outage, each kind of failure is logged
//! as a warning only once.
//!
//! If a sink uses several endpoints at the same time, `{subject}` in a line is `an endpoint`. For all other sinks, it
//! is `sink`.

use std::{collections::VecDeque, fmt, time::Duration};

use tracing::{debug, error, info, warn};

use super::{
    Disconnect, Event, FailedAttempt, FailureKind, Stage,
    sink::{Change, Turn},
};
use crate::net::{Addresses, Destination};

/// The kinds of failure of one endpoint that have already been logged.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Kinds of failed attempts to connect, since the outage began.
    attempts: Known,
    /// Kinds of failed attempts to replace the connection in use.
    renewals: Known,
    /// Kinds of failed lookups.
    lookups: Known,
}

/// The kinds of failure that were logged in one outage. A kind is logged only once, even if other kinds occur in
/// between.
#[derive(Debug, Default)]
struct Known(VecDeque<FailureKind>);

/// The target of these log lines. Filters such as `tapfan::sink=debug` refer to it.
const TARGET: &str = "tapfan::sink";

/// The number of kinds that are remembered. An ordinary outage has fewer kinds. If there are more, the oldest kind is
/// forgotten, and may be logged again.
const KEPT: usize = 64;

/// Displays the first few addresses of a name.
pub(super) struct List<'a>(pub(super) &'a Addresses);

pub(super) struct Line<'a> {
    pub(super) sink: &'a str,
    /// True if the event belongs to an endpoint of a sink that uses several endpoints at the same time.
    pub(super) of_endpoint: bool,
    pub(super) change: &'a Change,
    /// True if this kind of failure has not been logged yet in this outage. The line is a warning only in this case.
    /// Repeated failures are logged at the level debug.
    pub(super) is_news: bool,
}

// === impl Line ===

impl Line<'_> {
    // Long because every event is in one list. If an event has neither a line nor a reason for having none, this
    // function does not compile.
    pub(super) fn write(&self, event: &Event<'_>) {
        let (sink, now) = (self.sink, &self.change.after);
        let endpoint = now.endpoint.as_deref();
        self.turned();
        if self.change.before.state != now.state {
            debug!(target: TARGET, sink, state = %now.state, "sink changes state");
        }
        // The line names the endpoint only if the sink uses several endpoints at the same time.
        let of_several = endpoint.filter(|_| self.of_endpoint);
        match *event {
            // `collectors` writes the lines about collectors, because their number must be limited.
            Event::Up(_) | Event::Lost { .. } if self.change.waits => {}
            Event::Up(_) => {
                let subject = self.subject();
                info!(target: TARGET, sink, endpoint, connects = now.connects, "{subject} is up");
            }
            Event::Failed { attempt, delay } => self.failed(attempt, delay),
            Event::Lost { cause, delay, .. } => {
                let (subject, stage, reason) = (self.subject(), Stage::Write, cause.label());
                let delay = delay.unwrap_or_default();
                if let Disconnect::Checkpoint = cause {
                    debug!(target: TARGET, sink, endpoint, reason, %cause, "{subject} reconnects");
                } else {
                    warn!(target: TARGET, sink, endpoint, %stage, reason, %cause, next_attempt_in = ?delay, "{subject} is down");
                }
            }
            Event::Renewed { endpoint, reason } => self.renewed(endpoint, reason),
            Event::NotRenewed {
                attempt,
                reason,
                delay,
            } => self.not_renewed(attempt, reason, delay),
            Event::Resolved { name, before, now } => self.resolved(name, before, now),
            Event::LookupFailed {
                name, error: cause, ..
            } => {
                if self.is_news {
                    warn!(target: TARGET, sink, %name, %cause, "the name cannot be looked up; its last good addresses stay in use");
                } else {
                    debug!(target: TARGET, sink, %name, %cause, "the name cannot be looked up");
                }
            }
            Event::Stalled if self.writes_file() => {
                debug!(target: TARGET, sink, "a write to the file made no progress for one second");
            }
            Event::Stalled => {
                debug!(target: TARGET, sink, "a write to the collector made no progress for one second");
            }
            Event::Unconfirmed(cause) if self.writes_file() => {
                warn!(target: TARGET, sink, endpoint, %cause, "the sink's last file was not completed");
            }
            Event::Unconfirmed(cause) => {
                warn!(target: TARGET, sink, endpoint = of_several, %cause, "the collector did not confirm the end of its stream");
            }
            Event::RecordsRefused(cause) => self.records_refused(cause),
            Event::DoesNotConfirm => {
                warn!(target: TARGET, sink, endpoint = of_several, "several connections in a row ended without FINISH; `confirm finish` now works as `confirm kernel`; in 10 minutes, tapfan tries FINISH again");
            }
            Event::ConfirmsAgain => {
                info!(target: TARGET, sink, endpoint = of_several, "the collector confirms with FINISH again");
            }
            Event::Fault { fault, restart_in } => {
                error!(target: TARGET, sink, endpoint = of_several, %fault, restart_in = restart_in.map(tracing::field::debug), "a bug in tapfan ended a task of a sink; please report it");
            }
            Event::Left { endpoint, lost } => {
                info!(target: TARGET, sink, endpoint, lost, "stopped using an address that the sink's name no longer resolves to");
            }
            Event::LeftOut { used, left_out } => {
                warn!(target: TARGET, sink, used, left_out, "the name has more addresses than a sink uses; the remaining addresses get no frames");
            }
            Event::FileCompleted {
                file,
                frames,
                was_left: true,
            } => {
                info!(target: TARGET, sink, file, frames, "completed a file that still had its temporary name");
            }
            Event::FileCompleted {
                file,
                frames,
                was_left: false,
            } => {
                debug!(target: TARGET, sink, file, frames, "a file is complete");
            }
            Event::FileLeft { file, cause } => {
                warn!(target: TARGET, sink, file, %cause, "a file was not completed");
            }
            Event::FileNotDeleted { cause } => {
                warn!(target: TARGET, sink, %cause, "an old file cannot be deleted");
            }
            // The debug line about the new state, which is written above, is enough for these events.
            Event::Started
            | Event::Resolving
            | Event::Connecting(_)
            | Event::Handshaking(_)
            | Event::Ended(_)
            | Event::Draining
            | Event::Stopped
            | Event::Added
            | Event::Removed
            | Event::Divided
            | Event::Waiting
            | Event::Refused(_) => {}
        }
    }

    /// Writes the line about a change of a sink that uses several endpoints at the same time.
    fn turned(&self) {
        let (sink, endpoint) = (self.sink, self.change.after.endpoint.as_deref());
        match self.change.turn {
            Some(Turn::Up) if self.change.waits => {}
            Some(Turn::Down) if self.change.waits => {
                debug!(target: TARGET, sink, "no collector is connected; frames are counted as no_collector");
            }
            Some(Turn::Up) => info!(target: TARGET, sink, endpoint, "sink is up"),
            Some(Turn::Down) => warn!(target: TARGET, sink, "none of the sink's endpoints is up"),
            None => {}
        }
    }

    /// Returns whether the sink writes files. This is known only after the first file is open. The events whose text
    /// depends on it come later.
    fn writes_file(&self) -> bool {
        let endpoint = self.change.after.endpoint.as_deref();
        endpoint.is_some_and(|endpoint| endpoint.starts_with("file://"))
    }

    fn subject(&self) -> &'static str {
        if self.of_endpoint {
            "an endpoint"
        } else {
            "sink"
        }
    }

    fn records_refused(&self, cause: &dyn std::error::Error) {
        let sink = self.sink;
        warn!(target: TARGET, sink, %cause, "the brokers refused frames for good, and tapfan dropped them");
    }

    fn failed(&self, failed: &FailedAttempt<'_>, delay: Duration) {
        let (sink, subject, attempt) = (self.sink, self.subject(), self.change.after.failures);
        let FailedAttempt {
            stage,
            endpoint,
            cause,
            ..
        } = failed;
        if self.is_news {
            warn!(target: TARGET, sink, endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "{subject} cannot be reached");
        } else {
            debug!(target: TARGET, sink, endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "{subject} is still down");
        }
    }

    fn renewed(&self, endpoint: &str, cause: &Disconnect) {
        let (sink, reason) = (self.sink, cause.label());
        let before = self.change.before.endpoint.as_deref();
        if let Disconnect::FileEnded = cause {
            debug!(target: TARGET, sink, endpoint, before, reason, %cause, "sink has a new file");
        } else if let Disconnect::Rotated | Disconnect::Checkpoint = cause {
            debug!(target: TARGET, sink, endpoint, before, reason, %cause, "sink has a new connection");
        } else {
            info!(target: TARGET, sink, endpoint, before, reason, %cause, "sink has a new connection");
        }
    }

    fn not_renewed(&self, failed: &FailedAttempt<'_>, reason: &Disconnect, delay: Duration) {
        let (sink, reason) = (self.sink, reason.label());
        let FailedAttempt {
            stage,
            endpoint,
            cause,
            ..
        } = failed;
        if self.writes_file() && self.is_news {
            warn!(target: TARGET, sink, endpoint, %stage, cause, reason, next_attempt_in = ?delay, "no new file can be opened; the old one stays in use");
        } else if self.writes_file() {
            debug!(target: TARGET, sink, endpoint, %stage, cause, reason, next_attempt_in = ?delay, "the old file is still in use");
        } else if self.is_news {
            warn!(target: TARGET, sink, endpoint, %stage, cause, reason, next_attempt_in = ?delay, "no new connection can be made; the old one stays in use");
        } else {
            debug!(target: TARGET, sink, endpoint, %stage, cause, reason, next_attempt_in = ?delay, "the old connection is still in use");
        }
    }

    fn resolved(&self, name: &Destination, before: &Addresses, now: &Addresses) {
        let (sink, addresses) = (self.sink, List(now));
        let moved = !now.is_same_set(before);
        if self.change.lookups_failed {
            info!(target: TARGET, sink, %name, %addresses, "the name can be looked up again");
        } else if moved && !before.is_empty() {
            info!(target: TARGET, sink, %name, %addresses, before = %List(before), "the name now resolves to other addresses");
        } else if moved {
            debug!(target: TARGET, sink, %name, %addresses, "the name was looked up");
        }
    }
}

// === impl Journal ===

impl Journal {
    /// Returns whether this kind of failure has not been logged yet in this outage, and remembers the kind. If the
    /// event ends an outage, forgets all kinds of that outage.
    pub(super) fn is_news(&mut self, event: &Event<'_>) -> bool {
        match *event {
            Event::Failed { attempt, .. } => return self.attempts.is_news(attempt.kind),
            Event::NotRenewed { attempt, .. } => return self.renewals.is_news(attempt.kind),
            // If the sink has no addresses, the attempt to connect fails, too. That failure is logged, so the failed
            // lookup is not.
            Event::LookupFailed { kind, keeps, .. } => return keeps && self.lookups.is_news(kind),
            // The next failure after a stream that worked belongs to another outage, also if a reload ended the stream.
            Event::Lost { steady, kind, .. } => {
                if steady {
                    self.attempts.0.clear();
                }
                if let Some(kind) = kind {
                    self.attempts.is_news(kind);
                }
            }
            Event::Ended(_) => self.attempts.0.clear(),
            Event::Up(_) | Event::Renewed { .. } => self.renewals.0.clear(),
            Event::Resolved { .. } => self.lookups.0.clear(),
            // These events are not failures, or are always logged.
            Event::Started
            | Event::Resolving
            | Event::Connecting(_)
            | Event::Handshaking(_)
            | Event::Stalled
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
            | Event::Refused(_)
            | Event::FileCompleted { .. }
            | Event::FileLeft { .. }
            | Event::FileNotDeleted { .. }
            | Event::LeftOut { .. } => {}
        }
        true
    }
}

// === impl Known ===

impl Known {
    fn is_news(&mut self, kind: FailureKind) -> bool {
        if self.0.contains(&kind) {
            return false;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(kind);
        true
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
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_once_an_outage() {
        let mut known = Known::default();
        let mut news = |kinds: &[u32]| -> Vec<bool> {
            let kinds = kinds.iter().map(FailureKind::of);
            kinds.map(|kind| known.is_news(kind)).collect()
        };
        assert_eq!(
            news(&[1, 1, 2, 1, 2, 3]),
            [true, false, true, false, false, true]
        );
    }

    #[test]
    fn a_new_kind_is_logged_however_many_there_were() {
        let mut known = Known::default();
        assert!((0..1000).all(|kind| known.is_news(FailureKind::of(kind))));
        assert_eq!(known.0.len(), KEPT);
        assert!(!known.is_news(FailureKind::of(999)));
    }
}
