//! The task of one sink, and the handover from its predecessor.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::warn;

use crate::{
    health::Reporter,
    router::Queues,
    sink::{self, Ends, Stack},
};

/// A sink's task. Dropping it aborts the task.
#[derive(Debug)]
pub(super) struct SinkTask {
    task: AbortOnDropHandle<()>,
    /// Ends the stream with STOP and leaves the queue.
    retire: CancellationToken,
    /// Aborts whatever the task waits for.
    abort: CancellationToken,
}

/// The parts that a sink's task works with.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) stack: Stack,
    pub(super) reporter: Reporter,
    pub(super) queues: Arc<Queues>,
    /// The deadline of a drain, and its changes.
    pub(super) drain: watch::Receiver<Duration>,
}

/// The time for a replaced task to end its stream: the wait for FINISH, and a little more. A slow collector gets no longer,
/// since its new frames wait; the kernel still sends what it holds of the old stream.
const HANDOVER: Duration = Duration::from_secs(5);

/// The time for a task to stop after `abort`.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl SinkTask ===

impl SinkTask {
    /// Starts the sink. It first waits until a predecessor, `before`, has released the queue.
    pub(super) fn start(work: Work, abort: CancellationToken, before: Option<Self>) -> Self {
        let retire = CancellationToken::new();
        let ends = Ends {
            retire: retire.clone(),
            abort: abort.clone(),
            drain: work.drain.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(before) = before {
                before.retire(&work.reporter).await;
            }
            sink::run(&work.stack, &work.queues, &ends).await;
        }));
        Self {
            task,
            retire,
            abort,
        }
    }

    /// Waits for the end of the task. Cancel safe.
    pub(super) async fn ended(&mut self) {
        if !self.task.is_finished() {
            // The sink logs panics itself.
            let _ = (&mut self.task).await;
        }
    }

    /// Aborts what the task waits for, and the task itself if it does not settle its account in time.
    pub(super) async fn abort(&mut self) {
        self.abort.cancel();
        if timeout(LAST_WORDS, self.ended()).await.is_err() {
            self.cut();
        }
    }

    /// Aborts the task at once.
    pub(super) fn cut(&self) {
        self.task.abort();
    }

    async fn retire(mut self, reporter: &Reporter) {
        self.retire.cancel();
        if timeout(HANDOVER, self.ended()).await.is_err() {
            warn!(sink = %reporter.sink, "the changed sink's old stream did not finish in time and was aborted");
            self.abort.cancel();
            // No deadline: the queue has a single consumer, and frames in flight belong to this task until it ends.
            self.ended().await;
        }
    }
}
