//! The queue of log lines for stderr. Its size is limited in bytes: if the reader of stderr stops reading, only log
//! lines are lost.

use std::{
    io,
    sync::{
        Arc, Condvar, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::lock::Mutex;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Whole lines on their way from the threads that log to the writer's thread.
///
/// [`push`](Self::push) never waits for the writer: a line that does not fit is dropped and counted.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<Inner>,
    /// Wakes the writer when there are lines.
    filled: Condvar,
    /// Wakes the threads that wait in [`flush`](Self::flush) after bytes have been written.
    written: Condvar,
    /// The number of lines lost so far.
    pub(super) lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Vec<u8>,
    /// True while the writer holds lines that are not written yet.
    writing: bool,
    /// The number of writes so far. If it grows, a thread in `flush` knows that the writer makes progress.
    steps: u64,
}

/// The queue as a `tracing_subscriber` writer.
#[derive(Debug, Clone)]
pub(super) struct Lines(pub(super) Arc<Queue>);

/// The writer of one event.
#[derive(Debug)]
pub(super) struct Line<'a> {
    queue: &'a Queue,
    limit: usize,
}

// === impl Queue ===

impl Queue {
    /// The limit of queued bytes. The writer can hold the same number of bytes in addition. The limit is enough for
    /// about 5,000 lines, a burst that a healthy reader reads within a moment.
    const LIMIT: usize = 1 << 20;
    /// Bytes in addition to the limit that are reserved for the log's own reports of lost lines.
    const RESERVED: usize = 16 << 10;
    /// The largest capacity in bytes that a buffer keeps between batches.
    const KEPT: usize = 64 << 10;

    /// Queues whole lines, or counts them as lost if they do not fit.
    pub(super) fn push(&self, lines: &[u8]) {
        self.push_within(Self::LIMIT, lines);
    }

    fn push_within(&self, limit: usize, lines: &[u8]) {
        let mut state = self.state.lock();
        if state.waiting.len() + lines.len() > limit {
            drop(state);
            self.lose(lines);
            return;
        }
        state.waiting.extend_from_slice(lines);
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn lose(&self, lines: &[u8]) {
        let lines = lines.split_inclusive(|byte| *byte == b'\n').count();
        self.lost.fetch_add(lines as u64, Relaxed);
    }

    /// Waits for lines and moves them to `batch`, which must be empty. If the deadline passes first, `batch` stays
    /// empty. Only the writer calls this.
    pub(super) fn take(&self, batch: &mut Vec<u8>, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        state.writing = false;
        self.written.notify_all();
        while state.waiting.is_empty() {
            state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return,
                Some(left) => {
                    let woken = self.filled.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        if batch.capacity() > Self::KEPT {
            *batch = Vec::new();
        }
        std::mem::swap(&mut state.waiting, batch);
        state.writing = true;
    }

    /// Records that stderr took a part of the batch. Only the writer calls this.
    pub(super) fn step(&self) {
        self.state.lock().steps += 1;
        self.written.notify_all();
    }

    /// Waits until every line is written. Gives up after the time `idle` without progress, or after `most` in total. Returns
    /// whether all lines were written.
    pub(super) fn flush(&self, idle: Duration, most: Duration) -> bool {
        let end = Instant::now() + most;
        let mut state = self.state.lock();
        let (mut steps, mut patience) = (state.steps, Instant::now() + idle);
        while state.writing || !state.waiting.is_empty() {
            let now = Instant::now();
            if state.steps != steps {
                (steps, patience) = (state.steps, now + idle);
            }
            let left = patience.min(end).saturating_duration_since(now);
            if left.is_zero() {
                return false;
            }
            let woken = self.written.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

// === impl Lines ===

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            queue: &self.0,
            limit: Queue::LIMIT,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let reserved = if metadata.target() == super::writer::TARGET {
            Queue::RESERVED
        } else {
            0
        };
        Line {
            queue: &self.0,
            limit: Queue::LIMIT + reserved,
        }
    }
}

// === impl Line ===

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push_within(self.limit, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn lost(queue: &Queue) -> u64 {
        queue.lost.load(Relaxed)
    }

    #[test]
    fn lines_that_do_not_fit_are_lost_and_counted() {
        let queue = Queue::default();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..1024 {
            queue.push(&line);
        }
        assert_eq!(lost(&queue), 0);
        queue.push(b"one\ntwo\n");
        assert_eq!(lost(&queue), 2);
        let mut batch = Vec::new();
        queue.take(&mut batch, None);
        assert_eq!(batch, line.repeat(1024), "the oldest stay");
        queue.push(b"three\n");
        batch.clear();
        queue.take(&mut batch, None);
        assert_eq!(batch, b"three\n");
        assert_eq!(lost(&queue), 2);
    }

    #[test]
    fn reports_of_lost_lines_fit_into_a_full_queue() {
        let queue = Queue::default();
        queue.push(&vec![b'\n'; Queue::LIMIT]);
        queue.push_within(Queue::LIMIT + Queue::RESERVED, b"lost\n");
        assert_eq!(lost(&queue), 0);
        queue.push(b"other\n");
        assert_eq!(lost(&queue), 1);
    }

    #[test]
    fn a_flush_waits_for_the_writer_but_not_for_ever() {
        let queue = Queue::default();
        assert!(queue.flush(LONG, LONG), "nothing to write");
        queue.push(b"line\n");
        assert!(!queue.flush(Duration::ZERO, LONG), "it waits");
        let mut batch = Vec::new();
        queue.take(&mut batch, None);
        assert!(!queue.flush(LONG, Duration::ZERO), "it is being written");
        thread::scope(|scope| {
            scope.spawn(|| {
                batch.clear();
                queue.take(&mut batch, None);
            });
            assert!(queue.flush(LONG, LONG), "it is written");
            queue.push(b"more\n");
        });
    }

    #[test]
    fn take_waits_for_lines_until_its_deadline() {
        let (queue, mut batch) = (Queue::default(), Vec::new());
        queue.take(&mut batch, Some(Instant::now()));
        assert!(batch.is_empty());
        thread::scope(|scope| {
            scope.spawn(|| queue.push(b"line\n"));
            queue.take(&mut batch, Some(Instant::now() + LONG));
        });
        assert_eq!(batch, b"line\n");
    }
}
