//! Keeps one sink's driver going.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    router::{Progress, Queues},
    sink::{Reporter, Stack, drive},
};

/// A sink's task, and what ends it. Dropping it ends it at once.
#[derive(Debug)]
pub(super) struct SinkTask {
    task: JoinHandle<()>,
    /// Ends the stream in order, and leaves what is queued.
    retire: CancellationToken,
    /// Ends whatever it waits for.
    abort: CancellationToken,
}

/// What a sink's task works with.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) stack: Stack,
    pub(super) reporter: Reporter,
    pub(super) queues: Arc<Queues>,
}

/// How long a sink rests after a fault of tapfan's own.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// For a task that was replaced to end its stream: as long as a collector gets for FINISH, and a little more.
const HANDOVER: Duration = Duration::from_secs(5);

/// For a task that was told that its time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl SinkTask ===

impl SinkTask {
    /// Starts the sink. If it takes the place of `before`, it waits until that has let go of the queue.
    pub(super) fn start(work: Work, abort: CancellationToken, before: Option<Self>) -> Self {
        let retire = CancellationToken::new();
        let (retired, aborted) = (retire.clone(), abort.clone());
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.retire(&work.reporter).await;
            }
            keep_going(&work, &retired, &aborted).await;
        });
        Self {
            task,
            retire,
            abort,
        }
    }

    /// Waits for its end; cancel safe.
    pub(super) async fn ended(&mut self) {
        if !self.task.is_finished() {
            // It tells of panics itself.
            let _ = (&mut self.task).await;
        }
    }

    /// Ends it: at once, but for what is being settled.
    pub(super) async fn abort(&mut self) {
        self.abort.cancel();
        if timeout(LAST_WORDS, self.ended()).await.is_err() {
            self.cut();
        }
    }

    /// Ends it without a word.
    pub(super) fn cut(&self) {
        self.task.abort();
    }

    async fn retire(mut self, reporter: &Reporter) {
        self.retire.cancel();
        if timeout(HANDOVER, self.ended()).await.is_err() {
            warn!(sink = %reporter.sink(), "the collector did not let the changed sink's old stream end in time; it is cut");
            self.abort.cancel();
            // Without a deadline: the queue has one consumer, and what is in flight is this one's until it has ended.
            self.ended().await;
        }
    }
}

impl Drop for SinkTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Drives the sink until its queue is closed and empty, or it is retired or aborted, and starts it anew if it panics.
///
/// The queue and its ledger live on. What was in flight goes back to the front, and counts as a connection that
/// died within it, so that a frame that brings the sink down each time is given up in the end.
async fn keep_going(work: &Work, retire: &CancellationToken, abort: &CancellationToken) {
    let Work {
        stack,
        reporter,
        queues,
    } = work;
    let queue = queues.queue();
    // It may have been changed again while it waited for its turn: not a moment's connection for that.
    while !retire.is_cancelled() {
        let service = stack.build(Arc::clone(queue), abort.clone());
        let (of_sink, retired, aborted) = (Arc::clone(queue), retire.clone(), abort.clone());
        let mut driver = AbortOnDrop(tokio::spawn(async move {
            select! {
                // First, so that a write that `abort` cuts short is still settled.
                biased;
                ended = drive(service, &of_sink, &retired) => ended,
                () = aborted.cancelled() => Ok(()),
            }
        }));
        let fault = match (&mut driver.0).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                let cause = error.to_string();
                warn!(sink = %reporter.sink(), cause = cause.as_str(), "the collector did not confirm the end of its stream");
                return;
            }
            Err(fault) => fault,
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
            () = retire.cancelled() => return,
            () = abort.cancelled() => return,
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
