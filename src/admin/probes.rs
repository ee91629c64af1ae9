//! `/livez`, `/readyz` and `/healthz`.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::{Extension, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{hosts::Standing, server::Shared};
use crate::{
    config::ReadyWhen,
    sink,
    supervisor::{RouterPhase, SinkView, View},
};

/// Liveness: 200 if the router's workers make progress. Takes no lock that they hold.
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Response {
    let stuck = shared.watchdog.stuck();
    if stuck.is_empty() {
        return answer(StatusCode::OK, "live\n".to_owned());
    }
    let mut text = "not live\n".to_owned();
    for stuck in stuck {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{stuck}");
    }
    answer(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Readiness: 200 if senders can connect. Only requests that name a known host see names and errors of sinks.
pub(super) async fn ready(
    State(shared): State<Arc<Shared>>,
    Extension(standing): Extension<Standing>,
) -> Response {
    let (is_ready, mut text) = readiness(&shared.view, **shared.ready_when.load());
    if let (Standing::Refused(_), Some(end)) = (standing, text.find('\n')) {
        text.truncate(end + 1);
    }
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(status, text)
}

fn readiness(view: &View, when: ReadyWhen) -> (bool, String) {
    let phase = view.phase();
    if phase != RouterPhase::Running {
        return (false, format!("not ready: {}\n", phase.label()));
    }
    let lost = lost_listeners(view);
    let sinks: Vec<(SinkView, sink::Status)> = view
        .sinks()
        .into_iter()
        .filter(|sink| !sink.is_removed())
        .map(|sink| {
            let status = sink.status();
            (sink, status)
        })
        .collect();
    let degraded: Vec<_> = sinks
        .iter()
        .filter(|(_, status)| status.state != sink::State::Up)
        .collect();
    let asked = match when {
        ReadyWhen::Always => None,
        ReadyWhen::Any => (degraded.len() == sinks.len()).then_some("no sink is up"),
        ReadyWhen::All => (!degraded.is_empty()).then_some("not every sink is up"),
    };
    let mut text = match asked {
        None if lost.is_empty() => "ready\n".to_owned(),
        None => lost.clone(),
        Some(why) => format!(
            "{lost}not ready: {why}, and ready_when is {}\n",
            when.word()
        ),
    };
    for (sink, status) in degraded {
        let since = super::Timestamp::from(status.since);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "degraded: {}: {} since {since}",
            sink.name(),
            status.state
        );
        if let Some((error, _)) = &status.last_error {
            let _ = write!(text, ", {error}");
        }
        text.push('\n');
    }
    for (sink, status) in &sinks {
        let of = status.endpoints.len();
        let up = status.endpoints.iter();
        let up = up.filter(|one| one.state == sink::State::Up).count();
        if status.state == sink::State::Up && up < of {
            let _ = writeln!(
                text,
                "degraded: {}: {up} of {of} endpoints are up",
                sink.name()
            );
        }
    }
    (asked.is_none() && lost.is_empty(), text)
}

/// Returns a line for each listener that no sender can connect to.
fn lost_listeners(view: &View) -> String {
    let mut text = String::new();
    let listeners = view.listeners().into_iter();
    for listener in listeners.filter(|listener| !listener.is_removed()) {
        if let Some(lost) = listener.not_listening() {
            let since = super::Timestamp::from(lost.since);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "not ready: listen {}: no sender can connect since {since}: {}",
                listener.name(),
                lost.error
            );
        }
    }
    text
}

fn answer(status: StatusCode, text: String) -> Response {
    (status, text).into_response()
}
