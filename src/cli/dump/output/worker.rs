//! The thread of an output, and its input queue.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{
            Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, TrySendError, channel,
            sync_channel,
        },
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Ending, Output, OutputError,
    patience::{self, Patience},
};
use crate::cli::dump::{
    account::{Account, OutputAccount, complain},
    batch::Batch,
};

/// The thread of an output, and its input queue.
#[derive(Debug)]
pub(in crate::cli::dump) struct Worker {
    queue: SyncSender<Arc<Batch>>,
    thread: JoinHandle<()>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    account: Arc<OutputAccount>,
    run: Arc<Account>,
    /// Detects that the output is stuck. `None` for collectors, because the drain of a collector has its own deadline.
    patience: Option<Patience>,
}

/// The kind of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::dump) enum Kind {
    Stdout,
    File,
    Collectors,
}

/// The error if the output has ended and accepts no more batches.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::dump) struct Refused;

/// The state of the thread of an output.
struct Work {
    output: Box<dyn Output>,
    batches: Receiver<Arc<Batch>>,
    /// Set by SIGHUP: the output must reopen its file.
    reopen: Arc<AtomicBool>,
    account: Arc<OutputAccount>,
    run: Arc<Account>,
    /// Dropped when the thread ends.
    _ended: Sender<()>,
}

/// The largest number of batches in the queue. A batch from a file has at most 64 KiB, and a batch from a socket is the
/// data of one read.
const QUEUE: usize = 64;

/// The longest time until an idle output notices that it must reopen its file.
const ATTENTION: Duration = Duration::from_millis(200);

/// The time between two checks of a full queue.
const PAUSE: Duration = Duration::from_millis(2);

// === impl Worker ===

impl Worker {
    /// Starts the thread. When `reopen` is set, the thread reopens the output's file and clears the flag.
    ///
    /// # Errors
    /// If the system cannot start another thread.
    pub(in crate::cli::dump) fn start(
        (kind, name): (Kind, String),
        output: Box<dyn Output>,
        reopen: Arc<AtomicBool>,
        ending: Ending,
        run: Arc<Account>,
    ) -> io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE);
        let (end, ended) = channel();
        let account = Arc::new(OutputAccount::new(name));
        let patience = match kind {
            Kind::Stdout => Some(patience::STDOUT),
            Kind::File => Some(patience::FILE),
            Kind::Collectors => None,
        };
        let work = Work {
            output,
            batches,
            reopen,
            account: Arc::clone(&account),
            run: Arc::clone(&run),
            _ended: end,
        };
        let thread = thread::Builder::new()
            .name("output".to_owned())
            .spawn(|| work.run())?;
        Ok(Self {
            queue,
            thread,
            ended,
            account,
            run,
            patience: patience.map(|limit| Patience::new(ending, limit)),
        })
    }

    /// Queues `batch`. If the queue is full, a batch from a file waits for room, and a batch from a socket is dropped.
    /// After a signal has asked the program to end, a batch does not wait for an output that is stuck.
    ///
    /// # Errors
    /// If the output has ended. The frames count as dropped.
    pub(in crate::cli::dump) fn offer(&mut self, batch: &Arc<Batch>) -> Result<(), Refused> {
        let sent = loop {
            match self.queue.try_send(Arc::clone(batch)) {
                Err(TrySendError::Full(_)) if batch.may_wait() && !self.is_stuck() => {
                    thread::sleep(PAUSE);
                }
                sent => break sent,
            }
        };
        let Err(error) = sent else {
            self.account.queued.fetch_add(batch.len(), Relaxed);
            return Ok(());
        };
        self.account.dropped.fetch_add(batch.len(), Relaxed);
        match error {
            TrySendError::Full(_) => Ok(()),
            TrySendError::Disconnected(_) => Err(Refused),
        }
    }

    /// Notes in the account that `--limit` ended the input. This must be called before [`finish`](Self::finish).
    pub(in crate::cli::dump) fn cut(&self) {
        self.account.is_cut.store(true, Relaxed);
    }

    /// Waits until all queued frames are written and the output is complete. If the output is stuck, its thread stays
    /// behind and ends with the process.
    pub(in crate::cli::dump) fn finish(mut self) -> Arc<OutputAccount> {
        // Replacing the sender closes the queue. The thread ends after it has taken all batches from the queue.
        self.queue = sync_channel(0).0;
        while self.ended.recv_timeout(ATTENTION) == Err(RecvTimeoutError::Timeout) {
            if self.is_stuck() {
                self.account.is_stuck.store(true, Relaxed);
                self.account.drop_rest();
                let name = &self.account.name;
                complain(format_args!(
                    "{name} takes no more data, so the rest is dropped"
                ));
                return self.account;
            }
        }
        if self.thread.join().is_err() {
            // The panic hook has already reported where the thread panicked.
            self.run.fail(format_args!(
                "cannot write {}: its thread failed because of a bug in tapfan; please report it",
                self.account.name
            ));
            self.account.has_failed.store(true, Relaxed);
        }
        if self.account.has_failed.load(Relaxed) {
            self.account.drop_rest();
        }
        self.account
    }

    fn is_stuck(&mut self) -> bool {
        let progress = self.account.done();
        let patience = self.patience.as_mut();
        patience.is_some_and(|patience| patience.is_over(progress))
    }
}

