//! Reading of files with a deadline.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime, select,
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

use super::wait::ThreadWait;

/// Reads files on separate threads, and gives up on a file that takes too long.
///
/// A hung thread cannot be stopped. It is abandoned, and ends when its read returns or the process ends. At most
/// [`THREADS`](Self::THREADS) threads exist at a time.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    threads: Arc<Semaphore>,
    answered: Arc<Notify>,
}

/// The reason why a read has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// A read of a file, or another blocking call, did not return in time.
    #[error("{name} did not answer within {}s; is its file system mounted and responding?", within.as_secs())]
    Silent {
        name: String,
        /// The time that was allowed for the read.
        within: Duration,
    },
    /// Too many earlier reads still hang.
    #[error("{0} earlier reads of files have not returned yet; is a file system hanging?")]
    Crowded(usize),
    /// No thread could be started for the read.
    #[error("cannot start a thread to read files: {0}")]
    Thread(io::Error),
    /// The thread of the read panicked.
    #[error("the thread that reads files failed because of a bug in tapfan; please report it")]
    Fault,
}

/// The deadline for reading one file. It is longer than the few seconds that a file system needs for a failover.
const DEADLINE: Duration = Duration::from_secs(10);

/// If a file has not been read after this time, a warning is logged.
const WARN_AFTER: Duration = Duration::from_secs(1);

/// The interval at which the reader checks whether its thread hangs.
const LOOK: Duration = Duration::from_millis(100);

// === impl Reader ===

impl Reader {
    /// The largest number of threads. There may be more than one, so that a changed Tapfile can be read although
    /// earlier reads hang.
    const THREADS: usize = 4;

    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(Self::THREADS)),
            answered: Arc::default(),
        }
    }

    /// Runs `work`, which reads files, on another thread. Each file that `work` reads has its own deadline.
    ///
    /// If this future is dropped or a deadline passes, the thread continues, but its result is lost.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let Ok(permit) = Arc::clone(&self.threads).try_acquire_owned() else {
            return Err(Unanswered::Crowded(Self::THREADS));
        };
        let thread_wait = Arc::new(ThreadWait::default());
        let (answer, answered) = oneshot::channel();
        let (of_thread, late) = (Arc::clone(&thread_wait), Arc::clone(&self.answered));
        thread::Builder::new()
            .name("tapfan-files".into())
            .spawn(move || {
                let read = of_thread.watch(work);
                drop(permit);
                if answer.send(read).is_err() {
                    late.notify_one();
                }
            })
            .map_err(Unanswered::Thread)?;
        watch(answered, &thread_wait).await
    }

    /// Waits until an abandoned thread has ended. The future is cancel safe.
    pub(crate) async fn answered_late(&self) {
        self.answered.notified().await;
    }
}

/// Runs `work` like a [`Reader`] does, but blocks the calling thread. It is for commands that have nothing else to do
/// in that time.
pub(crate) fn read_in_time<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(Unanswered::Thread)?;
    runtime.block_on(Reader::new().read(work))
}

async fn watch<T>(
    mut answered: oneshot::Receiver<T>,
    thread_wait: &ThreadWait,
) -> Result<T, Unanswered> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The number of the current wait for a file, the time at which this wait was first seen, and whether it was logged.
    let mut seen = (0, Instant::now(), false);
    loop {
        select! {
            biased;
            answer = &mut answered => return answer.map_err(|_| Unanswered::Fault),
            _ = looks.tick() => {}
        }
        let Some((number, name)) = thread_wait.current() else {
            continue;
        };
        let (last, since, is_logged) = seen;
        if last != number {
            seen = (number, Instant::now(), false);
        } else if since.elapsed() >= DEADLINE {
            let within = DEADLINE;
            return Err(Unanswered::Silent { name, within });
        } else if !is_logged && since.elapsed() >= WARN_AFTER {
            warn!(file = %name, deadline = ?DEADLINE, "still waiting for the contents of a file");
            seen = (number, since, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{super::waiting_for, *};

    /// Creates a read of a file for tests. The read returns when a message is sent to the returned channel.
    fn reading(name: &'static str) -> (mpsc::Sender<()>, impl FnOnce() + Send) {
        let (answer, answers) = mpsc::channel();
        let work = move || waiting_for(name, || answers.recv()).expect("an answer");
        (answer, work)
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_never_answers_is_named() {
        let (answer, work) = reading("/gone");
        let reader = Reader::new();
        let error = reader.read(work).await.expect_err("no answer");
        let said = error.to_string();
        assert!(
            said.starts_with("/gone did not answer within 10s"),
            "{said}"
        );
        answer.send(()).expect("a thread");
        reader.answered_late().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_for_each_file() {
        let thread_wait = Arc::new(ThreadWait::default());
        let (answer, answered) = oneshot::channel();
        let started = Instant::now();
        let slow = async {
            for file in 0..5 {
                thread_wait.change(Some(format!("/{file}")));
                tokio::time::sleep(DEADLINE * 9 / 10).await;
            }
            answer.send("all").expect("received");
        };
        let (read, ()) = tokio::join!(watch(answered, &thread_wait), slow);
        assert_eq!(read.expect("answers"), "all");
        assert!(started.elapsed() > 4 * DEADLINE);

        let (_answer, answered) = oneshot::channel::<()>();
        thread_wait.change(Some("/last".into()));
        let started = Instant::now();
        let error = watch(answered, &thread_wait).await.expect_err("no answer");
        assert!(error.to_string().starts_with("/last "), "{error}");
        assert!(started.elapsed() < DEADLINE + 3 * LOOK);
    }

    #[tokio::test(start_paused = true)]
    async fn hung_threads_are_limited_and_count_until_they_end() {
        let reader = Reader::new();
        let mut hanging = Vec::new();
        for _ in 0..Reader::THREADS {
            let (answer, work) = reading("/gone");
            reader.read(work).await.expect_err("no answer");
            hanging.push(answer);
        }
        let (_answer, work) = reading("/here");
        let error = reader.read(work).await.expect_err("no thread");
        assert!(
            matches!(error, Unanswered::Crowded(Reader::THREADS)),
            "{error}"
        );
        for answer in hanging {
            answer.send(()).expect("a thread");
            reader.answered_late().await;
        }
        reader.read(|| ()).await.expect("there is room again");
    }

    #[tokio::test]
    async fn a_panic_of_the_thread_is_an_error() {
        let error = Reader::new().read(|| panic!("a fault")).await;
        let error = error.map(|()| unreachable!()).expect_err("a fault");
        assert!(matches!(error, Unanswered::Fault), "{error}");
    }
}
