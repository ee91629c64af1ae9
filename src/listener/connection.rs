//! The connection of one sender. After the handshake, a loop reads bytes, cuts them into frames and offers the frames
//! to the sinks, until the sender or the router ends the connection.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::pin,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    select,
    time::{self, timeout, timeout_at},
};
use tracing::debug;

use super::{
    Cut, Cutter, End, ErrorReason,
    ending::{self, DialledBy},
    intake::Intake,
    sender_lines::{Ended, Refused},
    senders::Connected,
    stamp::Stamper,
    unfinished::Holder,
};
use crate::{
    coalescing,
    config::{ListenLimits, quantity::Size},
    frame_stream::{self, CONTENT_TYPE, ControlKind, Opening},
    net::Stream,
};

/// A sender's connection, after its handshakes.
struct Connection<'a> {
    intake: &'a Intake,
    peer: &'a str,
    /// Stamps the chunks of this connection.
    stamper: Stamper,
    /// Shows the sender in the status.
    sender: Connected,
    stream: Stream,
    opening: Opening,
    cutter: Cutter,
    holder: Holder,
    /// The deadline of writing FINISH.
    deadline: Duration,
    refused: Refused,
    /// The end of the stream, for the log.
    ended: Ended,
    dialled_by: DialledBy,
}

/// The events that a connection waits for.
enum Event {
    /// Bytes have been read.
    Data,
    /// The sender has closed its side.
    Eof,
    Failed(io::Error),
    /// The sender has stopped in the middle of a frame.
    Stalled,
    /// Unfinished frames hold too much memory, and the unfinished frame of this connection is the heaviest.
    TooMuchHeld,
    /// The drain has begun, and the listener's socket is closed.
    Drain,
    /// The sender was asked to end its stream, and has not done so.
    NotEnded,
    /// The drain's deadline has passed.
    Deadline,
}

/// The longest time from a frame's first byte to its last. Bytes that arrive within this time do not extend it, because
/// the frame is held in memory until it is complete. Between two frames, a sender may be silent for any time; TCP
/// keepalive notices a sender that is gone.
const STALL_DEADLINE: Duration = Duration::from_secs(60);

/// A sender may always have bytes to read. So after this number of reads, a connection asks for its signals first.
const READS_PER_SIGNAL: u32 = 32;

/// The number of reads after the drain's deadline. They take the bytes that the sender wrote before the deadline.
const LAST_READS: usize = 64;

/// Serves a sender that has connected, until its connection ends.
pub(super) async fn serve(intake: &Intake, mut stream: Stream, limits: ListenLimits) {
    let peer = stream.peer();
    let handshake = frame_stream::accept_opening(&mut stream, limits.handshake);
    let opening = match intake.before_deadline(handshake).await {
        Some(Ok(opening)) => opening,
        Some(Err(error)) => {
            intake.refuse((&error).into(), &peer, &error);
            return;
        }
        None => {
            let error = "the drain ended before the Frame Streams handshake was complete";
            intake.refuse(ErrorReason::Timeout, &peer, &error);
            return;
        }
    };
    serve_stream(intake, stream, opening, limits, DialledBy::Sender).await;
}

/// Reads the stream of one sender after the handshake, until its connection ends.
pub(super) async fn serve_stream(
    intake: &Intake,
    stream: Stream,
    opening: Opening,
    limits: ListenLimits,
    dialled_by: DialledBy,
) -> Ended {
    let peer = stream.peer();
    // The handshake refuses every other content type, so this is the content type of every stream.
    let content_type = str::from_utf8(CONTENT_TYPE).unwrap_or_default();
    debug!(listener = %intake.listener, %peer, mode = ?opening.mode, content_type, "stream started");
    let stamper = intake.listener.stamper(&intake.budgets.memory, &peer);
    let sender = intake.senders.add(stamper.source(), stream.process());
    let mut connection = Connection {
        intake,
        peer: &peer,
        stamper,
        sender,
        stream,
        opening,
        cutter: Cutter::new(limits.frame),
        holder: intake.budgets.unfinished.holder(),
        deadline: limits.handshake,
        refused: Refused::default(),
        ended: Ended::ByTapfan,
        dialled_by,
    };
    intake
        .sender_lines
        .connected(&intake.listener.name(), &connection.sender);
    connection.run().await;
    let Connection {
        sender,
        refused,
        ended,
        ..
    } = connection;
    intake
        .sender_lines
        .disconnected(&intake.listener.name(), &sender, refused, ended);
    ended
}

