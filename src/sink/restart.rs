//! The restart of a sink, or of one of its endpoints, after a fault of tapfan's own.

use std::{future::Future, time::Duration};

use tokio::{select, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::SinkError;
use crate::health::{Event, Reporter};

/// The time from a fault of tapfan's own to the restart.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Runs what `begin` makes to its end, and again if it panics, until `retire` or `abort` is cancelled.
///
/// Queues and their ledgers stay. Frames in flight have gone back to their queue. The frame that was being written counts as
/// cut by a connection that died, so that a frame that causes the panic each time is given up in the end.
pub(super) async fn keep_going<F>(
    reporter: &Reporter,
    retire: &CancellationToken,
    abort: &CancellationToken,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    // The sink may have been changed again while this waited for its turn. Then it must not even connect.
    while !retire.is_cancelled() {
        let fault = match AbortOnDropHandle::new(tokio::spawn(begin())).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => return reporter.report(&Event::Unconfirmed(&error)),
            Err(fault) => fault,
        };
        if !fault.is_panic() {
            return;
        }
        reporter.report(&Event::Fault {
            fault: &fault,
            restart_in: RESTART_DELAY,
        });
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
