//! Readings with a deadline.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime, select,
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

use super::progress::Progress;

/// Reads files on threads of its own, and gives a reading up when one file does not answer.
///
/// A thread that hangs cannot be ended. It is left behind, and ends with its file or with the process; no more than
/// [`THREADS`](Self::THREADS) of them hang at a time.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    threads: Arc<Semaphore>,
    answered: Arc<Notify>,
}

/// The reason for which a reading gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// One file, or one question of another kind, did not answer in time.
    #[error("{name} did not answer within {}s; is its file system mounted, and does it respond?", within.as_secs())]
    Silent {
        /// The file.
        name: String,
        /// How long it was given.
        within: Duration,
    },
    /// Readings before it hang still.
    #[error("{0} earlier reads have not returned yet; is a file system hanging?")]
    Crowded(usize),
    /// No thread could be started for it.
    #[error("no thread can be started to read files: {0}")]
    Thread(io::Error),
    /// Its thread panicked.
    #[error("the thread that reads files ended by a fault of tapfan's own; please report it")]
    Fault,
}

/// The time that one file may take. A file system that fails over needs some seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// After this time a log line says which file is waited for.
const TELL: Duration = Duration::from_secs(1);

/// The time between two looks at the thread.
const LOOK: Duration = Duration::from_millis(100);

// === impl Reader ===

impl Reader {
    /// Threads that may hang at a time: enough to try again a few times, after the Tapfile has been changed.
    const THREADS: usize = 4;

    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(Self::THREADS)),
            answered: Arc::default(),
        }
    }

    /// Does `work`, which reads files, on another thread. The deadline is for each file, not for all of them.
    ///
    /// Should this future be dropped, or its deadline pass, then the thread goes on by itself, and what it reads is lost.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let Ok(permit) = Arc::clone(&self.threads).try_acquire_owned() else {
            return Err(Unanswered::Crowded(Self::THREADS));
        };
        let progress = Arc::new(Progress::default());
        let (answer, answered) = oneshot::channel();
        let (of_thread, late) = (Arc::clone(&progress), Arc::clone(&self.answered));
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
        wait(answered, &progress).await
    }

    /// Waits until a reading that was given up has ended after all. Cancel safe.
    pub(crate) async fn answered_late(&self) {
        self.answered.notified().await;
    }
}

/// Reads files with the deadline of a [`Reader`], and blocks meanwhile. For commands that do nothing else.
///
/// # Errors
/// See [`Unanswered`].
pub(crate) fn read_in_time<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(Unanswered::Thread)?;
    runtime.block_on(Reader::new().read(work))
}

async fn wait<T>(mut answered: oneshot::Receiver<T>, progress: &Progress) -> Result<T, Unanswered> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The number of the wait, when it was seen first, and whether a log line has named it.
    let mut seen = (0, Instant::now(), false);
    loop {
        select! {
            biased;
            answer = &mut answered => return answer.map_err(|_| Unanswered::Fault),
            _ = looks.tick() => {}
        }
        let Some((number, name)) = progress.current() else {
            continue;
        };
        let (last, since, told) = seen;
        if last != number {
            seen = (number, Instant::now(), false);
        } else if since.elapsed() >= DEADLINE {
            let within = DEADLINE;
            return Err(Unanswered::Silent { name, within });
        } else if !told && since.elapsed() >= TELL {
            warn!(file = %name, deadline = ?DEADLINE, "waiting for a file that does not answer");
            seen = (number, since, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{super::waiting_for, *};

    /// A file that answers when a message comes.
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
        let progress = Arc::new(Progress::default());
        let (answer, answered) = oneshot::channel();
        let begun = Instant::now();
        let slow = async {
            for file in 0..5 {
                progress.change(Some(format!("/{file}")));
                tokio::time::sleep(DEADLINE * 9 / 10).await;
            }
            answer.send("all").expect("somebody waits");
        };
        let (read, ()) = tokio::join!(wait(answered, &progress), slow);
        assert_eq!(read.expect("answers"), "all");
        assert!(begun.elapsed() > 4 * DEADLINE);

        let (_answer, answered) = oneshot::channel::<()>();
        progress.change(Some("/last".into()));
        let begun = Instant::now();
        let error = wait(answered, &progress).await.expect_err("no answer");
        assert!(error.to_string().starts_with("/last "), "{error}");
        assert!(begun.elapsed() < DEADLINE + 3 * LOOK);
    }

    #[tokio::test(start_paused = true)]
    async fn threads_that_hang_are_few_and_count_until_they_end() {
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
