//! Keeps a sink connected: makes a connection, uses it until it ends or is replaced, waits, makes the next.

mod in_use;

use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, Sleep, sleep, timeout},
};
use tower::{Layer, Service};
use tracing::debug;

use super::{Backoff, ConnectError, Outgoing, SinkError, Term};
use crate::{
    health::{Disconnect, Event, Reporter},
    router::Progress,
};
use in_use::InUse;

/// Turns a service that makes connections into one that is always some connection, or pending.
///
/// - `poll_ready` drives everything: attempts, the waits between them, and the check that the connection still
///   lives. It is pending while there is no connection, and it never fails.
/// - [`Outgoing::Finish`] is accepted at any time, without a connection too.
/// - `call` never connects. A request that fails is not tried again here: its error says how much of it went out,
///   and the driver, which owns the queue, sends the rest. The next request is made when the response of the last has come.
/// - The wait grows with the outage ([`Backoff`]), and starts over only after a connection was up for
///   [five seconds](Self::STEADY): a collector that accepts and then closes is down all the same.
/// - A connection whose [`Term`] is over is replaced: make before break. It goes on taking frames until another has
///   completed its handshake; if none can be made, it stays. Then it is ended in order, beside the new one.
pub struct Reconnect<M: Service<()>> {
    connect: M,
    state: Link<M>,
    backoff: Backoff,
    status: Reporter,
    /// Connections that were replaced: STOP is on its way, FINISH awaited.
    ending: JoinSet<()>,
}

/// Wraps a service that makes connections in [`Reconnect`].
#[derive(Debug, Clone)]
pub struct ReconnectLayer {
    status: Reporter,
}

/// A connection that was made, its handshake done.
#[derive(Debug)]
pub struct Established<C> {
    /// The connection.
    pub connection: C,
    /// Where it leads, as shown to people.
    pub endpoint: Arc<str>,
    /// The time for which it is used.
    pub term: Term,
}

enum Link<M: Service<()>> {
    Idle,
    Pending(Attempt<M>),
    Up(InUse<M>),
    Waiting(Pin<Box<Sleep>>),
}

/// A connection in the making.
type Attempt<M> = Pin<Box<dyn Future<Output = Outcome<M>> + Send>>;

type Outcome<M> = Result<<M as Service<()>>::Response, <M as Service<()>>::Error>;

/// The response of [`Reconnect`].
#[derive(Debug)]
pub enum Response<F> {
    /// The connection does it.
    Connection(F),
    /// The stream ends: the connection in use, if there is one, and those that it replaced.
    Last {
        /// The end of the connection in use; `None` when it is over.
        connection: Option<F>,
        /// The outcome of `connection`.
        result: Result<Progress, SinkError>,
        /// Replaced connections that still await FINISH.
        ending: JoinSet<()>,
    },
    /// There is no connection, so that nothing was done.
    Down,
}

// === impl ReconnectLayer ===

impl ReconnectLayer {
    /// A layer whose service reports to `status`.
    pub fn new(status: Reporter) -> Self {
        Self { status }
    }
}

impl<M: Service<()>> Layer<M> for ReconnectLayer {
    type Service = Reconnect<M>;

    fn layer(&self, connect: M) -> Reconnect<M> {
        self.status.report(&Event::Started);
        Reconnect {
            connect,
            state: Link::Idle,
            backoff: Backoff::new(),
            status: self.status.clone(),
            ending: JoinSet::new(),
        }
    }
}

// === impl Reconnect ===

impl<M: Service<()>> Reconnect<M> {
    /// The time that a connection must have been up for the outage before it to be over.
    pub const STEADY: Duration = Duration::from_secs(5);

    /// The time that a replaced connection may take to end, however slowly its collector reads: there may be another one
    /// each time that a connection is replaced. What the kernel holds of it then is still sent.
    pub const LAST_WORDS: Duration = Duration::from_secs(30);
}

