//! A file that is written like a connection to a collector: it is a service that takes batches.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    error::FileError,
    writer::{Answer, Writer},
};
use crate::{
    health::{Disconnect, Event, Reporter},
    sink::{Outgoing, Shipment, SinkError, abort::Abort, connection::STALL},
};

/// A file to which START has been written.
///
/// A batch is written completely or not at all. There is one request at a time, as with a
/// [`Connection`](crate::sink::Connection). If a response is dropped before it is ready, the file ends.
#[derive(Debug)]
pub(crate) struct FileConnection {
    writer: Writer,
    /// The reason why the file ended. Empty as long as it can be written.
    ended: Arc<OnceLock<Arc<Disconnect>>>,
    /// The longest time for the write of one batch, and for completing the file.
    deadline: Duration,
    status: Reporter,
    abort: CancellationToken,
}

/// The response of a [`FileConnection`]. It becomes ready when the request is complete.
#[derive(Debug)]
pub(crate) struct FileWrite {
    answer: Answer,
    work: Work,
    ended: Arc<OnceLock<Arc<Disconnect>>>,
    begun: Instant,
    deadline: Duration,
    /// The timer of the wait for the file system. The timer ends twice: first when the wait counts as a stall, and then
    /// at the deadline.
    timer: Option<Pin<Box<Sleep>>>,
    stalled: bool,
    status: Reporter,
    abort: Abort,
    done: bool,
}

#[derive(Debug)]
enum Work {
    /// The write of a batch. If it succeeds, the frames count as delivered. If it fails, they return to the queue.
    Frames(Option<Shipment>),
    Finish,
}

// === impl FileConnection ===

impl FileConnection {
    pub(super) fn new(
        writer: Writer,
        deadline: Duration,
        status: Reporter,
        abort: CancellationToken,
    ) -> Self {
        Self {
            writer,
            ended: Arc::default(),
            deadline,
            status,
            abort,
        }
    }
}

impl Service<Outgoing> for FileConnection {
    type Response = ();
    type Error = SinkError;
    type Future = FileWrite;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        Poll::Ready(match self.ended.get() {
            Some(cause) => Err(Arc::clone(cause).into()),
            None => Ok(()),
        })
    }

    fn call(&mut self, request: Outgoing) -> FileWrite {
        let (answer, work) = match request {
            Outgoing::Frames(shipment) => {
                let answer = self.writer.write(shipment.chunks().clone());
                (answer, Work::Frames(Some(shipment)))
            }
            Outgoing::Finish => (self.writer.finish(), Work::Finish),
        };
        FileWrite {
            answer,
            work,
            ended: Arc::clone(&self.ended),
            begun: Instant::now(),
            deadline: self.deadline,
            timer: None,
            stalled: false,
            status: self.status.clone(),
            abort: Abort::new(self.abort.clone()),
            done: false,
        }
    }
}

// === impl FileWrite ===

impl Future for FileWrite {
    type Output = Result<(), SinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let result = ready!(this.poll_answer(cx));
        this.done = true;
        let result = result.map_err(|cause| this.end(cause));
        match &mut this.work {
            Work::Finish => drop(this.end(Disconnect::Stopped)),
            Work::Frames(shipment) => {
                let shipment = shipment.take();
                if let Some(shipment) = shipment.filter(|_| result.is_ok()) {
                    shipment.settle_all();
                }
            }
        }
        Poll::Ready(result.map_err(SinkError::from))
    }
}

impl FileWrite {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Disconnect>> {
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(cx) {
            return Poll::Ready(outcome(answer.ok()));
        }
        let late = self.poll_deadline(cx);
        let aborted = self.abort.poll(cx);
        if late.is_pending() && aborted.is_pending() {
            return Poll::Pending;
        }
        // The thread may send its answer at this very moment. After `close` it can no longer send the answer, so it
        // notices that the sink has given up the batch, and removes the batch from the file.
        self.answer.close();
        match self.answer.try_recv() {
            Ok(answer) => Poll::Ready(outcome(Some(answer))),
            Err(oneshot::error::TryRecvError::Closed | oneshot::error::TryRecvError::Empty) => {
                Poll::Ready(Err(match self.work {
                    Work::Finish => Disconnect::FileUnfinished(self.begun.elapsed()),
                    Work::Frames(_) if late.is_ready() => Disconnect::FileStalled(self.deadline),
                    Work::Frames(_) => Disconnect::Aborted,
                }))
            }
        }
    }

