//! One connection to a collector. It writes chunks, and reads the control frames that the collector sends back.

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

/// A service that writes to a connection whose handshake is complete.
///
/// `poll_ready` also reads the back channel, that is, the data from the collector. So a lost connection is noticed even
/// if there is nothing to write. After the end of the connection, `poll_ready` fails.
///
/// There is one request at a time: a request must not start before the response of the previous request is ready. If a
/// response is dropped before it is ready, the connection ends, because a frame may be half written.
#[derive(Debug)]
pub(crate) struct Connection<Io: Uptake> {
    wire: Arc<Mutex<Wire<Io>>>,
    limits: Deadlines,
    /// The token with which the owner of the connection cancels a write or the wait for FINISH.
    abort: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// The longest time in which the collector may read nothing although data waits for it.
    pub write: Duration,
    /// The longest pause of the collector after STOP was sent. In a pause, the collector neither reads data nor sends
    /// FINISH. A collector that has been reading for longer than this limit gets more time: its pause may last as long
    /// as it has been reading.
    pub finish: Duration,
}

/// The response of a [`Connection`]. It becomes ready when the request is complete.
#[derive(Debug)]
pub(crate) struct Write<Io: Uptake> {
    wire: Arc<Mutex<Wire<Io>>>,
    work: Work,
    limits: Deadlines,
    /// The timer of the wait for the collector. `None` while data can be written.
    patience: Option<Patience>,
    /// True if the current wait has already been counted as a stall.
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

/// A wait of this length counts as a stall.
pub(super) const STALL: Duration = Duration::from_secs(1);

/// The longest time from STOP to FINISH, even if the collector still reads. The same value is the longest `drain` that
/// can be configured.
pub(super) const FINISH_AT_MOST: Duration = Duration::from_secs(10 * 60);

/// The largest number of slices in one vectored write. Chunks are so large that one write would rarely use more slices.
const SLICES: usize = 64;

// === impl Connection ===

impl<Io: Uptake> Connection<Io> {
    /// Creates a connection over `io`. The caller has already sent START on it.
    pub(crate) fn new(io: Io, limits: Deadlines, abort: CancellationToken) -> Self {
        Self {
            wire: Arc::new(Mutex::new(Wire::new(io, limits.write))),
            limits,
            abort,
        }
    }

    /// Keeps each frame until it is confirmed in the way that `confirmation` requires. Without this call, a frame
    /// counts as delivered when it is written. If the collector must confirm the frames with FINISH, returns the
    /// checkpoint, which says when the connection must end so that FINISH is sent.
    pub(super) fn confirming(self, confirmation: Confirmation) -> (Self, Option<Checkpoint>) {
        let checkpoint = self.wire.lock().confirm(confirmation);
        (self, checkpoint)
    }

    /// Reports stalled writes to `status`.
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
            // Unconfirmed frames use too much memory. The end of another connection frees memory, and wakes the task of
            // `Reconnect`.
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
        // The lock is held only during this poll. The service does not take it before the response is ready.
        let wire = Arc::clone(&this.wire);
        let mut wire = wire.lock();
        let Poll::Ready(result) = this.poll_work(&mut wire, cx) else {
            // A write can wait for a long time. In this time, the collector's kernel may acknowledge earlier batches.
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
                // If tapfan ended the connection itself, the frame that was being written is not the reason. The end
                // must not count against this frame.
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
        // Writes before it checks a deadline, because every byte that the collector can take must count as progress.
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
        // Reads the back channel before it checks the deadline, because a reset or a FINISH says more about the end
        // than a passed deadline. `poll_stop` reads the back channel itself, because FINISH means success there.
        if let Work::Frames { .. } = self.work
            && let Poll::Ready(cause) = poll_lost(wire, cx)
        {
            return Poll::Ready(Err(cause));
        }
        // Checks `abort` last. If the connection has already failed for another reason, this reason is reported.
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
            // `FINISH_AT_MOST` needs no timer, because `Patience` wakes this task at least once a second.
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

    /// Ends a stream and stops waiting for FINISH. The kernel still sends the data that is in its buffer. Closing the
    /// socket does not reset the connection, because tapfan has read all data from the collector.
    fn leave(&self, wire: &mut Wire<Io>, cx: &mut Context<'_>) -> Arc<Disconnect> {
        // Sends `close_notify` on a TLS connection, as at a clean end.
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

/// Writes and flushes the remaining bytes of a batch. Becomes ready when the operating system has accepted all these
/// bytes.
fn poll_frames<Io: AsyncRead + AsyncWrite + Liveness + Uptake + Unpin>(
    wire: &mut Wire<Io>,
    cursor: &mut Cursor,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Arc<Disconnect>>> {
    loop {
        // A TLS stream accepts bytes before it sends them. They are known to be sent only after a flush.
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

/// Sends STOP, waits for FINISH, and closes the connection.
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
    // If a TLS stream ends without `close_notify`, the collector treats it as cut off. One try is enough, because no
    // other data waits to be sent.
    let _ = Pin::new(&mut wire.io).poll_shutdown(cx);
    Poll::Ready(match *cause {
        Disconnect::Finished | Disconnect::Closed => Ok(()),
        _ => Err(cause),
    })
}

// === impl Work ===

impl Work {
    /// Returns a number that changes whenever the collector takes data.
    fn written(&self) -> u64 {
        match self {
            Self::Frames { cursor, .. } => cursor.total,
            // STOP and FINISH share one deadline. If the bytes of STOP counted as progress, they would extend it.
            Self::Stop { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests;
