//! One sink's task, and how it is handed over.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    router::Queues,
    sink::{self, Ends, Reporter, Stack},
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
    /// How long a drain may take, as it is and as it changes.
    pub(super) drain: watch::Receiver<Duration>,
}

/// For a task that was replaced to end its stream: what a silent collector gets for FINISH, and a little more. Not longer for
/// one that reads slowly, since its frames wait meanwhile; what the kernel has of the old stream is still sent.
const HANDOVER: Duration = Duration::from_secs(5);

/// For a task that was told that its time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl SinkTask ===

impl SinkTask {
    /// Starts the sink. If it takes the place of `before`, it waits until that has let go of the queue.
    pub(super) fn start(work: Work, abort: CancellationToken, before: Option<Self>) -> Self {
        let retire = CancellationToken::new();
        let ends = Ends {
            retire: retire.clone(),
            abort: abort.clone(),
            drain: work.drain.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.retire(&work.reporter).await;
            }
            sink::run(&work.stack, &work.queues, &ends).await;
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