    /// Becomes ready when the file system has not answered for too long. Counts a stall after one second.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (begun, deadline) = (self.begun, self.deadline);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(begun + STALL.min(deadline))));
        loop {
            ready!(timer.as_mut().poll(cx));
            if begun.elapsed() >= deadline {
                return Poll::Ready(());
            }
            if let (false, Work::Frames(_)) = (self.stalled, &self.work) {
                self.stalled = true;
                self.status.report(&Event::Stalled);
            }
            timer.as_mut().reset(begun + deadline);
        }
    }

    /// Records `cause` as the reason why the file ended, unless a reason is already recorded. Returns the recorded
    /// reason.
    fn end(&self, cause: Disconnect) -> Arc<Disconnect> {
        Arc::clone(self.ended.get_or_init(|| Arc::new(cause)))
    }
}

impl Drop for FileWrite {
    fn drop(&mut self) {
        if !self.done {
            self.end(Disconnect::Aborted);
        }
    }
}

/// Returns the outcome of a job. If the thread gave no answer, it has panicked.
fn outcome(answer: Option<Result<(), FileError>>) -> Result<(), Disconnect> {
    let result = answer.unwrap_or(Err(FileError::Fault));
    result.map_err(|error| Disconnect::File(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;

    use super::*;
    use crate::{
        frame_stream::Chunk,
        router::Queue,
        sink::file::writer::{Job, Writer},
    };

    /// Returns a connection without a thread. The test answers the jobs of this connection.
    fn connection() -> (FileConnection, std::sync::mpsc::Receiver<Job>, Reporter) {
        let (jobs, work) = std::sync::mpsc::sync_channel(1);
        let status = Reporter::new("files".into());
        let deadline = Duration::from_secs(30);
        let abort = CancellationToken::new();
        let connection = FileConnection::new(Writer(jobs), deadline, status.clone(), abort);
        (connection, work, status)
    }

    /// Returns a request to write two frames, and the queue of these frames.
    fn frames() -> (Outgoing, Arc<Queue>) {
        let chunk = Chunk::from_wire(b"\0\0\0\x01a\0\0\0\x01b".as_slice().into());
        let (shipment, queue) = Shipment::of(&[chunk.expect("two frames")]);
        (Outgoing::Frames(shipment), queue)
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_that_hangs_is_a_stall_and_then_the_end() {
        let (mut connection, work, status) = connection();
        let (frames, queue) = frames();
        let mut write = spawn(connection.call(frames));
        assert!(write.poll().is_pending());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(write.is_woken() && write.poll().is_pending());
        assert_eq!(status.watch().borrow().write_stalls, 1);
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(write.is_woken());
        let Poll::Ready(Err(error)) = write.poll() else {
            panic!("the deadline has passed");
        };
        assert_eq!(error.cause.label(), "write_timeout");
        assert_eq!(queue.ledger().queued, 2);
        let ready = std::future::poll_fn(|cx| connection.poll_ready(cx)).await;
        assert!(ready.is_err());
        // The frames will be written again to another file. The thread must notice this.
        let Ok(Job::Write(_, answer)) = work.try_recv() else {
            panic!("a batch");
        };
        assert!(answer.send(Ok(())).is_err(), "nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_with_the_deadline_counts() {
        let (mut connection, work, _) = connection();
        let (frames, queue) = frames();
        let mut write = spawn(connection.call(frames));
        assert!(write.poll().is_pending());
        tokio::time::advance(Duration::from_secs(31)).await;
        let Ok(Job::Write(_, answer)) = work.try_recv() else {
            panic!("a batch");
        };
        answer.send(Ok(())).expect("awaited");
        assert!(matches!(write.poll(), Poll::Ready(Ok(()))));
        let ledger = queue.ledger();
        assert_eq!((ledger.delivered, ledger.delivered_bytes), (2, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_end_in_time_is_left_to_its_thread() {
        let (mut connection, work, _) = connection();
        let mut finish = spawn(connection.call(Outgoing::Finish));
        assert!(finish.poll().is_pending());
        tokio::time::advance(Duration::from_secs(31)).await;
        let Poll::Ready(Err(error)) = finish.poll() else {
            panic!("the deadline has passed");
        };
        assert!(
            matches!(*error.cause, Disconnect::FileUnfinished(_)),
            "{error}"
        );
        assert!(matches!(work.try_recv(), Ok(Job::Finish(_))));
    }

    #[tokio::test]
    async fn a_cut_request_and_a_lost_thread_end_the_connection() {
        let (mut connection, work, _) = connection();
        drop(connection.call(frames().0));
        let cause = connection.ended.get().map(|cause| cause.label());
        assert_eq!(cause, Some("aborted"));
        drop(work);
        let (mut connection, work, _) = self::connection();
        drop(work);
        let error = connection.call(frames().0).await.expect_err("no thread");
        assert!(error.to_string().contains("bug"), "{error}");
    }
}
