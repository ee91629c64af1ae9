//! `--wait up`: polls the router until the sinks are up and the listeners accept senders.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Chosen, StatusArgs};
use crate::{
    admin::SinkStatus,
    cli::remote::{Answer, FetchError, Whereabouts, fetch},
    config::quantity::Time,
};

/// The poll interval. It needs no backoff: a single client asks one endpoint for a limited time.
const PAUSE: Duration = Duration::from_millis(200);

/// Polls the router until every selected sink is up.
///
/// # Errors
///
/// If the sinks are not up in time. The error lists the sinks that are not up, or says that the router did not answer.
pub(super) async fn until_up(
    whereabouts: &Whereabouts,
    args: &StatusArgs,
) -> Result<Answer, String> {
    let end = Instant::now() + args.timeout;
    let mut last = None;
    // If the deadline interrupts a poll, the result of the previous poll counts.
    while let Ok(answer) = timeout_at(end, fetch(&whereabouts.address)).await {
        match answer {
            Ok(answer) if Chosen::of(args, &answer.status).are_up() => return Ok(answer),
            answer => last = Some(answer),
        }
        let _ = timeout_at(end, sleep(PAUSE)).await;
    }
    let waited = Time(args.timeout);
    let missing = missing(whereabouts, args, last).join("\ntapfan: ");
    Err(format!("timed out after {waited}\ntapfan: {missing}"))
}

/// Describes what was missing at the last poll: an answer of the router, listeners that accept senders, or sinks that
/// are up.
fn missing(
    whereabouts: &Whereabouts,
    args: &StatusArgs,
    last: Option<Result<Answer, FetchError>>,
) -> Vec<String> {
    let answer = match last {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => return vec![whereabouts.explain(&error)],
        None => {
            return vec![format!(
                "the router at {whereabouts} did not answer in time"
            )];
        }
    };
    let chosen = Chosen::of(args, &answer.status);
    let mut missing = chosen.closed.clone();
    if !chosen.unknown.is_empty() {
        missing.push(chosen.misses(whereabouts, &answer.status));
    }
    let down = chosen
        .sinks
        .iter()
        .filter(|sink| !sink.removed && !sink.is_up());
    missing.extend(down.map(|sink| said_of(sink)));
    missing
}

fn said_of(sink: &SinkStatus) -> String {
    let (name, state) = (&sink.name, sink.state);
    match &sink.last_error {
        Some(last) => format!("{name} is in {state}: {}", last.error),
        None => format!("{name} is in {state}"),
    }
}
