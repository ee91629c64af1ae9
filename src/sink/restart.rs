//! The restart of a sink, or of one of its endpoints, after a panic.

use std::{future::Future, time::Duration};

use tokio::{select, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::SinkError;
use crate::health::{Event, Reporter};

/// The time between a panic and the restart.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Calls `begin`, and runs the future that it returns until the future ends. After a panic, calls `begin` again, unless
/// `retire` or `abort` is cancelled.
///
/// The queues and their ledgers are kept, and frames in flight return to their queue. The frame that was being written
/// is treated as if its connection had died in the middle of it. So if a frame causes a panic whenever it is written,
/// it is dropped after three panics.
pub(crate) async fn keep_going<F>(
    reporter: &Reporter,
    retire: &CancellationToken,
    abort: &CancellationToken,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    // While this task waited to start, another reload may have replaced the sink. In that case, the task must not
    // connect at all.
    while !retire.is_cancelled() {
        let fault = match AbortOnDropHandle::new(tokio::spawn(begin())).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => return reporter.report(&Event::Unconfirmed(&error)),
            Err(fault) => fault,
        };
        if !fault.is_panic() {
            return;
        }
        // The task of a changed sink reports to the same health as the new task, which goes on.
        let is_over = retire.is_cancelled() || abort.is_cancelled();
        reporter.report(&Event::Fault {
            fault: &fault,
            restart_in: (!is_over).then_some(RESTART_DELAY),
        });
        select! {
            () = sleep(RESTART_DELAY) => {}
            () = retire.cancelled() => return,
            () = abort.cancelled() => return,
        }
    }
}

pub(crate) async fn until_aborted<F>(abort: CancellationToken, future: F) -> Result<(), SinkError>
where
    F: Future<Output = Result<(), SinkError>>,
{
    select! {
        // Polls the future first. `abort` also cancels the write of this future. The future must then settle its batch
        // before it is dropped.
        biased;
        ended = future => ended,
        () = abort.cancelled() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State;

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_a_retired_server_does_not_stop_the_new_one() {
        let reporter = Reporter::new("siem".into());
        let (retire, abort) = (CancellationToken::new(), CancellationToken::new());
        let begin = || {
            // A reload replaces the server, and the new one accepts collectors.
            retire.cancel();
            reporter.report(&Event::Waiting);
            async { panic!("a bug") }
        };
        keep_going(&reporter, &retire, &abort, begin).await;
        let health = reporter.watch().borrow().clone();
        assert_eq!((health.state, health.next_attempt), (State::Waiting, None));
        assert!(health.last_error.is_some());
    }
}