// === impl Work ===

impl Work {
    fn run(mut self) {
        let ended = self.write_all();
        let ended = ended.and_then(|()| self.output.finish(&self.account));
        match ended {
            Ok(()) => {}
            Err(error) if error.is_closed_pipe() => {
                self.account.is_closed.store(true, Relaxed);
            }
            Err(error) => {
                let name = &self.account.name;
                self.run.fail(format_args!("cannot write {name}: {error}"));
                self.account.has_failed.store(true, Relaxed);
            }
        }
    }

    fn write_all(&mut self) -> Result<(), OutputError> {
        loop {
            if self.reopen.swap(false, Relaxed) {
                self.output.reopen(&self.account)?;
            }
            let batch = match self.batches.try_recv() {
                Ok(batch) => batch,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    self.output.flush(&self.account)?;
                    match self.batches.recv_timeout(ATTENTION) {
                        Ok(batch) => batch,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                }
            };
            self.output.write(&batch, &self.account)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step at which a [`Failing`] output fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Step {
        Write,
        Finish,
    }

    /// A test output that has a buffer for two batches, and that fails at a given step.
    struct Failing {
        /// Closed when the output may begin.
        gate: Receiver<()>,
        at: Step,
        panics: bool,
        batches: u64,
    }

    impl Failing {
        fn pass(&self, step: Step) -> Result<(), OutputError> {
            if step != self.at {
                return Ok(());
            }
            assert!(!self.panics, "as the test wants it");
            Err(io::Error::other("the disk is full").into())
        }
    }

    impl Output for Failing {
        fn write(&mut self, batch: &Batch, account: &OutputAccount) -> Result<(), OutputError> {
            let _ = self.gate.recv();
            self.batches += 1;
            match self.batches {
                1 => Ok(()),
                2 => {
                    account.written.fetch_add(2 * batch.len(), Relaxed);
                    Ok(())
                }
                _ => self.pass(Step::Write),
            }
        }

        fn flush(&mut self, _: &OutputAccount) -> Result<(), OutputError> {
            Ok(())
        }

        fn reopen(&mut self, _: &OutputAccount) -> Result<(), OutputError> {
            Ok(())
        }

        fn finish(self: Box<Self>, _: &OutputAccount) -> Result<(), OutputError> {
            self.pass(Step::Finish)
        }
    }

    #[test]
    fn the_frames_behind_a_failure_are_dropped_and_the_run_has_failed() {
        for (at, panics) in [
            (Step::Write, false),
            (Step::Write, true),
            (Step::Finish, false),
            (Step::Finish, true),
        ] {
            let run = Arc::new(Account::default());
            let (opener, gate) = sync_channel(0);
            let output = Box::new(Failing {
                gate,
                at,
                panics,
                batches: 0,
            });
            let worker = Worker::start(
                (Kind::File, "a file".to_owned()),
                output,
                Arc::default(),
                Ending::default(),
                run.clone(),
            );
            let mut worker = worker.expect("a thread");
            let mut batch = Batch::of_file();
            batch.push(b"one");
            batch.push(b"two");
            let batch = Arc::new(batch);
            for _ in 0..10 {
                worker.offer(&batch).expect("room in the queue");
            }
            drop(opener);
            let account = worker.finish();
            let counts = [&account.queued, &account.written, &account.dropped];
            assert_eq!(
                counts.map(|it| it.load(Relaxed)),
                [20, 4, 16],
                "{at:?} {panics}"
            );
            // The run failed even if the output dropped no frame.
            account.dropped.store(0, Relaxed);
            assert!(!run.is_good(&[&account]), "{at:?} {panics}");
        }
    }
}
