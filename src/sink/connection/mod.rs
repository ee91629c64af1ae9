//! One connection to a collector: it writes chunks and reads the back channel.

use std::{
    future::Future,
    io::IoSlice,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::Service;

use super::{
    Outgoing, SinkError,
    cursor::Cursor,
    wire::{Wire, lock},
};
use crate::{
    frame_stream::Control,
    health::{Disconnect, Event, Reporter},
    net::{Liveness, Patience, Uptake, UptakeLevel},
    router::Progress,
};

/// A connection whose handshake is complete, as a service that writes.
///
/// `poll_ready` reads the back channel, so a collector that goes away is noticed even with nothing to write. It fails once
/// the connection has ended.
///
/// There is one request at a time: the next may start once the response of the last is ready. Dropping a response before
/// that ends the connection, because the stream may then stand inside a frame.
#[derive(Debug)]
pub(crate) struct Connection<Io> {
    wire: Arc<Mutex<Wire<Io>>>,
    limits: Deadlines,
    /// Ends a write, or the wait for FINISH, when the caller's time is over.
    abort: CancellationToken,
}

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// The time for the collector to take some of the data that waits for it.
    pub write: Duration,
    /// The same after STOP was sent, and the time to answer with FINISH. A collector that reads slowly gets as long
    /// again as it has been reading.
    pub finish: Duration,
}

/// The response of a [`Connection`].
#[derive(Debug)]
pub(crate) struct Write<Io> {
    wire: Arc<Mutex<Wire<Io>>>,
    work: Work,
    limits: Deadlines,
    /// The wait for the collector, while nothing can be written.
    patience: Option<Patience>,
    /// True if this wait was already counted as a stall.
    stalled: bool,
    abort: Abort,
    done: bool,
}

#[derive(Debug)]
enum Work {
    Frames { cursor: Cursor, unflushed: bool },
    Stop { rest: Bytes, flushed: bool },
}

#[derive(Debug)]
struct Abort {
    token: CancellationToken,
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// The wait after which a write counts as a stall.
const STALL: Duration = Duration::from_secs(1);

/// The longest time from STOP to FINISH, however slowly the collector reads: as long as the longest drain.
const FINISH_AT_MOST: Duration = Duration::from_mins(10);

/// The number of slices in one vectored write. Chunks are large, so more would hardly ever be filled.
const SLICES: usize = 64;

// === impl Connection ===

impl<Io> Connection<Io> {
    /// A connection over `io`, on which START was sent.
    pub(crate) fn new(io: Io, limits: Deadlines, abort: CancellationToken) -> Self {
        Self {
            wire: Arc::new(Mutex::new(Wire::new(io, limits.write))),
            limits,
            abort,
        }
    }

    /// Reports writes that make no progress to `status`.
    #[must_use]
    pub(crate) fn reporting_to(self, status: Reporter) -> Self {
        lock(&self.wire).status = Some(status);
        self
    }
}

impl<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin> Service<Outgoing> for Connection<Io> {
    type Response = Progress;
    type Error = SinkError;
    type Future = Write<Io>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        match poll_lost(&mut lock(&self.wire), cx) {
            Poll::Ready(cause) => Poll::Ready(Err(cause.into())),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Outgoing) -> Write<Io> {
        let work = match request {
            Outgoing::Frames(batch) => Work::Frames {
                cursor: Cursor::new(batch),
                unflushed: false,
            },
            Outgoing::Finish => Work::Stop {
                rest: Control::stop().encode(),
                flushed: false,
            },
        };
        Write {
            wire: Arc::clone(&self.wire),
            work,
            limits: self.limits,
            patience: None,
            stalled: false,
            abort: Abort {
                token: self.abort.clone(),
                waiting: None,
            },
            done: false,
        }
    }
}

// === impl Write ===

impl<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin> Future for Write<Io> {
    type Output = Result<Progress, SinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Locked for this poll only. The service takes the lock again once the response is ready.
        let wire = Arc::clone(&this.wire);
        let mut wire = lock(&wire);
        let result = ready!(this.poll_work(&mut wire, cx));
        this.done = true;
        if let Work::Stop { .. } = this.work {
            wire.end(Disconnect::Stopped);
        }
        let mut progress = this.work.progress();
        Poll::Ready(match result {
            Ok(()) => Ok(progress),
            Err(cause) => {
                // A cut by this side says nothing about the frame, so it must not count towards dropping it.
                progress.cut &= !matches!(*cause, Disconnect::Aborted);
                Err(SinkError { progress, cause })
            }
        })
    }
}

