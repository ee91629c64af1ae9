//! Reconnection: the layer that keeps a sink connected. It connects, uses the connection until it is lost or replaced,
//! and connects again. After a loss, it waits before it connects.

mod in_use;

use std::{
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
use tower::Service;
use tracing::debug;

use super::{Backoff, ConnectError, Outgoing, SinkError, Term, connection::FINISH_AT_MOST};
use crate::health::{Disconnect, Event, Reporter};
use in_use::InUse;

/// A service that writes to the current connection of a sink.
///
/// - `poll_ready` makes the attempts to connect, waits between them, and checks whether the connection still works.
///   `poll_ready` is pending while there is no connection, and never fails.
/// - [`Outgoing::Finish`] is accepted at any time, even without a connection.
/// - `call` never connects and never retries. The frames that a failed request has not written return to the queue, and
///   the driver takes them again. A request must not start before the response of the previous request is ready.
/// - The delay between attempts grows with the length of the outage ([`Backoff`]). It is reset only after a connection
///   was up for [five seconds](STEADY), because some collectors accept a connection and close it soon afterwards.
/// - A connection whose [`Term`] is over is replaced. The old connection takes frames until a new connection has
///   completed its handshake. If no attempt succeeds, the old connection stays in use. After the replacement, the old
///   connection ends cleanly, and the new connection already takes frames in that time.
pub(crate) struct Reconnect<M: Service<()>> {
    connect: M,
    state: Link<M>,
    backoff: Backoff,
    status: Reporter,
    /// Replaced connections that are ending. STOP was sent on them, and they wait for FINISH.
    ending: JoinSet<()>,
}

/// A connection whose handshake is complete.
#[derive(Debug)]
pub(crate) struct Established<C> {
    /// The connection.
    pub connection: C,
    /// The collector's address, as the log and the status show it.
    pub endpoint: Arc<str>,
    /// The time after which the connection is replaced.
    pub term: Term,
    /// True if the connection itself reports that the sink is up. Connections to a topic do so, because they can take
    /// frames before all partitions can be written to.
    pub reports_itself: bool,
}

enum Link<M: Service<()>> {
    Idle,
    Pending(Attempt<M>),
    Up(InUse<M>),
    Waiting(Pin<Box<Sleep>>),
}

type Attempt<M> = Pin<Box<dyn Future<Output = Outcome<M>> + Send>>;

type Outcome<M> = Result<<M as Service<()>>::Response, <M as Service<()>>::Error>;

#[derive(Debug)]
pub(crate) enum Response<F> {
    Connection(F),
    /// The end of the stream, on the connection in use and on the connections that were replaced.
    Last {
        /// The request that ends the stream on the connection in use. `None` after it is complete.
        connection: Option<F>,
        result: Result<(), SinkError>,
        /// Replaced connections that still wait for FINISH.
        ending: JoinSet<()>,
    },
    /// There is no connection, so nothing was written.
    Down,
}

/// An outage counts as over when a connection has been up for this time.
pub(crate) const STEADY: Duration = Duration::from_secs(5);

/// The time in which a replaced connection must end, even if its collector reads slowly. Without this limit, the number
/// of ending connections would grow with every replacement. When the limit is reached, the kernel still sends the data
/// in its buffer.
///
/// The limit does not apply to a connection whose frames wait for FINISH. If such a connection were closed too early,
/// its frames would be sent again.
const LAST_WORDS: Duration = Duration::from_secs(30);

// === impl Reconnect ===

impl<M: Service<()>> Reconnect<M> {
    /// The largest number of replaced connections that are ending. If this number is reached, the connection in use is
    /// not replaced.
    const ENDING_AT_MOST: usize = 3;

    /// Creates a service that uses the connections of `connect` and reports to `status`.
    pub(crate) fn new(connect: M, status: Reporter) -> Self {
        status.report(&Event::Started);
        Self {
            connect,
            state: Link::Idle,
            backoff: Backoff::new(),
            status,
            ending: JoinSet::new(),
        }
    }
}

impl<M, C> Service<Outgoing> for Reconnect<M>
where
    M: Service<(), Response = Established<C>, Error = ConnectError>,
    M::Future: Send + 'static,
    C: Service<Outgoing, Response = (), Error = SinkError> + Send + 'static,
    C::Future: Unpin + Send,
{
    type Response = ();
    type Error = SinkError;
    type Future = Response<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        loop {
            // Removes the replaced connections that have ended. The unconfirmed frames of such a connection use memory,
            // so its end may give room for other frames. Its end must therefore wake this task. An empty set registers
            // no waker, so this loop must run again after each addition to the set.
            while let Poll::Ready(Some(ended)) = self.ending.poll_join_next(cx) {
                pass_on(ended);
            }
            self.state = match &mut self.state {
                Link::Idle => {
                    // `Connect` is always ready. If another connector returns an error here, the error counts as a
                    // failed attempt: the sink waits before the next attempt.
                    match ready!(self.connect.poll_ready(cx)) {
                        Ok(()) => Link::Pending(Box::pin(self.connect.call(()))),
                        Err(error) => self.wait_after_failure(&error),
                    }
                }
                Link::Pending(attempt) => match ready!(attempt.as_mut().poll(cx)) {
                    Ok(made) => self.begin(made),
                    Err(error) => self.wait_after_failure(&error),
                },
                Link::Up(up) => {
                    // Polls the connection first, because a lost connection cannot end cleanly. If it is lost while an
                    // attempt to replace it is in progress, the sink waits for that attempt.
                    let ready = up.made.connection.poll_ready(cx);
                    if let Poll::Ready(Err(error)) = ready {
                        self.go_on_after_loss(&error)
                    } else if self.ending.len() >= Self::ENDING_AT_MOST {
                        return ready;
                    } else {
                        // The connection can be replaced safely here: the driver awaits each response before it polls
                        // this service again, so no request is in progress. As long as there is no new connection, the
                        // old one decides whether the sink is ready. After a change, the loop polls the new connection.
                        match up.poll_renewal(&mut self.connect, &self.status, cx) {
                            Poll::Pending => match up.made.term.overdue() {
                                Some(cause) => self.end_without_replacement(&cause),
                                None => return ready,
                            },
                            Poll::Ready(made) => {
                                let replaced = up.replace(made);
                                self.ending.spawn(end(replaced));
                            }
                        }
                        continue;
                    }
                }
                // When the delay is over, the loop starts the next attempt in this same poll. If this function returned
                // here without a registered waker, the sink would never be polled again.
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
    C: Service<Outgoing, Response = (), Error = SinkError> + Send + 'static,
    C::Future: Unpin + Send,
{
    /// Ends every connection cleanly. This is necessary even if the sink is down, because a replaced connection may
    /// still wait for FINISH.
    fn finish(&mut self) -> Response<C::Future> {
        let connection = if let Link::Up(up) = &mut self.state {
            self.status.report(&Event::Ended(&Disconnect::Stopped));
            if let Some(attempt) = up.give_up_renewal() {
                self.ending.spawn(async {
                    if let Some(made) = attempt.stop().await {
                        end(made).await;
                    }
                });
            }
            Some(up.made.connection.call(Outgoing::Finish))
        } else {
            // An attempt that is in progress can be dropped, because it has sent no frames.
            self.state = Link::Idle;
            None
        };
        Response::Last {
            connection,
            result: Ok(()),
            ending: mem::take(&mut self.ending),
        }
    }

    /// Begins to use a connection.
    ///
    /// `Up` is reported before the new connection is polled for the first time. If this poll finds it lost, the log shows
    /// first that the sink came up, and then that the connection was lost.
    fn begin(&self, made: Established<C>) -> Link<M> {
        if !made.reports_itself {
            self.status.report(&Event::Up(&made.endpoint));
        }
        Link::Up(InUse::new(made, Instant::now()))
    }

    fn wait_after_failure(&mut self, error: &ConnectError) -> Link<M> {
        let delay = if error.is_own_listener() {
            self.backoff.longest_delay()
        } else {
            self.backoff.next_delay().max(error.least_delay())
        };
        let attempt = &error.as_failed();
        self.status.report(&Event::Failed { attempt, delay });
        Link::Waiting(Box::pin(sleep(delay)))
    }

    /// Ends the connection in use, and connects again. This is for collectors that serve one connection at a time: such
    /// a collector accepts the new connection only after the old one has ended. It is also for collectors that shut
    /// down: such a collector accepts no new connection.
    fn end_without_replacement(&mut self, cause: &Disconnect) {
        let Link::Up(mut up) = mem::replace(&mut self.state, Link::Idle) else {
            return;
        };
        let (steady, delay) = (true, None);
        self.status.report(&Event::Lost {
            cause,
            steady,
            delay,
            kind: None,
        });
        let attempt = up.give_up_renewal();
        self.state = match attempt {
            Some(attempt) => Link::Pending(Box::pin(attempt)),
            None => Link::Idle,
        };
        self.ending.spawn(end(up.made));
    }

    /// Handles the loss of the connection in use. If an attempt to replace it is in progress, the sink waits for that
    /// attempt. If there is no such attempt, the sink waits before it connects.
    fn go_on_after_loss(&mut self, error: &SinkError) -> Link<M> {
        let (steady, begun) = match mem::replace(&mut self.state, Link::Idle) {
            Link::Up(up) => (up.since.elapsed() >= STEADY, up.begun()),
            _ => (false, None),
        };
        if steady {
            self.backoff.reset();
        }
        let last = error.attempt.as_ref();
        // Otherwise, one outage would count and be logged twice.
        if let Some(last) = last.filter(|last| last.is_reported) {
            return self.wait_after_failure(&last.error);
        }
        let delay = begun.is_none().then(|| self.backoff.next_delay());
        self.status.report(&Event::Lost {
            cause: &error.cause,
            steady,
            delay,
            kind: last.map(|last| last.error.kind()),
        });
        match begun {
            Some(attempt) => Link::Pending(attempt),
            None => Link::Waiting(Box::pin(sleep(delay.unwrap_or_default()))),
        }
    }
}

/// Ends a replaced connection cleanly. If this takes too long, drops the connection.
async fn end<C>(replaced: Established<C>)
where
    C: Service<Outgoing, Response = (), Error = SinkError>,
{
    let within = if replaced.term.awaits_finish() {
        FINISH_AT_MOST
    } else {
        LAST_WORDS
    };
    let (mut connection, endpoint) = (replaced.connection, replaced.endpoint);
    let ended = async {
        // This poll only notices whether the connection is lost. It does not wait until there is room for more
        // unconfirmed frames: STOP must be sent even without room, because the FINISH after it makes room.
        let lost = poll_fn(|cx| Poll::Ready(connection.poll_ready(cx))).await;
        if let Poll::Ready(Err(error)) = lost {
            return Err(error);
        }
        connection.call(Outgoing::Finish).await
    };
    match timeout(within, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            debug!(%endpoint, %error, "a replaced connection or file did not end cleanly");
        }
        Err(_) => {
            debug!(%endpoint, ?within, "a replaced connection or file did not end in time");
        }
    }
}

/// Returns the output of a task. If the task has panicked, resumes the panic, so that the whole sink is restarted.
pub(super) fn pass_on<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(output) => Some(output),
        Err(Ok(fault)) => resume_unwind(fault),
        Err(Err(_)) => None,
    }
}

// === impl Response ===

impl<F> Future for Response<F>
where
    F: Future<Output = Result<(), SinkError>> + Unpin,
{
    type Output = Result<(), SinkError>;

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
