//! One connection to a collector: it writes chunks and reads the back channel.

use std::{
    future::Future,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    Checkpoint, Outgoing, Shipment, SinkError, abort::Abort, confirmation::Confirmation,
    cursor::Cursor, wire::Wire,
};
use crate::{
    coalescing,
    frame_stream::Control,
    health::{Disconnect, Event, Reporter},
    lock::Mutex,
    net::{Liveness, Patience, Uptake, UptakeLevel},
};

/// A connection whose handshake is complete, as a service that writes.
///
/// `poll_ready` reads the back channel, so a lost collector is noticed even if there is nothing to write. It fails
/// after the connection has ended.
///
/// There is one request at a time: a request must not start before the response of the previous request is ready.
/// Dropping a response before it is ready ends the connection, because a frame may be half written.
#[derive(Debug)]
pub(crate) struct Connection<Io: Uptake> {
    wire: Arc<Mutex<Wire<Io>>>,
    limits: Deadlines,
    /// The token with which the caller cancels a write or the wait for FINISH.
    abort: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// The longest time for which the collector may take none of the waiting data.
    pub write: Duration,
    /// The limit after STOP was sent. It applies to each pause in which the collector reads no data, and to the answer
    /// FINISH. If the collector has been reading since STOP for longer than this limit, it may pause for as long as it
    /// has been reading.
    pub finish: Duration,
}

/// The response of a [`Connection`].
#[derive(Debug)]
pub(crate) struct Write<Io: Uptake> {
    wire: Arc<Mutex<Wire<Io>>>,
    work: Work,
    limits: Deadlines,
    /// The wait for the collector; `None` while data can be written.
    patience: Option<Patience>,
    /// True if the current wait was already counted as a stall.
    stalled: bool,
    abort: Abort,
    done: bool,
}

#[derive(Debug)]
enum Work {
    Frames {
        /// `None` after the frames are settled.
        shipment: Option<Shipment>,
        cursor: Cursor,
        unflushed: bool,
    },
    Stop {
        rest: Bytes,
        flushed: bool,
    },
}

/// The wait after which a write counts as a stall.
pub(super) const STALL: Duration = Duration::from_secs(1);

/// The longest time from STOP to FINISH, however slowly the collector reads. It is the longest `drain` that can be
/// configured.
pub(super) const FINISH_AT_MOST: Duration = Duration::from_secs(10 * 60);

/// The number of slices in one vectored write. Chunks are large, so a larger number would rarely be used.
const SLICES: usize = 64;

// === impl Connection ===

impl<Io: Uptake> Connection<Io> {
    /// A connection over `io`, on which START was sent.
    pub(crate) fn new(io: Io, limits: Deadlines, abort: CancellationToken) -> Self {
        Self {
            wire: Arc::new(Mutex::new(Wire::new(io, limits.write))),
            limits,
            abort,
        }
    }

    /// Keeps the frames until they are confirmed as `confirmation` asks. Without this call, a frame counts as delivered
    /// when it is written. If FINISH confirms the frames, returns the checkpoint at which the connection must end.
    pub(super) fn confirming(self, confirmation: Confirmation) -> (Self, Option<Checkpoint>) {
        let checkpoint = self.wire.lock().confirm(confirmation);
        (self, checkpoint)
    }

    /// Reports writes that make no progress to `status`.
    #[must_use]
    pub(crate) fn reporting_to(self, status: Reporter) -> Self {
        self.wire.lock().status = Some(status);
        self
    }
}

impl<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin> Service<Outgoing> for Connection<Io> {
    type Response = ();
    type Error = SinkError;
    type Future = Write<Io>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        let mut wire = self.wire.lock();
        let lost = poll_lost(&mut wire, cx);
        wire.acknowledge();
        match lost {
            Poll::Ready(cause) => Poll::Ready(Err(cause.into())),
            // The end of another connection frees the memory, and `Reconnect` is woken by that end.
            Poll::Pending if !wire.receipts.has_room() => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Outgoing) -> Write<Io> {
        let work = match request {
            Outgoing::Frames(shipment) => Work::Frames {
                cursor: Cursor::new(shipment.chunks().clone()),
                shipment: Some(shipment),
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
            abort: Abort::new(self.abort.clone()),
            done: false,
        }
    }
}

// === impl Write ===

impl<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin> Future for Write<Io> {
    type Output = Result<(), SinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // The lock is held only during this poll. The service takes the lock again only after the response is ready.
        let wire = Arc::clone(&this.wire);
        let mut wire = wire.lock();
        let Poll::Ready(result) = this.poll_work(&mut wire, cx) else {
            // A write can wait for long while the collector's kernel acknowledges the batches before it.
            wire.acknowledge();
            return Poll::Pending;
        };
        this.done = true;
        match &mut this.work {
            Work::Stop { .. } => wire.stopped(),
            Work::Frames {
                shipment, cursor, ..
            } => {
                let mut progress = cursor.progress();
                // If this side cut the connection, the frame that was being written is not the reason, so the cut must
                // not count against this frame.
                let aborted = result
                    .as_ref()
                    .is_err_and(|cause| matches!(**cause, Disconnect::Aborted));
                progress.cut &= !aborted;
                if let Some(shipment) = shipment.take() {
                    wire.receipts.add(shipment, progress, cursor.take_marks());
                }
            }
        }
        wire.acknowledge();
        Poll::Ready(result.map_err(SinkError::from))
    }
}