impl<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin> Write<Io> {
    fn poll_work(
        &mut self,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Arc<Disconnect>>> {
        // The write first, so that every byte the collector can take counts as progress before any deadline is looked at.
        let before = self.work.written();
        let step = match &mut self.work {
            Work::Frames { cursor, unflushed } => poll_frames(wire, cursor, unflushed, cx),
            Work::Stop { rest, flushed } => poll_stop(wire, rest, flushed, cx),
        };
        if step.is_ready() {
            return step;
        }
        if self.work.written() != before {
            self.patience = None;
            self.stalled = false;
        }
        // The back channel next: a reset or a FINISH is a better reason than the deadline that it causes. `poll_stop`
        // reads it by itself, since FINISH is the success there.
        if let Work::Frames { .. } = self.work
            && let Poll::Ready(cause) = poll_lost(wire, cx)
        {
            return Poll::Ready(Err(cause));
        }
        // The abort last: if the connection has failed on its own, that is the reason to report.
        if let Poll::Ready(cause) = self.poll_patience(wire, cx) {
            return Poll::Ready(Err(cause));
        }
        ready!(self.abort.poll(cx));
        Poll::Ready(Err(match self.work {
            Work::Frames { .. } => wire.end(Disconnect::Aborted),
            Work::Stop { .. } => self.leave(wire, cx),
        }))
    }

    /// Ready when the collector has taken no data for too long. Counts a stall after one second.
    fn poll_patience(
        &mut self,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<Arc<Disconnect>> {
        let limits = self.limits;
        let patience = self.patience.get_or_insert_with(|| match self.work {
            Work::Frames { .. } => Patience::new(limits.write),
            Work::Stop { .. } => Patience::new(limits.finish).growing(),
        });
        let over = patience.poll(&wire.io, cx);
        let waited = patience.waited();
        if let Work::Stop { .. } = self.work {
            // `Patience` wakes this task at least once a second, so `FINISH_AT_MOST` needs no timer of its own.
            return if over.is_ready() || waited >= FINISH_AT_MOST {
                Poll::Ready(self.leave(wire, cx))
            } else {
                Poll::Pending
            };
        }
        if !self.stalled && waited >= STALL.min(limits.write) {
            self.stalled = true;
            if let Some(status) = &wire.status {
                status.report(&Event::Stalled);
            }
        }
        over.map(|()| wire.stall())
    }

    /// Ends a stream without its FINISH. The kernel still sends the data it holds: everything from the collector has been
    /// read, so closing the socket causes no reset.
    fn leave(&self, wire: &mut Wire<Io>, cx: &mut Context<'_>) -> Arc<Disconnect> {
        // Sends the close_notify of TLS, as an orderly end does.
        let _ = Pin::new(&mut wire.io).poll_shutdown(cx);
        let after = self.patience.as_ref().map(Patience::waited);
        wire.end(Disconnect::Unconfirmed {
            after: after.unwrap_or_default(),
            waiting: wire.io.uptake().map(UptakeLevel::waiting),
        })
    }
}

impl<Io> Drop for Write<Io> {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.wire).end(Disconnect::Aborted);
        }
    }
}

/// Ready once the collector has ended the connection or is unreachable.
fn poll_lost<Io: AsyncRead + Liveness + Uptake + Unpin>(
    wire: &mut Wire<Io>,
    cx: &mut Context<'_>,
) -> Poll<Arc<Disconnect>> {
    let ended = wire.poll_ended(cx);
    if ended.is_ready() {
        return ended;
    }
    wire.poll_gone(cx)
}

/// Writes and flushes the rest of a batch. Ready once all of it is with the operating system.
fn poll_frames<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin>(
    wire: &mut Wire<Io>,
    cursor: &mut Cursor,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Arc<Disconnect>>> {
    loop {
        // A TLS stream accepts bytes before it sends them. Only a flush confirms that they were sent.
        if *unflushed {
            if let Err(error) = ready!(Pin::new(&mut wire.io).poll_flush(cx)) {
                return Poll::Ready(Err(wire.fail(error)));
            }
            cursor.confirm();
            *unflushed = false;
        }
        if cursor.is_done() {
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let next = cursor.slices(&mut slices);
        match ready!(Pin::new(&mut wire.io).poll_write_vectored(cx, next)) {
            Ok(0) => return Poll::Ready(Err(wire.end(Disconnect::Closed))),
            Ok(written) => {
                cursor.accept(written);
                *unflushed = true;
            }
            Err(error) => return Poll::Ready(Err(wire.fail(error))),
        }
    }
}

/// Sends STOP, waits for FINISH, and closes.
fn poll_stop<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin>(
    wire: &mut Wire<Io>,
    rest: &mut Bytes,
    flushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Arc<Disconnect>>> {
    while !rest.is_empty() {
        match ready!(Pin::new(&mut wire.io).poll_write(cx, rest)) {
            Ok(0) => return Poll::Ready(Err(wire.end(Disconnect::Closed))),
            Ok(written) => drop(rest.split_to(written)),
            Err(error) => return Poll::Ready(Err(wire.fail(error))),
        }
    }
    if !*flushed {
        if let Err(error) = ready!(Pin::new(&mut wire.io).poll_flush(cx)) {
            return Poll::Ready(Err(wire.fail(error)));
        }
        *flushed = true;
    }
    let cause = ready!(wire.poll_ended(cx));
    // Without the close_notify of TLS the collector would take the stream for cut. One try is enough, because nothing else
    // is waiting to be sent.
    let _ = Pin::new(&mut wire.io).poll_shutdown(cx);
    Poll::Ready(match *cause {
        Disconnect::Finished | Disconnect::Closed => Ok(()),
        _ => Err(cause),
    })
}

// === impl Work ===

impl Work {
    /// A number that changes whenever the collector has taken data.
    fn written(&self) -> u64 {
        match self {
            Self::Frames { cursor, .. } => cursor.accepted(),
            // STOP and FINISH share one deadline, so the bytes of STOP must not extend it.
            Self::Stop { .. } => 0,
        }
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Frames { cursor, .. } => cursor.progress(),
            Self::Stop { .. } => Progress::default(),
        }
    }
}

// === impl Abort ===

impl Abort {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The flag first: tokio's coop budget may make the future below pending although the token is cancelled, and this
        // may be the last poll.
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

#[cfg(test)]
mod tests;
