//! The log lines about the events of `connect` lines. The listener logs the beginning and the end of each stream. These
//! lines are about the attempts to connect, and about the name.

use tracing::{debug, error, info, warn};

use super::{Event, FailedAttempt, log::List, sink::Change};

/// The target of these log lines. Filters such as `tapfan::dialer=debug` refer to it.
const TARGET: &str = "tapfan::dialer";

/// Logs an event of the `connect` line with this name. `is_news` is true if this kind of failure has not been logged
/// yet in this outage.
pub(super) fn write(listener: &str, event: &Event<'_>, change: &Change, is_news: bool) {
    match *event {
        Event::Up(endpoint) => debug!(target: TARGET, listener, endpoint, "connected to a server"),
        Event::Failed { attempt, delay } => {
            let FailedAttempt {
                stage,
                endpoint,
                cause,
                ..
            } = attempt;
            let attempt = change.after.failures;
            if is_news {
                warn!(target: TARGET, listener, endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "a server cannot be reached, so its taps are missing");
            } else {
                debug!(target: TARGET, listener, endpoint, %stage, cause, attempt, next_attempt_in = ?delay, "a server still cannot be reached");
            }
        }
        Event::Lost { cause, delay, .. } => {
            let (endpoint, delay) = (change.after.endpoint.as_deref(), delay.unwrap_or_default());
            debug!(target: TARGET, listener, endpoint, reason = cause.label(), %cause, next_attempt_in = ?delay, "the connection to a server has ended");
        }
        Event::Resolved { name, before, now } => {
            let moved = !now.is_same_set(before);
            let addresses = List(now);
            if change.lookups_failed {
                info!(target: TARGET, listener, %name, %addresses, "the name can be looked up again");
            } else if moved && !before.is_empty() {
                info!(target: TARGET, listener, %name, %addresses, before = %List(before), "the name now resolves to other servers");
            } else if moved {
                debug!(target: TARGET, listener, %name, %addresses, "the name was looked up");
            }
        }
        Event::LookupFailed {
            name, error: cause, ..
        } => {
            if is_news {
                warn!(target: TARGET, listener, %name, %cause, "the name cannot be looked up; its last good addresses stay in use");
            } else {
                debug!(target: TARGET, listener, %name, %cause, "the name cannot be looked up");
            }
        }
        Event::LeftOut { used, left_out } => {
            warn!(target: TARGET, listener, used, left_out, "the name has more addresses than max_connections allows; the taps of the remaining servers are missing");
        }
        Event::Fault { fault, restart_in } => {
            let restart_in = restart_in.map(tracing::field::debug);
            error!(target: TARGET, listener, %fault, restart_in, "a bug in tapfan ended the connection to a server; please report it");
        }
        _ => {
            let (endpoint, state) = (change.after.endpoint.as_deref(), change.after.state);
            if change.before.state != state {
                debug!(target: TARGET, listener, endpoint, %state, "a server changes state");
            }
        }
    }
}