// === impl Connection ===

impl Connection<'_> {
    async fn run(&mut self) {
        let intake = self.intake;
        let mut drain = pin!(intake.closed.cancelled());
        let mut deadline = pin!(intake.signals.deadline.cancelled());
        let mut too_much_held = pin!(self.holder.asked_to_close());
        let mut draining = false;
        let mut asked = None;
        for read_number in (0..READS_PER_SIGNAL).cycle() {
            let signal = async {
                select! {
                    biased;
                    () = &mut deadline => Event::Deadline,
                    () = &mut drain, if !draining => Event::Drain,
                    () = ending::until(asked), if asked.is_some() => Event::NotEnded,
                    () = &mut too_much_held => Event::TooMuchHeld,
                }
            };
            let read = read(&mut self.stream, &mut self.cutter, &mut self.holder);
            // Asking for a signal takes three locks. Bytes that have arrived come first, so that most wake-ups ask once
            // and not twice.
            let event = if read_number == 0 {
                select! { biased; event = signal => event, event = read => event }
            } else {
                select! { biased; event = read => event, event = signal => event }
            };
            match event {
                Event::Data => {
                    if let Some(end) = self.cut() {
                        self.end(end).await;
                        return;
                    }
                }
                Event::Drain => {
                    draining = true;
                    asked = self.ask_to_end().await;
                }
                Event::NotEnded if self.dialled_by == DialledBy::Sender => {
                    asked = None;
                    self.half_close().await;
                }
                Event::NotEnded | Event::Deadline => {
                    self.read_what_has_arrived().await;
                    return;
                }
                Event::Eof if self.cutter.frame_began().is_none() => {
                    self.ended = Ended::WithoutStop;
                    return;
                }
                failed => {
                    if let Event::Eof | Event::Failed(_) = failed {
                        self.ended = Ended::WithoutStop;
                    }
                    self.fail(failed);
                    return;
                }
            }
        }
    }

    /// Makes the sender end its stream. Returns the time at which the next step is due if the stream has not ended.
    async fn ask_to_end(&mut self) -> Option<time::Instant> {
        if self.opening.understands_end_request {
            let request = ending::request(&mut self.stream, self.deadline);
            return self.intake.before_deadline(request).await;
        }
        self.half_close().await;
        self.dialled_by.leaves_at()
    }

    async fn half_close(&mut self) {
        let half_close = ending::half_close(&mut self.stream, self.deadline);
        self.intake.before_deadline(half_close).await;
    }

    /// Counts and logs a connection that its sender did not end cleanly.
    fn fail(&self, event: Event) {
        let (reason, error) = match event {
            Event::Failed(error) => (ErrorReason::Io, error.to_string()),
            Event::Stalled => {
                let error = format!("a frame was still incomplete after {STALL_DEADLINE:?}");
                (ErrorReason::Stalled, error)
            }
            Event::TooMuchHeld => (ErrorReason::Unfinished, self.too_much_held()),
            _ => {
                let error = "the stream ended in the middle of a frame, which is lost";
                (ErrorReason::Io, error.to_owned())
            }
        };
        self.intake.refuse(reason, self.peer, &error);
    }

    fn too_much_held(&self) -> String {
        let limit = Size::of(self.holder.unfinished.limit());
        let held = self.holder.bytes;
        let began = self.cutter.frame_began();
        let age = began.map_or(Duration::ZERO, |began| began.elapsed());
        let age = age.as_secs_f32();
        format!(
            "unfinished frames held more than the {limit} that unfinished_frames allows: closed this connection, which held {held} bytes of a frame that began {age:.1}s ago; does the sender hang in the middle of a frame?"
        )
    }

    /// Cuts the bytes that were read, and offers the frames to the sinks. Returns the end of the stream if the bytes
    /// contained it.
    fn cut(&mut self) -> Option<End> {
        let cut = self.cutter.cut(Instant::now());
        self.report_bad_frames(&cut);
        if let Some(chunk) = cut.chunk {
            coalescing::have_read(chunk.len());
            self.intake.counters.count_chunk(&chunk);
            self.sender.count_chunk(&chunk);
            self.intake.router.offer(&self.stamper.stamp(chunk));
        }
        cut.end
    }

    /// Counts the frames that were removed or skipped. Only the first of each kind is logged, because a broken sender
    /// sends thousands.
    fn report_bad_frames(&mut self, cut: &Cut) {
        let (intake, peer, refused) = (self.intake, self.peer, &mut self.refused);
        let sender = &self.sender;
        let report = |reason, frames, total: &mut u64, error: fmt::Arguments<'_>| {
            if frames == 0 {
                return;
            }
            intake.counters.error(reason, frames);
            sender.count_refused(frames);
            if *total == 0 {
                intake.warn(
                    reason,
                    peer,
                    format_args!("{error}; further such frames are only counted"),
                );
            }
            *total += frames;
        };
        if let Some(malformation) = cut.malformation {
            report(
                ErrorReason::Malformed,
                cut.malformed,
                &mut refused.malformed,
                format_args!("removed a frame that is not a dnstap message: {malformation}"),
            );
        }
        let (length, limit) = (cut.oversize_length, self.cutter.max_frame);
        report(
            ErrorReason::Oversize,
            cut.oversize,
            &mut refused.oversize,
            format_args!(
                "skipped a frame of {length} bytes, more than the {limit} that max_frame allows"
            ),
        );
        let kind = cut.control_kind;
        let kind = kind.map_or("a frame of unknown type", ControlKind::label);
        report(
            ErrorReason::Control,
            cut.control,
            &mut refused.control,
            format_args!("skipped a control frame that has no meaning in mid-stream: {kind}"),
        );
    }

    /// Ends a stream after STOP, or after a protocol error.
    async fn end(&mut self, end: End) {
        if let End::Protocol(error) = end {
            self.intake.refuse(ErrorReason::Protocol, self.peer, &error);
            return;
        }
        self.ended = Ended::Stop;
        let finish = ending::finish(&mut self.stream, self.opening.mode, self.deadline);
        let finished = self.intake.before_deadline(finish).await;
        self.log_finish(finished.unwrap_or_default());
    }

    fn log_finish(&self, finished: bool) {
        // All frames are in the queues already, so nothing is lost if the sender does not wait for FINISH.
        if !finished {
            debug!(listener = %self.intake.listener, peer = %self.peer, "the sender did not take FINISH");
        }
    }

    /// Reads the bytes that a sender had written before the drain's deadline.
    async fn read_what_has_arrived(&mut self) {
        for _ in 0..LAST_READS {
            let read = read_some(&mut self.stream, &mut self.cutter, &mut self.holder);
            // tokio rounds a timeout of zero up to a millisecond, which is enough to notice bytes that have arrived.
            match timeout(Duration::ZERO, read).await {
                Ok(Ok(1..)) => match self.cut() {
                    None => {}
                    Some(End::Stop) => {
                        self.ended = Ended::Stop;
                        let mode = self.opening.mode;
                        let finish = ending::finish(&mut self.stream, mode, ending::LAST_FINISH);
                        let finished = finish.await;
                        self.log_finish(finished);
                        break;
                    }
                    Some(End::Protocol(_)) => break,
                },
                _ => break,
            }
        }
        if self.cutter.frame_began().is_some() {
            let error = "the drain ended in the middle of a frame, which is lost";
            self.intake.refuse(ErrorReason::Io, self.peer, &error);
        }
    }
}

/// Reads once. In the middle of a frame, the function waits at most until the frame's deadline.
async fn read(stream: &mut Stream, cutter: &mut Cutter, holder: &mut Holder) -> Event {
    let mid_frame = cutter.frame_began();
    let bytes = read_some(stream, cutter, holder);
    let result = match mid_frame {
        Some(began) => match timeout_at((began + STALL_DEADLINE).into(), bytes).await {
            Ok(result) => result,
            Err(_) => return Event::Stalled,
        },
        None => bytes.await,
    };
    match result {
        Ok(0) => Event::Eof,
        Ok(_) => Event::Data,
        Err(error) => Event::Failed(error),
    }
}

/// Reads once. While the function waits, the buffer is shrunk to the size of the unfinished frame, and the memory of
/// this buffer is counted. Cancel safe.
async fn read_some(
    stream: &mut Stream,
    cutter: &mut Cutter,
    holder: &mut Holder,
) -> io::Result<usize> {
    poll_fn(|context| {
        let read = pin!(stream.read_buf(cutter.buffer())).poll(context);
        if read.is_pending() {
            let held = cutter.wait();
            holder.hold(held, cutter.frame_began());
        }
        read
    })
    .await
}
