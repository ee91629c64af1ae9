//! The runtime for sockets, and the handling of signals.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::SyncSender,
    },
    thread,
};

use tokio::{
    runtime::{self, Runtime},
    signal::unix::SignalKind,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use super::{
    account::Account,
    args::{DumpArgs, OutputArgs},
    batch::Batch,
    input::{self, Sockets},
    output::{Collectors, Ending, Output},
};
use crate::{
    cli::{FAILED, signals::Signals},
    lock::Mutex,
    router::Queues,
};

/// The runtime for sockets, before it is started.
pub(super) struct Network {
    runtime: Runtime,
    signals: Signals<Asked>,
    sockets: Option<Sockets>,
    /// Asks the inputs to stop.
    stop: CancellationToken,
    /// Tokens that signals cancel in order to end the program. A second signal ends the drains immediately.
    ending: Ending,
    sockets_ended: Arc<AtomicBool>,
    reopeners: Reopeners,
}

/// The action that a signal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    End,
    Reopen,
}

/// A flag for each output. SIGHUP sets the flags, and each output whose flag is set reopens its file.
type Reopeners = Arc<Mutex<Vec<Arc<AtomicBool>>>>;

/// The running thread of the runtime.
pub(super) struct Running {
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

// === impl Network ===

impl Network {
    /// Binds the listeners and installs the signal handlers. No connection is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// If a listener cannot be bound, a certificate cannot be used, or a system call fails.
    pub(super) fn start(args: &DumpArgs) -> Result<Self, String> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start the runtime: {error}"))?;
        let listeners = args.input.listeners(args.output.timeout);
        let sockets_ended = Arc::new(AtomicBool::new(listeners.is_empty()));
        let (signals, sockets) = runtime.block_on(async {
            let signals = Signals::new([
                (SignalKind::terminate(), Asked::End),
                (SignalKind::interrupt(), Asked::End),
                (SignalKind::hangup(), Asked::Reopen),
            ]);
            let signals =
                signals.map_err(|error| format!("cannot install signal handlers: {error}"))?;
            if listeners.is_empty() {
                return Ok((signals, None));
            }
            let sockets = Sockets::start(listeners).map_err(|error| error.to_string())?;
            Ok::<_, String>((signals, Some(sockets)))
        })?;
        Ok(Self {
            runtime,
            signals,
            sockets,
            stop: CancellationToken::new(),
            ending: Ending::default(),
            sockets_ended,
            reopeners: Reopeners::default(),
        })
    }

    /// Returns the token that asks the inputs to stop.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns the tokens that signals cancel in order to end the program.
    pub(super) fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// Returns the flag that is set when no more frames will come from the listeners.
    pub(super) fn sockets_ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.sockets_ended)
    }

    /// Returns a new flag that SIGHUP sets.
    pub(super) fn reopener(&self) -> Arc<AtomicBool> {
        let flag = Arc::default();
        self.reopeners.lock().push(Arc::clone(&flag));
        flag
    }

    /// Starts the sinks for `-U` and `-T`. Returns `None` if there are none.
    pub(super) fn collectors(&self, args: &OutputArgs) -> Result<Option<Box<dyn Output>>, String> {
        let Some(config) = args.collectors() else {
            return Ok(None);
        };
        let (handle, ending) = (self.runtime.handle().clone(), self.ending());
        let own = self.sockets.as_ref().map(Sockets::own).unwrap_or_default();
        let start = async { Collectors::start(config, own, args.timeout, handle, ending) };
        let collectors = self.runtime.block_on(start);
        let collectors = collectors.map_err(|error| error.to_string())?;
        Ok(Some(Box::new(collectors)))
    }

    /// Runs the sockets in separate threads. Returns the queue of the listeners, if there are any.
    ///
    /// # Errors
    /// If the system cannot start another thread.
    pub(super) fn run(
        self,
        to: SyncSender<Batch>,
        account: &Arc<Account>,
    ) -> io::Result<(Running, Option<Arc<Queues>>)> {
        let Self {
            runtime,
            signals,
            sockets,
            stop,
            ending,
            sockets_ended,
            reopeners,
        } = self;
        let queues = sockets.as_ref().map(|sockets| Arc::clone(sockets.queues()));
        if let Some(queues) = queues.clone() {
            let handle = runtime.handle().clone();
            thread::Builder::new()
                .name("sockets".to_owned())
                .spawn(move || input::forward(&handle, &queues, &to, &sockets_ended))?;
        }
        let (end, ended) = oneshot::channel();
        let account = Arc::clone(account);
        let thread = thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let watch = watch_signals(signals, stop.clone(), ending.clone(), reopeners);
                    let watch = tokio::spawn(watch);
                    if let Some(sockets) = sockets {
                        sockets.serve(stop, ending.hurry, account).await;
                    }
                    // The wait also ends if the other half of this channel is dropped without a message.
                    let _ = ended.await;
                    watch.abort();
                });
                // Does not wait for a name lookup that hangs.
                runtime.shutdown_background();
            })?;
        Ok((Running { end, thread }, queues))
    }
}

// === impl Running ===

impl Running {
    /// Ends the runtime, after the outputs have finished.
    pub(super) fn end(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

/// Handles signals. The first signal stops the inputs, the second ends the drains immediately, and the third ends the
/// process. If the inputs have stopped already, the first signal acts as the second.
async fn watch_signals(
    mut signals: Signals<Asked>,
    stop: CancellationToken,
    ending: Ending,
    reopeners: Reopeners,
) {
    loop {
        if signals.next().await == Asked::Reopen {
            let flags = reopeners.lock();
            flags.iter().for_each(|flag| flag.store(true, Relaxed));
        } else if ending.hurry.is_cancelled() {
            process::exit(FAILED.into());
        } else if stop.is_cancelled() {
            ending.asked.cancel();
            ending.hurry.cancel();
        } else {
            ending.asked.cancel();
            stop.cancel();
        }
    }
}