impl<M, C> Service<Outgoing> for Reconnect<M>
where
    M: Service<(), Response = Established<C>, Error = ConnectError>,
    M::Future: Send + 'static,
    C: Service<Outgoing, Response = Progress, Error = SinkError> + Send + 'static,
    C::Future: Unpin + Send,
{
    type Response = Progress;
    type Error = SinkError;
    type Future = Response<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        while let Poll::Ready(Some(ended)) = self.ending.poll_join_next(cx) {
            pass_on(ended);
        }
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
                    Ok(made) => {
                        self.status.report(&Event::Up(&made.endpoint));
                        Link::Up(InUse::new(made, Instant::now()))
                    }
                    Err(error) => self.wait_after_failure(&error),
                },
                Link::Up(up) => {
                    let ready = up.made.connection.poll_ready(cx);
                    if let Poll::Ready(Err(error)) = ready {
                        self.go_on_after_loss(&error.cause)
                    } else {
                        // No request is under way: its response is awaited before this is called.
                        match up.poll_renewal(&mut self.connect, &self.status, cx) {
                            Poll::Pending => return ready,
                            Poll::Ready(made) => {
                                self.ending.spawn(end(up.replace(made), Self::LAST_WORDS))
                            }
                        };
                        continue;
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
        if let Outgoing::Finish = request {
            return self.finish();
        }
        match &mut self.state {
            Link::Up(up) => Response::Connection(up.made.connection.call(request)),
            _ => Response::Down,
        }
    }
}

impl<M, C> Reconnect<M>
where
    M: Service<(), Response = Established<C>, Error = ConnectError>,
    M::Future: Send + 'static,
    C: Service<Outgoing, Response = Progress, Error = SinkError> + Send + 'static,
    C::Future: Unpin + Send,
{
    /// Ends every connection in order. The sink may be down: a connection that was replaced before still awaits FINISH.
    fn finish(&mut self) -> Response<C::Future> {
        let connection = if let Link::Up(up) = &mut self.state {
            self.status.report(&Event::Ended(&Disconnect::Stopped));
            if let Some(attempt) = up.give_up_renewal() {
                self.ending.spawn(async {
                    if let Some(made) = attempt.stop().await {
                        end(made, Self::LAST_WORDS).await;
                    }
                });
            }
            Some(up.made.connection.call(Outgoing::Finish))
        } else {
            // Gives up the attempt that is under way.
            self.state = Link::Idle;
            None
        };
        Response::Last {
            connection,
            result: Ok(Progress::default()),
            ending: mem::take(&mut self.ending),
        }
    }

    fn wait_after_failure(&mut self, error: &ConnectError) -> Link<M> {
        let delay = if error.is_own_listener() {
            self.backoff.longest_delay()
        } else {
            self.backoff.next_delay()
        };
        let attempt = &error.as_failed();
        self.status.report(&Event::Failed { attempt, delay });
        Link::Waiting(Box::pin(sleep(delay)))
    }

    /// Goes on with the connection that was to replace the lost one, if there is going to be one.
    fn go_on_after_loss(&mut self, cause: &Disconnect) -> Link<M> {
        let (steady, begun) = match mem::replace(&mut self.state, Link::Idle) {
            Link::Up(up) => (up.since.elapsed() >= Self::STEADY, up.begun()),
            _ => (false, None),
        };
        if steady {
            self.backoff.reset();
        }
        let delay = begun.is_none().then(|| self.backoff.next_delay());
        self.status.report(&Event::Lost {
            cause,
            steady,
            delay,
        });
        match begun {
            Some(attempt) => Link::Pending(attempt),
            None => Link::Waiting(Box::pin(sleep(delay.unwrap_or_default()))),
        }
    }
}

/// Ends a connection in order, within this time.
async fn end<C>(replaced: Established<C>, within: Duration)
where
    C: Service<Outgoing, Response = Progress, Error = SinkError>,
{
    let (mut connection, endpoint) = (replaced.connection, replaced.endpoint);
    let ended = async {
        poll_fn(|cx| connection.poll_ready(cx)).await?;
        connection.call(Outgoing::Finish).await
    };
    match timeout(within, ended).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            debug!(%endpoint, %error, "a connection that was replaced did not end in order");
        }
        Err(_) => {
            debug!(%endpoint, ?within, "a connection that was replaced did not end in time");
        }
    }
}

/// A fault in a task of ours is a fault here.
pub(super) fn pass_on<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(output) => Some(output),
        Err(Ok(fault)) => resume_unwind(fault),
        Err(Err(_)) => None,
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
            Self::Last {
                connection,
                result,
                ending,
            } => {
                if let Some(last) = connection {
                    *result = ready!(Pin::new(last).poll(cx));
                    *connection = None;
                }
                while let Some(ended) = ready!(ending.poll_join_next(cx)) {
                    pass_on(ended);
                }
                Poll::Ready(result.clone())
            }
            Self::Down => Poll::Ready(Err(Arc::new(Disconnect::Closed).into())),
        }
    }
}

#[cfg(test)]
mod renewal_tests;
#[cfg(test)]
mod tests;
