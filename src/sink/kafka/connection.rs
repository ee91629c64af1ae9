//! The connection to a topic as a service that takes batches.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::Service;

use super::{Session, life::Life, link::Link};
use crate::{
    health::Disconnect,
    sink::{Outgoing, SinkError, abort::Abort, reconnect::pass_on},
};

/// A connection to all leaders of a topic.
///
/// Frames that the service takes are unconfirmed until the brokers have stored them. `poll_ready` is pending while
/// unconfirmed frames use too much memory, and fails after the end of the connection.
#[derive(Debug)]
pub(crate) struct KafkaConnection {
    session: Session,
    life: Arc<Life>,
    abort: CancellationToken,
    /// The task that keeps the connections. `None` after it has ended.
    link: Option<AbortOnDropHandle<()>>,
}

/// The response of a [`KafkaConnection`].
#[derive(Debug)]
pub(crate) enum KafkaWrite {
    /// The frames are unconfirmed from now on.
    Taken,
    Ending(Box<Ending>),
}

/// The wait for the last confirmations.
///
/// It ends at the latest when the sink is aborted, which is at the deadline of the drain, also if a reload changes the sink.
/// It ends earlier if the link is lost.
/// A shorter wait would store frames twice without need: while a broker is replaced by another one, there is no
/// confirmation for more than ten seconds.
#[derive(Debug)]
pub(crate) struct Ending {
    session: Session,
    life: Arc<Life>,
    abort: Abort,
    /// The task that keeps the connections. Its panic must not look like the end of the sink.
    link: Option<AbortOnDropHandle<()>>,
}

// === impl KafkaConnection ===

impl KafkaConnection {
    pub(super) fn new(session: Session, link: Link, abort: CancellationToken) -> Self {
        let life = Arc::<Life>::default();
        let keeping = tokio::spawn(link.keep(Arc::clone(&life)));
        Self {
            session,
            life,
            abort,
            link: Some(AbortOnDropHandle::new(keeping)),
        }
    }
}

impl Service<Outgoing> for KafkaConnection {
    type Response = ();
    type Error = SinkError;
    type Future = KafkaWrite;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let has_room = self.session.poll_room(cx);
        // After the call above, the end of the link wakes this task.
        match self.life.ended() {
            Some(error) => {
                ready!(poll_link(&mut self.link, cx));
                Poll::Ready(Err(error))
            }
            None if has_room => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    fn call(&mut self, request: Outgoing) -> KafkaWrite {
        match request {
            Outgoing::Frames(shipment) => {
                self.session.ship(shipment);
                KafkaWrite::Taken
            }
            Outgoing::Finish => {
                self.session.flush(true);
                KafkaWrite::Ending(Box::new(Ending {
                    session: self.session.clone(),
                    life: Arc::clone(&self.life),
                    abort: Abort::new(self.abort.clone()),
                    link: self.link.take(),
                }))
            }
        }
    }
}

// === impl KafkaWrite ===

impl Future for KafkaWrite {
    type Output = Result<(), SinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self::Ending(ending) = self.get_mut() else {
            return Poll::Ready(Ok(()));
        };
        ending.poll_end(cx)
    }
}

// === impl Ending ===

impl Ending {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let is_done = self.session.poll_done(cx);
        let error = match self.life.ended() {
            _ if is_done => {
                self.life.end(Disconnect::Stopped);
                return Poll::Ready(Ok(()));
            }
            Some(error) => {
                ready!(poll_link(&mut self.link, cx));
                error
            }
            None => {
                ready!(self.abort.poll(cx));
                self.life.end(Disconnect::Aborted)
            }
        };
        // The frames return to the queue. The next connection sends them again, so they may be stored twice.
        self.session.give_up();
        Poll::Ready(Err(error))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.session.flush(false);
    }
}

/// Waits until the task of a link has ended. A panic in this task restarts the whole sink.
fn poll_link(link: &mut Option<AbortOnDropHandle<()>>, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(running) = link {
        let ended = ready!(Pin::new(running).poll(cx));
        *link = None;
        pass_on(ended);
    }
    Poll::Ready(())
}
