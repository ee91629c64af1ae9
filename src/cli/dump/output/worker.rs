//! The thread of an output, and its input queue.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Output, OutputError};
use crate::cli::dump::{
    account::{Account, OutputAccount},
    batch::Batch,
};

/// The thread of an output, and its input queue.
#[derive(Debug)]
pub(in crate::cli::dump) struct Worker {
    queue: SyncSender<Arc<Batch>>,
    thread: JoinHandle<()>,
    account: Arc<OutputAccount>,
}

/// The error if the output has ended and accepts no more batches.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::dump) struct Refused;

/// The state of a worker's thread.
struct Work {
    output: Box<dyn Output>,
    batches: Receiver<Arc<Batch>>,
    /// Set by SIGHUP: the output must reopen its file.
    reopen: Arc<AtomicBool>,
    account: Arc<OutputAccount>,
    run: Arc<Account>,
}

/// The largest number of batches in the queue. A batch from a file has at most 64 KiB, and a batch from a socket is the
/// data of one read.
const QUEUE: usize = 64;

/// The longest time until an idle output notices that it must reopen its file.
const ATTENTION: Duration = Duration::from_millis(200);

// === impl Worker ===

impl Worker {
    /// Starts the thread. When `reopen` is set, the thread reopens the output's file and clears the flag.
    ///
    /// # Errors
    /// If the system cannot start another thread.
    pub(in crate::cli::dump) fn start(
        name: String,
        output: Box<dyn Output>,
        reopen: Arc<AtomicBool>,
        run: Arc<Account>,
    ) -> io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE);
        let account = Arc::new(OutputAccount::new(name));
        let work = Work {
            output,
            batches,
            reopen,
            account: Arc::clone(&account),
            run,
        };
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .spawn(|| work.run())?;
        Ok(Self {
            queue,
            thread,
            account,
        })
    }

    /// Queues `batch`. If the queue is full, this waits with frames from a file, and drops frames from a socket.
    ///
    /// # Errors
    /// If the output has ended. The frames count as dropped.
    pub(in crate::cli::dump) fn offer(&self, batch: &Arc<Batch>) -> Result<(), Refused> {
        let sent = if batch.may_wait() {
            let sent = self.queue.send(Arc::clone(batch));
            sent.map_err(|error| TrySendError::Disconnected(error.0))
        } else {
            self.queue.try_send(Arc::clone(batch))
        };
        let Err(error) = sent else { return Ok(()) };
        self.account.dropped.fetch_add(batch.len(), Relaxed);
        match error {
            TrySendError::Full(_) => Ok(()),
            TrySendError::Disconnected(_) => Err(Refused),
        }
    }

    /// Waits until all queued frames are written and the output is complete.
    pub(in crate::cli::dump) fn finish(self) -> Arc<OutputAccount> {
        drop(self.queue);
        // The panic hook has reported a panic of the thread already.
        let _ = self.thread.join();
        self.account
    }
}

// === impl Work ===

impl Work {
    fn run(mut self) {
        let ended = self.write_all();
        let ended = ended.and_then(|()| self.output.finish());
        match ended {
            Ok(last) => self.account.count(last),
            Err(error) if error.is_closed_pipe() => {
                self.account.is_closed.store(true, Relaxed);
            }
            Err(error) => {
                let name = &self.account.name;
                self.run.fail(format_args!("cannot write {name}: {error}"));
            }
        }
    }

    fn write_all(&mut self) -> Result<(), OutputError> {
        loop {
            if self.reopen.swap(false, Relaxed) {
                self.output.reopen()?;
            }
            let batch = match self.batches.try_recv() {
                Ok(batch) => batch,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    self.output.flush()?;
                    match self.batches.recv_timeout(ATTENTION) {
                        Ok(batch) => batch,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                }
            };
            match self.output.write(&batch) {
                Ok(wrote) => self.account.count(wrote),
                Err(error) => {
                    self.account.dropped.fetch_add(batch.len(), Relaxed);
                    return Err(error);
                }
            }
        }
    }
}
