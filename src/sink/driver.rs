//! The driver of a sink. It takes batches from the queue and passes them to the stack, which writes them.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::debug;

use super::{Outgoing, Shipment, SinkError};
use crate::router::{Queue, Taken};

/// The source of the batches that a driver writes.
pub(crate) trait Source {
    /// Takes the next batch. `None` if no more batches will come. The driver calls this only when the stack is ready,
    /// so no write is in progress.
    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken>>;

    /// Becomes ready when no more batches will come. The driver calls this instead of `poll_take` while the stack is
    /// not ready.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A driver lets the other tasks run after writes of this size, in bytes on the wire.
///
/// A sink that catches up always has another batch, and a fast collector takes it at once. Without a turn for the others,
/// the driver would keep its worker thread until the budget of tokio ends it, which is after 128 writes of 256 KiB. The
/// frames of the other sinks would wait meanwhile, for several milliseconds at each of their steps.
const TURN: usize = 128 << 10;

enum Next {
    Write(Taken),
    /// No more batches will come.
    Finish,
    /// The stack has failed for good, so nothing more can be written.
    Fail(SinkError),
}

/// Takes batches from `source` whenever `stack` is ready, and writes them. Stops when no more batches will come, or
/// when `retire` is cancelled. In the second case, the driver ends the stream, and the next driver writes the remaining
/// batches.
///
/// The driver polls the stack even if there is nothing to write, because the stack notices lost connections and
/// reconnects only when it is polled. A failed write needs no handling here: the stack has returned the unwritten
/// frames to the queue, and the driver takes them again later. The driver passes `Finish` to the stack even while the
/// sink is down, because the stack may still wait for the FINISH of a replaced connection.
///
/// # Errors
/// If the stream did not end cleanly. In that case, the collector may not have stored all frames that were written. Also
/// if the stack fails for good, as a stack does that cannot reconnect. The remaining frames are still in `source` then.
pub(crate) async fn drive<S>(
    mut stack: S,
    source: &impl Source,
    retire: &CancellationToken,
) -> Result<(), SinkError>
where
    S: Service<Outgoing, Response = (), Error = SinkError>,
{
    let mut retired = pin!(retire.cancelled());
    let mut written = 0;
    loop {
        let next = gather(|cx| {
            if retired.as_mut().poll(cx).is_ready() {
                // This poll notices a connection that was lost just now. Without it, STOP would be sent on that
                // connection.
                let _ = stack.poll_ready(cx);
                return Poll::Ready(Next::Finish);
            }
            poll_next(&mut stack, source, cx)
        });
        let request = match next.await {
            Next::Write(taken) => {
                let shipment = Shipment::new(taken);
                let wire = shipment.chunks().iter().map(|chunk| chunk.wire().len());
                written += wire.sum::<usize>();
                Outgoing::Frames(shipment)
            }
            Next::Fail(error) => return Err(error),
            Next::Finish => {
                let ended = stack.call(Outgoing::Finish).await;
                // If the collector did not confirm some frames, these frames are in the queue again. The loop continues
                // with them.
                let is_over = poll_fn(|cx| Poll::Ready(source.poll_end(cx).is_ready())).await;
                if is_over || retire.is_cancelled() {
                    return ended;
                }
                continue;
            }
        };
        if let Err(error) = stack.call(request).await {
            debug!(%error, "a write was not completed, or a stream did not end cleanly");
        }
        if written >= TURN {
            written = 0;
            yield_now().await;
        }
    }
}

/// Waits until `poll` is ready. If `poll` is not ready at the first call, the runtime runs other tasks once before each
/// further call.
///
/// The reason is that an idle consumer is woken by the first connection that receives frames. The runtime would poll
/// the consumer immediately, before other connections that have frames, too. After the other tasks have run, one write
/// sends the frames of all these connections.
pub(super) async fn gather<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut turn = pin!(yield_now());
    let mut waited = false;
    poll_fn(|cx| {
        if waited {
            ready!(turn.as_mut().poll(cx));
            turn.set(yield_now());
        }
        let result = poll(cx);
        waited = result.is_pending();
        result
    })
    .await
}

