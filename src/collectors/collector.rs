//! One collector that has connected: its queue, and the driver that writes the queue to its connection.

use std::{sync::Arc, time::Instant};

use tokio::select;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::{opening::Opened, server::Server};
use crate::{
    health::{Disconnect, Event, Reporter},
    net::Stream,
    router::{Queue, Queues},
    sink::{Connection, Deadlines, FINISH_DEADLINE, Follow, RewriteLayer, drive, until_aborted},
};

/// A collector's place in its sink. Dropping it removes the collector from the sink, also after a panic.
pub(super) struct Collector {
    server: Arc<Server>,
    queues: Arc<Queues>,
    queue: Arc<Queue>,
    /// Counts against the largest number of collectors. `None` after the collector has left.
    seat: Option<Arc<()>>,
    /// The text of the collector in the status.
    label: Arc<str>,
    reporter: Reporter,
    /// Cancelled when the sink must end immediately.
    abort: CancellationToken,
    peer: String,
    since: Instant,
}

// === impl Collector ===

impl Collector {
    /// Gives a collector its queue. `seat` counts it as connected.
    pub(super) fn new(
        server: &Arc<Server>,
        queues: &Arc<Queues>,
        abort: &CancellationToken,
        stream: &Stream,
        seat: Arc<()>,
    ) -> Self {
        let (queue, text) = queues.admit(server.socket, |number| label(stream, number));
        let reporter = server.reporter.endpoint(&text);
        Self {
            server: Arc::clone(server),
            queues: Arc::clone(queues),
            queue,
            seat: Some(seat),
            label: text,
            reporter,
            abort: abort.clone(),
            peer: stream.peer(),
            since: Instant::now(),
        }
    }

    /// Sends START, and writes the frames of the queue until the queue is closed and empty, or the connection ends.
    /// `collectors` is the number of connected collectors.
    ///
    /// The collector had its queue before START, so it gets every frame that arrives after it has read START.
    pub(super) async fn serve(mut self, mut opened: Opened, collectors: usize) {
        let started = select! {
            started = opened.start() => started,
            () = self.abort.cancelled() => return,
        };
        if let Err(refusal) = started {
            // A collector that has not read START has no stream, so it has lost no frame.
            self.leave(true);
            return self.server.refuse(&self.peer, &refusal);
        }
        self.reporter.report(&Event::Up(&self.label));
        let sink = &self.reporter.sink;
        (self.server.lines).connected(sink, &self.peer, collectors);
        let Opened { stream, settings } = opened;
        let deadlines = Deadlines {
            write: settings.write_timeout,
            finish: FINISH_DEADLINE,
        };
        let connection = Connection::new(stream, deadlines, self.abort.clone());
        let connection = connection.reporting_to(self.reporter.clone());
        let rewrite = RewriteLayer::new(self.server.edits.clone(), Follow::Reloads);
        let service = rewrite.layer(connection);
        // A sink that ends closes the queue, so that the collector still gets the frames in it.
        let never = CancellationToken::new();
        let driven = drive(service, &self.queue, &never);
        let cause = match until_aborted(self.abort.clone(), driven).await {
            Err(error) => error.cause,
            Ok(()) if self.abort.is_cancelled() => Arc::new(Disconnect::Aborted),
            Ok(()) => Arc::new(Disconnect::Stopped),
        };
        self.end(&cause);
    }

    /// Gives up the seat, and takes the queue out of use. When the status shows that the collector has left, no more
    /// frames are offered to it, and another collector can connect.
    ///
    /// The frames in the queue are excluded if the collector has ended the stream by its own `choice`. Otherwise they
    /// are lost.
    fn leave(&mut self, choice: bool) {
        let first = self.seat.take().is_some();
        // If the sink ends immediately, the frames of all its queues are counted together.
        if first && !self.abort.is_cancelled() {
            self.queues.dismiss(&self.queue, choice);
        }
    }

    fn end(mut self, cause: &Disconnect) {
        self.leave(matches!(
            cause,
            Disconnect::Closed | Disconnect::Finished | Disconnect::Asked
        ));
        self.reporter.report(&match cause {
            Disconnect::Stopped | Disconnect::Aborted => Event::Ended(cause),
            _ => Event::Lost {
                cause,
                steady: true,
                delay: None,
                kind: None,
            },
        });
        let (server, queue) = (Arc::clone(&self.server), Arc::clone(&self.queue));
        let (peer, after) = (self.peer.clone(), self.since.elapsed());
        drop(self);
        let sink = &server.reporter.sink;
        (server.lines).disconnected(sink, &peer, after, cause, &queue.ledger());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.leave(false);
        self.reporter.report(&Event::Removed);
    }
}

/// Returns the text of a collector in the status. No two collectors of a sink have the same text at the same time.
fn label(stream: &Stream, number: u64) -> Arc<str> {
    let scheme = if stream.is_tls() { "tls" } else { "tcp" };
    match (stream, stream.process().and_then(|process| process.pid)) {
        (Stream::Unix(_), Some(pid)) => format!("pid {pid}, connection {number}"),
        (Stream::Unix(_), None) => format!("connection {number}"),
        _ => format!("{scheme}://{}", stream.peer()),
    }
    .into()
}
