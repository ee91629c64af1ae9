//! The log's level, and `/log-level`.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::{
    body::{self, Body},
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{Level, enabled, warn};

use super::server::Shared;

/// A log whose level can be changed while it is written.
pub trait LogControl: Send + Sync {
    /// The level or filter that counts now.
    fn level(&self) -> String;

    /// Has `text`, a level or a filter, count from now on.
    ///
    /// # Errors
    /// Why it cannot, in a sentence; nothing has changed then.
    fn set_level(&self, text: &str) -> Result<(), String>;
}

/// The longest level, in bytes.
const LIMIT: usize = 1024;

/// For the body to come.
const BODY_DEADLINE: Duration = Duration::from_secs(5);

const NO_LOG: &str = "the log of this program cannot be changed from here\n";

type Answer = (StatusCode, String);

/// `GET`: the level as it is.
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Answer {
    match log(&shared) {
        Some(log) => (StatusCode::OK, log.level() + "\n"),
        None => (StatusCode::NOT_FOUND, NO_LOG.to_owned()),
    }
}

/// `PUT`: the level as it is to be.
///
/// A browser says where a page that asks comes from (`Origin`), and none has a reason to ask this: what a person has open
/// beside it must not make the log talk, or silence it.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if headers.contains_key(header::ORIGIN) {
        let text = "a browser may not change the log's level; use curl\n";
        return (StatusCode::FORBIDDEN, text.to_owned());
    }
    let Some(log) = log(&shared) else {
        return (StatusCode::NOT_FOUND, NO_LOG.to_owned());
    };
    let text = match timeout(BODY_DEADLINE, body::to_bytes(body, LIMIT)).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Ok(Err(_)) => {
            let text = format!("a level has at most {LIMIT} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        Err(_) => {
            let text = "the level did not come\n".to_owned();
            return (StatusCode::REQUEST_TIMEOUT, text);
        }
    };
    // On a thread for what blocks: a log that nobody reads must not stop the probes.
    match spawn_blocking(move || set(&*log, &text)).await {
        Ok(Ok(level)) => (StatusCode::OK, level + "\n"),
        Ok(Err(why)) => (StatusCode::BAD_REQUEST, why + "\n"),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "a fault of tapfan's own\n".to_owned(),
        ),
    }
}

/// Changes the level, and says so in the log by the old level or the new one: whichever lets it be heard.
fn set(log: &dyn LogControl, text: &str) -> Result<String, String> {
    let before = log.level();
    let tell = || warn!(%before, now = text, "the log's level was changed");
    log.set_level(text)?;
    if enabled!(Level::WARN) {
        tell();
    } else {
        log.set_level(&before)?;
        tell();
        log.set_level(text)?;
    }
    Ok(log.level())
}

fn log(shared: &Shared) -> Option<Arc<dyn LogControl>> {
    let log = shared.log.lock().unwrap_or_else(PoisonError::into_inner);
    log.clone()
}