fn poll_next<S: Service<Outgoing, Error = SinkError>>(
    stack: &mut S,
    source: &impl Source,
    cx: &mut Context<'_>,
) -> Poll<Next> {
    match stack.poll_ready(cx) {
        Poll::Ready(Ok(())) => source
            .poll_take(cx)
            .map(|taken| taken.map_or(Next::Finish, Next::Write)),
        Poll::Ready(Err(error)) => Poll::Ready(Next::Fail(error)),
        Poll::Pending => source.poll_end(cx).map(|()| Next::Finish),
    }
}

impl Source for Arc<Queue> {
    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        Queue::poll_take(self, cx)
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        Queue::poll_end(self, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        future::{Ready, ready},
        pin::Pin,
        time::Duration,
    };

    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::{
        frame_stream::Chunk,
        health::Disconnect,
        router::{DropReason, Limits, Progress},
    };

    /// A stack that returns the answers of a script and records the frames that it wrote. When no answer is left, the
    /// stack is down.
    #[derive(Debug, Default)]
    struct Scripted {
        answers: VecDeque<Result<(), Progress>>,
        written: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    const FINISHED: u8 = b'!';

    impl Service<Outgoing> for Scripted {
        type Response = ();
        type Error = SinkError;
        type Future = Ready<Result<(), SinkError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            if self.answers.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        }

        fn call(&mut self, request: Outgoing) -> Self::Future {
            let mut written = self.written.lock().expect("no panic");
            let (frames, shipment): (Vec<u8>, _) = match request {
                Outgoing::Frames(shipment) => {
                    let frames = shipment.chunks().iter().flat_map(Chunk::frames);
                    (frames.map(|frame| frame[0]).collect(), Some(shipment))
                }
                Outgoing::Finish => (vec![FINISHED], None),
            };
            let answer = self.answers.pop_front().or_else(|| {
                // A stack accepts `Finish` even while it is down.
                (frames == [FINISHED]).then_some(Ok(()))
            });
            let answer = answer.expect("frames only when ready");
            let progress = answer.err().unwrap_or(Progress {
                frames: frames.len(),
                ..Progress::default()
            });
            written.extend(&frames[..progress.frames]);
            if let Some(shipment) = shipment {
                shipment.settle(progress);
            }
            ready(answer.map_err(|_| Arc::new(Disconnect::Closed).into()))
        }
    }

    /// A stack whose connection is lost, and which cannot reconnect.
    struct Lost;