impl<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin> Write<Io> {
    fn poll_work(
        &mut self,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Arc<Disconnect>>> {
        // Write first: every byte that the collector can take must count as progress before a deadline is checked.
        let before = self.work.written();
        let step = match &mut self.work {
            Work::Frames {
                cursor, unflushed, ..
            } => poll_frames(wire, cursor, unflushed, cx),
            Work::Stop { rest, flushed } => poll_stop(wire, rest, flushed, cx),
        };
        if step.is_ready() {
            return step;
        }
        coalescing::write_waits();
        if self.work.written() != before {
            self.patience = None;
            self.stalled = false;
        }
        // The back channel comes second: a reset or a FINISH is a better reason to report than a passed deadline.
        // `poll_stop` reads the back channel itself, because FINISH means success there.
        if let Work::Frames { .. } = self.work
            && let Poll::Ready(cause) = poll_lost(wire, cx)
        {
            return Poll::Ready(Err(cause));
        }
        // The abort comes last: if the connection has already failed for another reason, that reason is reported.
        if let Poll::Ready(cause) = self.poll_patience(wire, cx) {
            return Poll::Ready(Err(cause));
        }
        ready!(self.abort.poll(cx));
        Poll::Ready(Err(match self.work {
            Work::Frames { .. } => wire.end(Disconnect::Aborted),
            Work::Stop { .. } => self.leave(wire, cx),
        }))
    }

    /// Becomes ready when the collector has taken no data for too long. Counts a stall after one second without
    /// progress.
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

    /// Ends a stream without waiting for FINISH any longer. The kernel still sends the data in its buffer. Closing the
    /// socket does not cause a reset, because all data from the collector has been read.
    fn leave(&self, wire: &mut Wire<Io>, cx: &mut Context<'_>) -> Arc<Disconnect> {
        // Sends the close_notify of TLS, as at a clean end.
        let _ = Pin::new(&mut wire.io).poll_shutdown(cx);
        let after = self.patience.as_ref().map(Patience::waited);
        wire.end(Disconnect::Unconfirmed {
            after: after.unwrap_or_default(),
            waiting: wire.io.uptake().map(UptakeLevel::waiting),
        })
    }
}

impl<Io: Uptake> Drop for Write<Io> {
    fn drop(&mut self) {
        if !self.done {
            self.wire.lock().end(Disconnect::Aborted);
        }
    }
}

/// Becomes ready when the collector has ended the connection or is unreachable.
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

/// Writes and flushes the remaining bytes of a batch. Becomes ready when the operating system has accepted all of them.
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
        if let Some(sent) = wire.position() {
            cursor.mark(sent);
        }
        if cursor.is_done() {
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let next = cursor.slices(&mut slices);
        match ready!(Pin::new(&mut wire.io).poll_write_vectored(cx, next)) {
            Ok(0) => return Poll::Ready(Err(wire.end(Disconnect::Closed))),
            Ok(written) => {
                wire.wrote();
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
        wire.stop_sent = true;
    }
    let cause = ready!(wire.poll_ended(cx));
    // Without the close_notify of TLS, the collector would treat the stream as cut. One try is enough, because no other
    // data waits to be sent.
    let _ = Pin::new(&mut wire.io).poll_shutdown(cx);
    Poll::Ready(match *cause {
        Disconnect::Finished | Disconnect::Closed => Ok(()),
        _ => Err(cause),
    })
}

// === impl Work ===

impl Work {
    /// A number that changes whenever the collector takes data.
    fn written(&self) -> u64 {
        match self {
            Self::Frames { cursor, .. } => cursor.total,
            // STOP and FINISH share one deadline, so the bytes of STOP must not extend it.
            Self::Stop { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests;
