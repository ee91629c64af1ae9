//! The task of one sink, and the handover from its predecessor.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{join, select, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::warn;

use crate::{
    collectors::{self, Server},
    health::Reporter,
    router::Queues,
    sink::{self, Ends, Stack},
};

/// A sink's task. Dropping it aborts the task.
#[derive(Debug)]
pub(super) struct SinkTask {
    task: AbortOnDropHandle<()>,
    /// Cancelled to make the task end its stream with STOP and release the queue.
    retire: CancellationToken,
    /// Cancelled to make the task abort whatever it waits for.
    abort: CancellationToken,
    /// The server of a sink that waits for collectors.
    server: Option<Arc<Server>>,
    /// True if the task has the whole time of a drain to end its streams.
    is_patient: bool,
}

/// The parts that a sink's task works with.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) way: Way,
    pub(super) reporter: Reporter,
    pub(super) queues: Arc<Queues>,
    /// The longest time of a drain, which a reload can change.
    pub(super) drain: watch::Receiver<Duration>,
}

/// The way in which a sink gets its connections.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The sink connects to its collector.
    Dials(Arc<Stack>),
    /// Collectors connect to the sink.
    Waits(Arc<Server>),
}

/// The time that a replaced task has to end its stream: the wait for FINISH, and a margin. A slow collector does not
/// get more time, because the frames in the queue wait for the new task. The kernel still sends the data of the old
/// stream that it has accepted.
const HANDOVER: Duration = Duration::from_secs(5);

/// The time that a task has to stop after `abort`.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl Way ===

impl Way {
    pub(super) fn reporter(&self) -> &Reporter {
        match self {
            Self::Dials(stack) => &stack.reporter,
            Self::Waits(server) => &server.reporter,
        }
    }

    /// Returns whether a stream of the sink gets the whole time of a drain when the sink changes.
    ///
    /// The frames for a collector that has connected to the sink do not wait for the next task. The brokers of Kafka may
    /// have stored frames that they have not confirmed, and the next task would send these frames again.
    fn is_patient(&self) -> bool {
        match self {
            Self::Dials(stack) => stack.is_kafka(),
            Self::Waits(_) => true,
        }
    }

    /// Returns the server of a sink that waits for collectors.
    pub(super) fn server(&self) -> Option<&Arc<Server>> {
        match self {
            Self::Dials(_) => None,
            Self::Waits(server) => Some(server),
        }
    }
}

// === impl SinkTask ===

impl SinkTask {
    /// Starts the sink's task, which first waits until its predecessor `before` has released the queue. If both serve
    /// collectors, the new task starts immediately, because each collector has a queue of its own.
    pub(super) fn start(work: Work, abort: CancellationToken, before: Option<Self>) -> Self {
        let retire = CancellationToken::new();
        let ends = Ends {
            retire: retire.clone(),
            abort: abort.clone(),
            drain: work.drain.clone(),
        };
        let server = work.way.server().cloned();
        let is_patient = work.way.is_patient();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            // A predecessor that still waits for its own predecessor never begins to serve collectors. The frames of that
            // predecessor must stay in their queues until it has ended.
            let both_serve =
                work.way.server().is_some() && before.as_ref().is_some_and(Self::retire_server);
            let release = async {
                if let Some(before) = before {
                    before.release(&work, &ends.abort).await;
                }
            };
            match &work.way {
                Way::Waits(server) if both_serve => {
                    join!(release, collectors::run(server, &work.queues, &ends));
                }
                Way::Waits(server) => {
                    release.await;
                    collectors::run(server, &work.queues, &ends).await;
                }
                Way::Dials(stack) => {
                    release.await;
                    sink::run(stack, &work.queues, &ends).await;
                }
            }
        }));
        Self {
            task,
            retire,
            abort,
            server,
            is_patient,
        }
    }

    /// Makes the task end its streams if it serves collectors. Returns whether it does.
    fn retire_server(&self) -> bool {
        let Some(server) = &self.server else {
            return false;
        };
        // A server that begins after this line serves nobody, because it looks at `retire` before it accepts.
        self.retire.cancel();
        server.has_begun()
    }

    /// Waits for the end of the task. Cancel safe.
    pub(super) async fn ended(&mut self) {
        if !self.task.is_finished() {
            // If the task panicked, the sink has logged the panic.
            let _ = (&mut self.task).await;
        }
    }

    /// Aborts whatever the task waits for, so that the task counts its frames in flight and ends. If the task does not
    /// end in time, aborts the task itself.
    pub(super) async fn abort(&mut self) {
        self.abort.cancel();
        if timeout(LAST_WORDS, self.ended()).await.is_err() {
            self.cut();
        }
    }

    /// Aborts the task immediately.
    pub(super) fn cut(&self) {
        self.task.abort();
    }

    /// Returns the longest time in which this task must end its streams.
    fn handover(&self, work: &Work) -> Duration {
        if self.is_patient {
            *work.drain.borrow()
        } else {
            HANDOVER
        }
    }

    /// Makes the task end its streams, and counts the frames that it leaves behind. If `abort` is cancelled, the streams
    /// end immediately.
    async fn release(self, work: &Work, abort: &CancellationToken) {
        let (limit, own) = (self.handover(work), self.abort.clone());
        let socket = self.server.as_ref().map(|server| server.socket);
        let mut retired = pin!(self.retire(&work.reporter, limit));
        select! {
            () = &mut retired => {}
            () = abort.cancelled() => {
                own.cancel();
                retired.await;
            }
        }
        work.queues.give_up_former(socket);
    }

    async fn retire(mut self, reporter: &Reporter, limit: Duration) {
        self.retire.cancel();
        if timeout(limit, self.ended()).await.is_err() {
            warn!(sink = %reporter.sink, "the changed sink's old stream did not finish in time and was aborted");
            self.abort.cancel();
            // Waits without a deadline: only one task may consume the queue, and the old task owns its frames in flight
            // until it ends.
            self.ended().await;
        }
    }
}
