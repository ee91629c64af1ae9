//! The connection to which a sink writes, and the replacement of this connection. The new connection is made before the
//! old one ends.

use std::{
    future::{Future, pending},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::AbortOnDropHandle;
use tower::Service;

use super::{Attempt, Established, Outcome, pass_on};
use crate::{
    health::{Disconnect, Event, Reporter},
    sink::{Backoff, ConnectError},
};

/// The connection to which the sink writes.
pub(super) struct InUse<M: Service<()>> {
    pub(super) made: M::Response,
    /// The time since which the sink has had a connection without interruption. The replacement of a connection is not
    /// an interruption.
    pub(super) since: Instant,
    renewal: Renewal<M>,
    /// The delays after failed attempts to replace the connection.
    backoff: Backoff,
}

/// The state of the replacement of a connection.
enum Renewal<M: Service<()>> {
    /// Waiting for a reason to replace the connection.
    Due(Pin<Box<dyn Future<Output = Disconnect> + Send>>),
    /// Connecting the new connection. The second field is the reason for the replacement.
    Pending(Beside<Outcome<M>>, Disconnect),
    /// Waiting after a failed attempt to connect.
    Waiting(Pin<Box<Sleep>>),
}

/// A connection attempt that runs in its own task. A request to a slow collector can take long, and the service is not
/// polled in that time; in its own task, the handshake of the new connection continues. Dropping this value ends the
/// attempt.
pub(super) struct Beside<T>(AbortOnDropHandle<T>);

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

    /// Checks whether this connection must be replaced, and makes a new connection if so. Becomes ready when the new
    /// connection is established, and returns it.
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
                        Ok(()) => Renewal::Pending(Beside::start(connect.call(())), reason),
                        Err(error) => wait(&mut self.backoff, &error, &reason, status),
                    }
                }
                Renewal::Pending(attempt, reason) => match ready!(Pin::new(attempt).poll(cx)) {
                    Ok(made) => {
                        let endpoint = &made.endpoint;
                        status.report(&Event::Renewed { endpoint, reason });
                        return Poll::Ready(made);
                    }
                    Err(error) => wait(&mut self.backoff, &error, reason, status),
                },
                Renewal::Waiting(delay) => {
                    ready!(delay.as_mut().poll(cx));
                    // The reason may be gone: meanwhile, the name may resolve to the connection's address again.
                    Renewal::Due(Box::pin(self.made.term.over()))
                }
            }
        }
    }

    /// Puts the connection `made` into use, and returns the old connection.
    pub(super) fn replace(&mut self, made: Established<C>) -> Established<C> {
        let new = Self::new(made, self.since);
        mem::replace(self, new).made
    }

    /// Returns the attempt to replace this connection. `None` if no attempt is in progress.
    pub(super) fn begun(self) -> Option<Attempt<M>> {
        match self.renewal {
            Renewal::Pending(attempt, _) => Some(Box::pin(attempt)),
            Renewal::Due(_) | Renewal::Waiting(_) => None,
        }
    }

    /// Stops the replacement, because the sink will not use another connection. Returns the attempt that is in
    /// progress, if any.
    pub(super) fn give_up_renewal(&mut self) -> Option<Beside<Outcome<M>>> {
        let never = Renewal::Due(Box::pin(pending()));
        match mem::replace(&mut self.renewal, never) {
            Renewal::Pending(attempt, _) => Some(attempt),
            Renewal::Due(_) | Renewal::Waiting(_) => None,
        }
    }
}

fn wait<M: Service<()>>(
    backoff: &mut Backoff,
    error: &ConnectError,
    reason: &Disconnect,
    status: &Reporter,
) -> Renewal<M> {
    let delay = backoff.next_delay().max(error.least_delay());
    status.report(&Event::NotRenewed {
        attempt: &error.as_failed(),
        reason,
        delay,
    });
    Renewal::Waiting(Box::pin(sleep(delay)))
}

// === impl Beside ===

impl<T: Send + 'static> Beside<T> {
    fn start(attempt: impl Future<Output = T> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(attempt)))
    }
}

impl<C: Send + 'static> Beside<Result<Established<C>, ConnectError>> {
    /// Aborts the attempt. If the attempt has already succeeded, returns the new connection. START was sent on this
    /// connection, so the caller must send STOP.
    pub(super) async fn stop(self) -> Option<Established<C>> {
        self.0.abort();
        pass_on(self.0.await)?.ok()
    }
}

impl<T> Future for Beside<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // The task of the attempt has no output only if the runtime is shutting down. In that case, the current task
        // will end, too.
        pass_on(ready!(Pin::new(&mut self.0).poll(cx))).map_or(Poll::Pending, Poll::Ready)
    }
}
