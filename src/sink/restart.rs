//! A sink, or one of its connections, that goes on after a fault of tapfan's own.

use std::{future::Future, time::Duration};

use tokio::{select, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, warn};

use super::{Reporter, SinkError};

/// How long it rests after a fault of tapfan's own.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Runs what `begin` makes to its end, and again if it panics, until `retire` or `abort` is cancelled.
///
/// Queues and their ledgers live on. What was in flight has gone back to its queue, and what was being written counts as
/// cut by a connection that died, so that a frame that brings the sink down each time is given up in the end.
pub(super) async fn keep_going<F>(
    reporter: &Reporter,
    retire: &CancellationToken,
    abort: &CancellationToken,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    let (sink, endpoint) = (reporter.sink(), reporter.address());
    let endpoint = endpoint.as_deref();
    // It may have been changed again while it waited for its turn: not a moment's connection for that.
    while !retire.is_cancelled() {
        let fault = match AbortOnDropHandle::new(tokio::spawn(begin())).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                let cause = error.to_string();
                warn!(%sink, endpoint, cause = cause.as_str(), "the collector did not confirm the end of its stream");
                return;
            }
            Err(fault) => fault,
        };
        if !fault.is_panic() {
            return;
        }
        error!(%sink, endpoint, %fault, restart_in = ?RESTART_DELAY, "a sink was ended by a fault of tapfan's own; please report it");
        select! {
            () = sleep(RESTART_DELAY) => {}
            () = retire.cancelled() => return,
            () = abort.cancelled() => return,
        }
    }
}

/// Runs `future` until `abort` is cancelled.
pub(super) async fn until_aborted<F>(abort: CancellationToken, future: F) -> Result<(), SinkError>
where
    F: Future<Output = Result<(), SinkError>>,
{
    select! {
        // First, so that a write that `abort` cuts short is still settled.
        biased;
        ended = future => ended,
        () = abort.cancelled() => Ok(()),
    }
}
