//! The listeners, and the thread that takes frames from their queue.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, Release},
        },
        mpsc::SyncSender,
    },
    time::Duration,
};

use tokio::{runtime::Handle, select, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::dump::{
        account::{Account, complain},
        batch::Batch,
    },
    config::{Config, Listen},
    net::OwnListeners,
    router::{Limits, Progress, Queues, Selection, Taken},
    supervisor::{ErrorReason, StartError, Supervisor},
};

/// The running listeners. Their frames wait in a queue for the pump, the loop that passes them to the outputs. If the
/// pump is slow and the queue is full, new frames are dropped.
#[derive(Debug)]
pub(in crate::cli::dump) struct Sockets {
    supervisor: Supervisor,
    queues: Arc<Queues>,
}

/// The largest number of frames and bytes in the queue of the listeners.
const LIMITS: Limits = Limits::units(4);

/// The time that senders have to end their streams when the program ends.
const DRAIN: Duration = Duration::from_secs(4);

/// The time without any sender after which a hint is printed.
const HINT_AFTER: Duration = Duration::from_secs(5);

// === impl Sockets ===

impl Sockets {
    /// Starts the listeners. Must be called inside the runtime. The runtime must have a single thread, so that no
    /// connection is accepted before this function returns.
    ///
    /// # Errors
    /// If a listener cannot be bound, or a certificate cannot be used.
    pub(in crate::cli::dump) fn start(listeners: Vec<Listen>) -> Result<Self, StartError> {
        let mut config = Config::new(listeners, Vec::new());
        config.drain = DRAIN;
        let supervisor = Supervisor::start(&config)?;
        let queues = Arc::new(Queues::new(LIMITS));
        supervisor
            .router()
            .replace([(Arc::clone(&queues), Selection::default())]);
        Ok(Self { supervisor, queues })
    }

    /// Returns the queue of the listeners.
    pub(in crate::cli::dump) fn queues(&self) -> &Arc<Queues> {
        &self.queues
    }

    /// Returns the addresses of the listeners.
    pub(in crate::cli::dump) fn own(&self) -> OwnListeners {
        self.supervisor.own_listeners().clone()
    }

    /// Runs until `stop` is cancelled. After that, asks the senders to end their streams, and closes the queue after
    /// the last frame.
    pub(in crate::cli::dump) async fn serve(
        self,
        stop: CancellationToken,
        hurry: CancellationToken,
        account: Arc<Account>,
    ) {
        select! {
            () = stop.cancelled() => {}
            () = self.hint_at_silence() => {}
        }
        let report = self.supervisor.drain(hurry).await;
        self.queues.close();
        for listener in report.listeners {
            for reason in [ErrorReason::Malformed, ErrorReason::Oversize] {
                account
                    .bad
                    .fetch_add(listener.counts.errors(reason), Relaxed);
            }
        }
    }

    /// Prints a hint if no sender connects. Never returns.
    async fn hint_at_silence(&self) {
        sleep(HINT_AFTER).await;
        let listeners = self.supervisor.listeners();
        let accepted = |of: &crate::supervisor::ListenerHandle| of.counters().snapshot().accepted;
        if listeners.iter().all(|listener| accepted(listener) == 0) {
            let names: Vec<&str> = listeners.iter().map(|it| &**it.name()).collect();
            complain(format_args!(
                "nothing has connected to {} for 5 s; is dnstap switched on in the DNS server, with this address, and may the server's user write to the socket (--mode)?",
                names.join(", ")
            ));
        }
        std::future::pending::<()>().await;
    }
}

/// Moves the frames from the queue of the listeners to the pump, which passes them to the outputs. Ends when the queue
/// is closed or the pump has ended.
pub(in crate::cli::dump) fn forward(
    runtime: &Handle,
    queues: &Queues,
    to: &SyncSender<Batch>,
    has_ended: &AtomicBool,
) {
    let queue = queues.one();
    while let Some(taken) = runtime.block_on(poll_fn(|context| queue.poll_take(context))) {
        if pass_on(taken, to).is_err() {
            break;
        }
    }
    has_ended.store(true, Release);
}

fn pass_on(mut taken: Taken, to: &SyncSender<Batch>) -> Result<(), ()> {
    let mut progress = Progress::default();
    let mut sent = Ok(());
    for chunk in taken.begin() {
        let frames = chunk.len() as u64;
        progress.frames += chunk.len();
        progress.bytes += chunk.wire().len() as u64;
        let batch = Batch::of_socket(chunk.wire().to_vec(), frames);
        sent = to.send(batch).map_err(drop);
    }
    taken.settle(progress);
    sent
}
