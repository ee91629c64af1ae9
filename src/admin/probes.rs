//! `/livez`, `/readyz` and `/healthz`.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::{Extension, State},
    http::StatusCode,
};

use super::{hosts::Standing, server::Shared};
use crate::{
    config::ReadyWhen,
    health::{Failure, RouterPhase, RouterStatus, State as SinkState},
};

type Answer = (StatusCode, String);

/// Answers `/livez`: 200 if the workers of the router's runtime make progress. Takes no lock that a worker can hold.
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Answer {
    let stuck = shared.watchdog.stuck();
    if stuck.is_empty() {
        return (StatusCode::OK, "live\n".to_owned());
    }
    let mut text = "not live\n".to_owned();
    for stuck in stuck {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{stuck}");
    }
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Answers `/readyz`: 200 if senders can connect. The names and errors of sinks are shown only if the request names a
/// known host.
pub(super) async fn ready(
    State(shared): State<Arc<Shared>>,
    Extension(standing): Extension<Standing>,
) -> Answer {
    let (is_ready, mut text) = readiness(&shared.view.snapshot(), **shared.ready_when.load());
    if let (Standing(Err(_)), Some(end)) = (standing, text.find('\n')) {
        text.truncate(end + 1);
    }
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text)
}

fn readiness(status: &RouterStatus, when: ReadyWhen) -> (bool, String) {
    if status.phase != RouterPhase::Running {
        return (false, format!("not ready: {}\n", status.phase.label()));
    }
    let lost = lost_listeners(status);
    let sinks: Vec<_> = status.sinks.iter().filter(|sink| !sink.removed).collect();
    let degraded: Vec<_> = sinks.iter().filter(|sink| !sink.is_in_order()).collect();
    let asked = match when {
        ReadyWhen::Always => None,
        ReadyWhen::Any => (degraded.len() == sinks.len()).then_some("no sink is up"),
        ReadyWhen::All => (!degraded.is_empty()).then_some("not every sink is up"),
    };
    let mut text = match asked {
        None if lost.is_empty() => "ready\n".to_owned(),
        None => lost.clone(),
        Some(why) => format!("{lost}not ready: {why}, and ready_when is {when}\n"),
    };
    for sink in degraded {
        let (name, state, since) = (&sink.name, sink.state, sink.since);
        // Writing to a string does not fail.
        let _ = write!(text, "degraded: {name}: {state} since {since}");
        if let Some(last) = &sink.last_error {
            let _ = write!(text, ", {}", last.error);
        }
        text.push('\n');
    }
    for sink in &sinks {
        if let Some(Failure { error, at }) = &sink.not_listening {
            let name = &sink.name;
            let _ = writeln!(
                text,
                "degraded: {name}: no collector can connect since {at}: {error}"
            );
        }
        let (up, of) = (sink.endpoints_up(), sink.endpoints.len());
        if sink.state == SinkState::Up && up < of {
            let name = &sink.name;
            let _ = writeln!(text, "degraded: {name}: {up} of {of} endpoints are up");
        }
    }
    (asked.is_none() && lost.is_empty(), text)
}

/// Returns the listeners that senders cannot connect to, one on each line.
fn lost_listeners(status: &RouterStatus) -> String {
    let mut text = String::new();
    for listener in status.listeners.iter().filter(|listener| !listener.removed) {
        if let Some(Failure { error, at }) = &listener.not_listening {
            let name = &listener.name;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "not ready: listen {name}: no sender can connect since {at}: {error}"
            );
        }
    }
    text
}
