//! Cancellation of a sink's requests when the sink must end immediately.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A cancellation token that a waiting request polls.
#[derive(Debug)]
pub(super) struct Abort {
    token: CancellationToken,
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

// === impl Abort ===

impl Abort {
    pub(super) fn new(token: CancellationToken) -> Self {
        Self {
            token,
            waiting: None,
        }
    }

    /// Becomes ready when the token is cancelled.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Checks the flag first. tokio limits how much a task does in one turn. If this task has reached the limit, the
        // future below is pending although the token is cancelled, and nothing might poll the task again.
        if self.token.is_cancelled() {
            return Poll::Ready(());
        }
        let token = &self.token;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
        waiting.as_mut().poll(cx)
    }
}
