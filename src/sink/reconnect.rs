//! Keeps a sink connected: makes a connection, uses it until it ends, waits, makes the next.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service};

use super::{Backoff, ConnectError, Disconnect, Outgoing, Reporter, SinkError};
use crate::router::Progress;

/// Turns a service that makes connections into one that is always some connection, or pending.
///
/// - `poll_ready` drives everything: attempts, the waits between them, and the check that the connection still
///   lives. It is pending while there is no connection, and it never fails.
/// - `call` never connects. A request that fails is not tried again here: its error says how much of it went out,
///   and the driver, who owns the queue, sends the rest.
/// - The wait grows with the outage ([`Backoff`]), and starts over only after a connection was up for
///   [five seconds](Self::STEADY): a collector that accepts and then closes is down all the same.
pub struct Reconnect<M: Service<()>> {
    connect: M,
    state: Link<M>,
    backoff: Backoff,
    status: Reporter,
}

/// Wraps a service that makes connections in [`Reconnect`].
#[derive(Debug, Clone)]
pub struct ReconnectLayer {
    status: Reporter,
}

enum Link<M: Service<()>> {
    Idle,
    Pending(Pin<Box<M::Future>>),
    Up {
        connection: M::Response,
        since: Instant,
    },
    Waiting(Pin<Box<Sleep>>),
}

/// The response of [`Reconnect`].
#[derive(Debug)]
pub enum Response<F> {
    /// The connection does it.
    Connection(F),
    /// There is no connection, so that nothing was done.
    Down,
}

// === impl ReconnectLayer ===

impl ReconnectLayer {
    /// A layer whose service tells `status` what it does.
    pub fn new(status: Reporter) -> Self {
        Self { status }
    }
}

impl<M: Service<()>> Layer<M> for ReconnectLayer {
    type Service = Reconnect<M>;

    fn layer(&self, connect: M) -> Reconnect<M> {
        Reconnect {
            connect,
            state: Link::Idle,
            backoff: Backoff::new(),
            status: self.status.clone(),
        }
    }
}

// === impl Reconnect ===

impl<M: Service<()>> Reconnect<M> {
    /// How long a connection must have been up for the outage before it to be over.
    pub const STEADY: Duration = Duration::from_secs(5);
}

impl<M, C> Service<Outgoing> for Reconnect<M>
where
    M: Service<(), Response = C, Error = ConnectError>,
    C: Service<Outgoing, Response = Progress, Error = SinkError>,
    C::Future: Unpin,
{
    type Response = Progress;
    type Error = SinkError;
    type Future = Response<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        loop {
            self.state = match &mut self.state {
                Link::Idle => {
                    // A `Connect` is always ready; an error would be one of this attempt.
                    match ready!(self.connect.poll_ready(cx)) {
                        Ok(()) => Link::Pending(Box::pin(self.connect.call(()))),
                        Err(error) => self.wait_after_failure(&error),
                    }
                }
                Link::Pending(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(connection) => {
                        self.status.up();
                        Link::Up {
                            connection,
                            since: Instant::now(),
                        }
                    }
                    Err(error) => self.wait_after_failure(&error),
                },
                Link::Up { connection, since } => {
                    let since = *since;
                    match ready!(connection.poll_ready(cx)) {
                        Ok(()) => return Poll::Ready(Ok(())),
                        Err(error) => self.wait_after_loss(&error.cause, since),
                    }
                }
                Link::Waiting(delay) => {
                    ready!(delay.as_mut().poll(cx));
                    Link::Idle
                }
            }
        }
    }

    fn call(&mut self, request: Outgoing) -> Self::Future {
        match &mut self.state {
            Link::Up { connection, .. } => {
                if let Outgoing::Finish = request {
                    self.status.disconnected(&Disconnect::Stopped);
                }
                Response::Connection(connection.call(request))
            }
            _ => Response::Down,
        }
    }
}

impl<M: Service<()>> Reconnect<M> {
    fn wait_after_failure(&mut self, error: &ConnectError) -> Link<M> {
        let delay = self.backoff.next_delay();
        self.status.failed(error, delay);
        Link::Waiting(Box::pin(sleep(delay)))
    }

    fn wait_after_loss(&mut self, cause: &Disconnect, since: Instant) -> Link<M> {
        let steady = since.elapsed() >= Self::STEADY;
        if steady {
            self.backoff.reset();
        }
        let delay = self.backoff.next_delay();
        self.status.lost(cause, steady, delay);
        Link::Waiting(Box::pin(sleep(delay)))
    }
}

impl<M: Service<()>> fmt::Debug for Reconnect<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("backoff", &self.backoff)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

// === impl Response ===

impl<F> Future for Response<F>
where
    F: Future<Output = Result<Progress, SinkError>> + Unpin,
{
    type Output = Result<Progress, SinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Connection(response) => Pin::new(response).poll(cx),
            Self::Down => Poll::Ready(Err(Arc::new(Disconnect::Closed).into())),
        }
    }
}

#[cfg(test)]
mod tests;
