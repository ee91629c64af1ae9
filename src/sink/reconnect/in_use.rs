//! The connection that takes the requests, and what is to replace it: make before break.

use std::{
    future::{Future, pending},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::AbortOnDropHandle;
use tower::Service;

use super::{Attempt, Established, pass_on};
use crate::sink::{Backoff, ConnectError, Disconnect, Reporter};

/// The connection that takes the requests.
pub(super) struct InUse<M: Service<()>> {
    pub(super) made: M::Response,
    /// Since when there has been one without a gap.
    pub(super) since: Instant,
    renewal: Renewal<M>,
    /// For what is to replace it.
    backoff: Backoff,
}

/// How far the replacing of a connection has come.
enum Renewal<M: Service<()>> {
    /// There is no reason yet.
    Due(Pin<Box<dyn Future<Output = Disconnect> + Send>>),
    /// Another is being made, for this reason.
    Pending(Attempt<M>, Disconnect),
    /// None could be made.
    Waiting(Pin<Box<Sleep>>),
}

// === impl InUse ===

impl<M, C> InUse<M>
where
    M: Service<(), Response = Established<C>, Error = ConnectError>,
    M::Future: Send + 'static,
    C: Send + 'static,
{
    pub(super) fn new(made: Established<C>, since: Instant) -> Self {
        Self {
            renewal: Renewal::Due(Box::pin(made.term.over())),
            made,
            since,
            backoff: Backoff::new(),
        }
    }

    /// Ready with a connection that is to replace this one.
    pub(super) fn poll_renewal(
        &mut self,
        connect: &mut M,
        status: &Reporter,
        cx: &mut Context<'_>,
    ) -> Poll<Established<C>> {
        loop {
            self.renewal = match &mut self.renewal {
                Renewal::Due(due) => {
                    let able = ready!(connect.poll_ready(cx));
                    let reason = ready!(due.as_mut().poll(cx));
                    match able {
                        Ok(()) => Renewal::Pending(beside(connect.call(())), reason),
                        Err(error) => wait(&mut self.backoff, &error, &reason, status),
                    }
                }
                Renewal::Pending(attempt, reason) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(made) => {
                        status.renewed(&made.endpoint, reason);
                        return Poll::Ready(made);
                    }
                    Err(error) => wait(&mut self.backoff, &error, reason, status),
                },
                Renewal::Waiting(delay) => {
                    ready!(delay.as_mut().poll(cx));
                    // The reason may be gone: the name may lead here again.
                    Renewal::Due(Box::pin(self.made.term.over()))
                }
            }
        }
    }

    /// Puts `made` in its place, and gives what was there.
    pub(super) fn replace(&mut self, made: Established<C>) -> Established<C> {
        let new = Self::new(made, self.since);
        mem::replace(self, new).made
    }

    /// The connection that was being made to replace this one.
    pub(super) fn begun(self) -> Option<Attempt<M>> {
        match self.renewal {
            Renewal::Pending(attempt, _) => Some(attempt),
            Renewal::Due(_) | Renewal::Waiting(_) => None,
        }
    }

    /// It is the last one.
    pub(super) fn give_up_renewal(&mut self) {
        self.renewal = Renewal::Due(Box::pin(pending()));
    }
}

fn wait<M: Service<()>>(
    backoff: &mut Backoff,
    error: &ConnectError,
    reason: &Disconnect,
    status: &Reporter,
) -> Renewal<M> {
    let delay = backoff.next_delay();
    status.not_renewed(error, reason, delay);
    Renewal::Waiting(Box::pin(sleep(delay)))
}

/// Has an attempt go on in a task of its own: while a collector takes its time with a request nobody polls the service,
/// but the one that is being connected to does not wait.
fn beside<T: Send + 'static>(
    attempt: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let attempt = AbortOnDropHandle::new(tokio::spawn(attempt));
    Box::pin(async {
        match attempt.await {
            Ok(outcome) => outcome,
            Err(error) => {
                pass_on::<()>(Err(error));
                // The runtime is going down, and this with it.
                pending().await
            }
        }
    })
}
