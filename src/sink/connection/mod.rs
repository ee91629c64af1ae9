//! One connection to a collector: writes chunks, and reads the back channel.

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

/// An established connection, handshake done, as a service that writes.
///
/// `poll_ready` reads the back channel, so that a collector that goes away is noticed although there is nothing to
/// write; it fails once the connection is of no more use. One request at a time: the next may be made when the
/// response of the last has come. A response future that is dropped before it is done ends the connection, since
/// nobody knows then where in a frame it stands.
#[derive(Debug)]
pub struct Connection<Io> {
    wire: Arc<Mutex<Wire<Io>>>,
    limits: Deadlines,
    /// Ends a write or a FINISH that is still waited for, when the time for that is over.
    abort: CancellationToken,
}

/// The times that a connection waits for the collector.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For the collector to take any data at all, while some is waiting for it.
    pub write: Duration,
    /// For the collector to take any data, once STOP was sent, and then to answer with FINISH. One that reads slowly gets as
    /// long again as it has been reading.
    pub finish: Duration,
}

/// The response of a [`Connection`].
#[derive(Debug)]
pub struct Write<Io> {
    wire: Arc<Mutex<Wire<Io>>>,
    work: Work,
    limits: Deadlines,
    /// Runs while nothing can be written.
    patience: Option<Patience>,
    /// Set once this wait counts as a stall.
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

/// A write that waits for so long is a stall, and counted.
const STALL: Duration = Duration::from_secs(1);

/// From STOP to FINISH, however slowly the collector reads: as long as the longest drain.
const FINISH_AT_MOST: Duration = Duration::from_mins(10);

/// Slices in one vectored write. Chunks are large, so that more would hardly ever be filled.
const SLICES: usize = 64;

// === impl Connection ===

impl<Io> Connection<Io> {
    /// A connection over `io`, after START was sent.
    pub fn new(io: Io, limits: Deadlines, abort: CancellationToken) -> Self {
        Self {
            wire: Arc::new(Mutex::new(Wire::new(io, limits.write))),
            limits,
            abort,
        }
    }

    /// Reports writes that make no progress to `status`.
    #[must_use]
    pub fn reporting_to(self, status: Reporter) -> Self {
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
        // Held for this poll only. The service looks at it again when the response is there.
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
                // What this side has cut says nothing about the frame.
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
        if let Work::Frames { .. } = self.work
            && let Poll::Ready(cause) = poll_lost(wire, cx)
        {
            return Poll::Ready(Err(cause));
        }
        if let Poll::Ready(cause) = self.poll_patience(wire, cx) {
            return Poll::Ready(Err(cause));
        }
        ready!(self.abort.poll(cx));
        Poll::Ready(Err(match self.work {
            Work::Frames { .. } => wire.end(Disconnect::Aborted),
            Work::Stop { .. } => self.leave(wire, cx),
        }))
    }

    /// Ready when the collector has taken nothing for too long. Counts a stall on the way there.
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
            // It is polled once a second at least, so that this is noticed.
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

    /// Ends a stream whose FINISH is not awaited any longer. Nothing is taken back: what the kernel has it sends, since all
    /// that the collector said was read, so that closing does not send a reset.
    fn leave(&self, wire: &mut Wire<Io>, cx: &mut Context<'_>) -> Arc<Disconnect> {
        // For close_notify of TLS, as at an end in order.
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

/// Ready once the collector has ended the connection, or is gone.
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

/// Writes the next part of a batch, and sees it to the operating system, until all is there.
fn poll_frames<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin>(
    wire: &mut Wire<Io>,
    cursor: &mut Cursor,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Arc<Disconnect>>> {
    loop {
        // A TLS stream takes bytes before it sends them: only a flush says that they are gone.
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
    // TLS has an end of its own (close_notify), without which the collector must think that the stream was cut. One
    // try is enough: nothing else is waiting to be sent.
    let _ = Pin::new(&mut wire.io).poll_shutdown(cx);
    Poll::Ready(match *cause {
        Disconnect::Finished | Disconnect::Closed => Ok(()),
        _ => Err(cause),
    })
}

// === impl Work ===

impl Work {
    /// A number that changes when the collector took something.
    fn written(&self) -> u64 {
        match self {
            Self::Frames { cursor, .. } => cursor.accepted(),
            // One deadline for all of it.
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
        // Asked outright first: a future may put its answer off to be fair to other tasks, and this is the last poll.
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
