//! Keeps one sink's driver going.

use std::{sync::Arc, time::Duration};

use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    router::{Progress, Queue},
    sink::{Reporter, Stack, drive},
};

/// How long a sink rests after a fault of tapfan's own.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Drives the sink until its queue is closed and empty or `abort` says so, and starts it anew if it panics.
///
/// The queue and its ledger live on. What was in flight goes back to the front, and counts as a connection that
/// died within it, so that a frame that brings the sink down each time is given up in the end.
pub(super) async fn keep_going(
    stack: Stack,
    reporter: Reporter,
    queue: Arc<Queue>,
    abort: CancellationToken,
) {
    loop {
        let service = stack.build(Arc::clone(&queue), abort.clone());
        let (drive_queue, drive_abort) = (Arc::clone(&queue), abort.clone());
        let mut driver = AbortOnDrop(tokio::spawn(async move {
            select! {
                // First, so that a write that `abort` cuts short is still settled.
                biased;
                () = drive(service, &drive_queue) => {}
                () = drive_abort.cancelled() => {}
            }
        }));
        let Err(fault) = (&mut driver.0).await else {
            return;
        };
        if !fault.is_panic() {
            return;
        }
        queue.settle(Progress {
            cut: true,
            ..Progress::default()
        });
        error!(sink = %reporter.sink(), %fault, restart_in = ?RESTART_DELAY, "a sink was ended by a fault of tapfan's own; please report it");
        select! {
            () = sleep(RESTART_DELAY) => {}
            () = abort.cancelled() => return,
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
