//! `/log-level`: shows and changes the log level.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{self, Body},
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{Level, enabled, warn};

use super::server::Shared;

/// A log whose level can be changed at run time.
pub trait LogControl: Send + Sync {
    /// Returns the current level or filter.
    fn level(&self) -> String;

    /// Sets the level or filter to `text`.
    ///
    /// # Errors
    /// If `text` is not valid. The error is one sentence with the reason, and the level does not change.
    fn set_level(&self, text: &str) -> Result<(), String>;
}

/// The longest request body, in bytes.
const LIMIT: usize = 1024;

/// The deadline for the request body.
const BODY_DEADLINE: Duration = Duration::from_secs(5);

const NO_LOG: &str = "this program has no log level to change\n";

type Answer = (StatusCode, String);

/// Answers `GET` with the current level.
pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Answer {
    match shared.log.lock().clone() {
        Some(log) => (StatusCode::OK, log.level() + "\n"),
        None => (StatusCode::NOT_FOUND, NO_LOG.to_owned()),
    }
}

/// Answers `PUT`, which sets the level.
///
/// Refuses requests with an `Origin` header. Such a request comes from a web page, and a page in an operator's browser
/// must not change the log level.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if headers.contains_key(header::ORIGIN) {
        let text = "a browser must not change the log level: use curl\n";
        return (StatusCode::FORBIDDEN, text.to_owned());
    }
    let Some(log) = shared.log.lock().clone() else {
        return (StatusCode::NOT_FOUND, NO_LOG.to_owned());
    };
    let text = match timeout(BODY_DEADLINE, body::to_bytes(body, LIMIT)).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Ok(Err(_)) => {
            let text = format!("the level is longer than {LIMIT} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        Err(_) => {
            let text = "timed out waiting for the level\n".to_owned();
            return (StatusCode::REQUEST_TIMEOUT, text);
        }
    };
    // `set` writes a log line, which may block if nothing reads the log. `set` runs on a separate thread, so that it
    // does not delay the probes.
    match spawn_blocking(move || set(&*log, &text)).await {
        Ok(Ok(level)) => (StatusCode::OK, level + "\n"),
        Ok(Err(why)) => (StatusCode::BAD_REQUEST, why + "\n"),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error\n".to_owned(),
        ),
    }
}

/// Sets the level and logs the change as a warning. If the new level hides warnings, the change is logged before the
/// level is set.
fn set(log: &dyn LogControl, text: &str) -> Result<String, String> {
    let before = log.level();
    let report = || warn!(%before, now = text, "log level changed");
    log.set_level(text)?;
    if enabled!(Level::WARN) {
        report();
    } else {
        log.set_level(&before)?;
        report();
        log.set_level(text)?;
    }
    Ok(log.level())
}
