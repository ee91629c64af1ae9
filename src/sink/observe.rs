//! The layer that keeps the ledger: it settles every batch with its queue, after success and after failure.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tower::Service;

use super::{Outgoing, Request, SinkError};
use crate::router::{Progress, Taken};

/// A service that settles every batch with the queue that it came from. The queue counts the delivered frames and their
/// latency, and puts the other frames back at their positions.
///
/// If the response is dropped before it is ready, the batch is settled as if no frame was written. If a panic during
/// the write caused the drop, the frame that was being written also counts as cut by a lost connection.
#[derive(Debug, Clone)]
pub(crate) struct Observe<S> {
    inner: S,
}

#[derive(Debug)]
pub(crate) struct Response<F> {
    inner: F,
    /// The batch to settle. `None` after it is settled, or if the request has no batch.
    taken: Option<Taken>,
}

// === impl Observe ===

impl<S> Observe<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request> for Observe<S>
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

    fn call(&mut self, request: Request) -> Self::Future {
        let (taken, request) = match request {
            Request::Frames(mut taken) => {
                let batch = taken.begin();
                (Some(taken), Outgoing::Frames(batch))
            }
            Request::Finish => (None, Outgoing::Finish),
        };
        Response {
            inner: self.inner.call(request),
            taken,
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
        if let Some(taken) = self.taken.take() {
            taken.settle(match &result {
                Ok(progress) => *progress,
                Err(error) => error.progress,
            });
        }
        Poll::Ready(result)
    }
}
