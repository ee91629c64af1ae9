//! `--wait up`: looks again and again.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Chosen, StatusArgs};
use crate::{
    admin::SinkStatus,
    cli::{
        facts::is_up,
        router::{FetchError, Look, Whereabouts, fetch},
    },
    config::quantity::Time,
};

const PAUSE: Duration = Duration::from_millis(200);

/// Looks until every sink that was asked for is up; what is missing, if the time is over before.
///
/// # Errors
///
/// What to tell.
pub(super) async fn until_up(whereabouts: &Whereabouts, args: &StatusArgs) -> Result<Look, String> {
    let end = Instant::now() + args.timeout;
    let mut last = None;
    // At the end of the time, what the look before it said counts.
    while let Ok(look) = timeout_at(end, fetch(&whereabouts.address)).await {
        match look {
            Ok(look) if Chosen::of(args, &look.status).are_up() => return Ok(look),
            look => last = Some(look),
        }
        let _ = timeout_at(end, sleep(PAUSE)).await;
    }
    let waited = Time(args.timeout);
    let missing = missing(whereabouts, args, last).join("\ntapfan: ");
    Err(format!("waited {waited} in vain\ntapfan: {missing}"))
}

/// What was missing when it was last looked.
fn missing(
    whereabouts: &Whereabouts,
    args: &StatusArgs,
    last: Option<Result<Look, FetchError>>,
) -> Vec<String> {
    let look = match last {
        Some(Ok(look)) => look,
        Some(Err(error)) => return vec![whereabouts.explain(&error)],
        None => {
            return vec![format!(
                "the router at {whereabouts} had not answered by then"
            )];
        }
    };
    let chosen = Chosen::of(args, &look.status);
    let mut missing = Vec::new();
    if !chosen.unknown.is_empty() {
        missing.push(chosen.misses(whereabouts, &look.status));
    }
    let down = chosen
        .sinks
        .iter()
        .filter(|sink| !sink.removed && !is_up(sink));
    missing.extend(down.map(|sink| said_of(sink)));
    missing
}

fn said_of(sink: &SinkStatus) -> String {
    let SinkStatus { name, state, .. } = sink;
    match &sink.last_error {
        Some(last) => format!("{name} is in {state}: {}", last.error),
        None => format!("{name} is in {state}"),
    }
}
