//! Keeps the ledger: what went out is settled with the queue, whatever became of the request.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
};

use tower::{Layer, Service};

use super::{Outgoing, SinkError};
use crate::router::{Progress, Queue};

/// Settles every batch with the queue it was taken from: delivered frames and their latency are counted, the rest
/// goes back to the queue's front. Also when the response is dropped before it is there: then nothing of it counts,
/// and if that is because writing it panics, a connection has died within it.
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
    queue: Arc<Queue>,
}

/// Wraps a sink's service in [`Observe`].
#[derive(Debug, Clone)]
pub struct ObserveLayer {
    queue: Arc<Queue>,
}

/// The response of [`Observe`].
#[derive(Debug)]
pub struct Response<F> {
    inner: F,
    /// Taken once settled; `None` from the start if there is nothing to settle.
    queue: Option<Arc<Queue>>,
}

// === impl ObserveLayer ===

impl ObserveLayer {
    /// A layer whose service settles with `queue`.
    pub fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            inner,
            queue: Arc::clone(&self.queue),
        }
    }
}

// === impl Observe ===

impl<S> Service<Outgoing> for Observe<S>
where
    S: Service<Outgoing, Response = Progress, Error = SinkError>,
    S::Future: Unpin,
{
    type Response = Progress;
    type Error = SinkError;
    type Future = Response<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Outgoing) -> Self::Future {
        let queue = matches!(request, Outgoing::Frames(_)).then(|| Arc::clone(&self.queue));
        Response {
            inner: self.inner.call(request),
            queue,
        }
    }
}

// === impl Response ===

impl<F> Future for Response<F>
where
    F: Future<Output = Result<Progress, SinkError>> + Unpin,
{
    type Output = Result<Progress, SinkError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.inner).poll(cx));
        if let Some(queue) = self.queue.take() {
            queue.settle(match &result {
                Ok(progress) => *progress,
                Err(error) => error.progress,
            });
        }
        Poll::Ready(result)
    }
}

impl<F> Drop for Response<F> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.settle(Progress {
                cut: thread::panicking(),
                ..Progress::default()
            });
        }
    }
}