    impl Service<Outgoing> for Lost {
        type Response = ();
        type Error = SinkError;
        type Future = Ready<Result<(), SinkError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            Poll::Ready(Err(Arc::new(Disconnect::Reset).into()))
        }
        fn call(&mut self, _: Outgoing) -> Self::Future {
            panic!("nothing can be written")
        }
    }

    /// A stack that accepts a request and never answers it.
    struct Hangs;

    impl Service<Outgoing> for Hangs {
        type Response = ();
        type Error = SinkError;
        type Future = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: Outgoing) -> Self::Future {
            Box::pin(async move {
                let _request = request;
                std::future::pending().await
            })
        }
    }

    fn queue_of(frames: &[u8]) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(Limits {
            frames: 100,
            bytes: 1 << 20,
        }));
        for frame in frames {
            let mut wire = BytesMut::new();
            wire.put_u32(1);
            wire.put_u8(*frame);
            queue.push(&Chunk::from_wire(wire.freeze()).expect("one frame"));
        }
        queue
    }

    async fn run(
        answers: impl IntoIterator<Item = Result<(), Progress>>,
        queue: &Arc<Queue>,
    ) -> Vec<u8> {
        let written = Arc::default();
        let stack = Scripted {
            answers: answers.into_iter().collect(),
            written: Arc::clone(&written),
        };
        tokio::time::timeout(
            Duration::from_secs(10),
            drive(stack, queue, &CancellationToken::new()),
        )
        .await
        .expect("ends")
        .expect("in order");
        written.lock().expect("no panic").clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_is_emptied_and_the_stream_ended() {
        let queue = queue_of(b"abc");
        queue.close();
        assert_eq!(run([Ok(()), Ok(())], &queue).await, b"abc!");
        assert_eq!(queue.ledger().delivered, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_catches_up_lets_other_tasks_run_between_large_batches() {
        let queue = Arc::new(Queue::new(Limits {
            frames: 100,
            bytes: 16 << 20,
        }));
        for name in *b"abcd" {
            let mut wire = BytesMut::new();
            wire.put_u32(200_000);
            wire.put_bytes(name, 200_000);
            queue.push(&Chunk::from_wire(wire.freeze()).expect("one frame"));
        }
        queue.close();
        let written: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
        let stack = Scripted {
            answers: (0..5).map(|_| Ok(())).collect(),
            written: Arc::clone(&written),
        };
        let driving =
            tokio::spawn(async move { drive(stack, &queue, &CancellationToken::new()).await });
        let mut seen = Vec::new();
        while !driving.is_finished() {
            yield_now().await;
            seen.push(written.lock().expect("no panic").len());
        }
        seen.dedup();
        assert_eq!(seen, [1, 2, 3, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_is_continued_where_it_stopped() {
        let queue = queue_of(b"abcde");
        queue.close();
        let failed = |frames| {
            Err(Progress {
                frames,
                cut: true,
                ..Progress::default()
            })
        };
        assert_eq!(
            run([failed(2), failed(0), failed(1), Ok(()), Ok(())], &queue).await,
            b"abcde!"
        );
        let ledger = queue.ledger();
        assert_eq!(
            (ledger.delivered, ledger.in_flight, ledger.queued),
            (5, 0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_retired_driver_ends_the_stream_and_leaves_the_queue() {
        for answers in [vec![Ok(())], vec![]] {
            let queue = queue_of(b"ab");
            let log = Arc::default();
            let stack = Scripted {
                answers: answers.into(),
                written: Arc::clone(&log),
            };
            let retire = CancellationToken::new();
            retire.cancel();
            let drive = drive(stack, &queue, &retire);
            tokio::time::timeout(Duration::from_secs(10), drive)
                .await
                .expect("ends")
                .expect("in order");
            assert_eq!(*log.lock().expect("no panic"), b"!");
            assert_eq!(queue.ledger().queued, 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_is_down_with_nothing_queued_ends_at_once() {
        let queue = queue_of(b"");
        queue.close();
        assert_eq!(run([], &queue).await, b"!");
    }

    #[tokio::test]
    async fn a_stack_that_fails_for_good_ends_the_driver_and_leaves_the_queue() {
        let queue = queue_of(b"ab");
        let never = CancellationToken::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), drive(Lost, &queue, &never));
        let error = ended.await.expect("ends").expect_err("not in order");
        assert_eq!(error.cause.label(), "reset");
        assert_eq!(queue.ledger().queued, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_returns_its_frames_to_the_queue() {
        let queue = queue_of(b"ab");
        let never = CancellationToken::new();
        let driving = drive(Hangs, &queue, &never);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), driving)
                .await
                .is_err()
        );
        let ledger = queue.ledger();
        assert_eq!(
            (ledger.queued, ledger.in_flight, ledger.delivered),
            (2, 0, 0)
        );
    }

    /// A stack that accepts a request and panics while it writes.
    struct Panics;

    impl Service<Outgoing> for Panics {
        type Response = ();
        type Error = SinkError;
        type Future = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: Outgoing) -> Self::Future {
            Box::pin(async move {
                let _request = request;
                panic!("a panic for the test")
            })
        }
    }

    #[tokio::test]
    async fn a_frame_that_panics_the_sink_every_time_is_dropped() {
        let queue = queue_of(b"ab");
        for _ in 0..3 {
            assert_eq!(queue.ledger().queued, 2);
            let driven = Arc::clone(&queue);
            let driving =
                tokio::spawn(
                    async move { drive(Panics, &driven, &CancellationToken::new()).await },
                );
            assert!(driving.await.expect_err("a fault").is_panic());
        }
        let ledger = queue.ledger();
        assert_eq!(ledger.dropped(DropReason::Disconnected), 1);
        assert_eq!((ledger.queued, ledger.in_flight), (1, 0));
    }
}
