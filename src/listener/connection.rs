//! One sender: handshake, read, cut, offer, until it ends or the router does.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    select,
    time::{timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    Counters, Cut, Cutter, End, ErrorReason, Phase, Shared,
    accept::Settings,
    log_gate::{LogGate, Verdict},
    place::Place,
    unfinished::Holder,
};
use crate::{
    config::quantity::Size,
    frame_stream::{self, Control, ControlKind, Mode, Source},
    net::Stream,
    router::Router,
};

/// What every connection of a listener needs.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) listener: Arc<str>,
    pub(super) router: Router,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) phase: Phase,
    /// Ask senders to end: the drain has begun, and the listener's socket is closed, so that none can come back.
    pub(super) closed: CancellationToken,
    pub(super) log: LogGate,
    pub(super) shared: Shared,
    /// Where its socket has to be; `None` if it has no file of its own.
    pub(super) place: Option<Arc<Place>>,
}

/// A sender's connection, after its handshakes.
struct Connection<'a> {
    intake: &'a Intake,
    peer: &'a str,
    /// What its chunks are known by.
    source: Source,
    stream: Stream,
    mode: Mode,
    cutter: Cutter,
    holder: Holder,
    frames: u64,
    malformed: u64,
    oversize: u64,
    control: u64,
}

/// What a reading phase ended with.
enum Read {
    Data,
    /// The sender closed its side.
    Eof,
    Failed(io::Error),
    /// The sender stopped in the middle of a frame.
    Stalled,
    /// Unfinished frames hold too much memory, and this one most for longest.
    TooMuchHeld,
    /// The router is to end: ask the sender to.
    Drain,
    /// The drain's time is over.
    Deadline,
}

/// For the Frame Streams handshake, and for a sender to take FINISH. Senders wait 4 to 5 s themselves.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// A sender may be silent for ever between two frames (keepalive tells whether it is still there), but a frame that
/// has begun must end by then, however its bytes are spread: what has come of it is held in memory.
const STALL_DEADLINE: Duration = Duration::from_mins(1);

/// What is said of a handshake that was still on its way at the end of the drain.
pub(super) const TOO_LATE: &str = "the router ended before the handshake was over";

/// Reads of what a sender had written already that are still made once the drain's time is over.
const LAST_READS: usize = 64;

// === impl Intake ===

impl Intake {
    /// Serves one sender to its end.
    pub(super) async fn serve(&self, mut stream: Stream, max_frame: u32) {
        let peer = stream.peer();
        let handshake = frame_stream::accept(&mut stream, HANDSHAKE_DEADLINE);
        let mode = match self.in_time(handshake).await {
            Some(Ok(mode)) => mode,
            Some(Err(error)) => {
                self.refuse((&error).into(), &peer, &error);
                return;
            }
            None => {
                self.refuse(ErrorReason::Timeout, &peer, &TOO_LATE);
                return;
            }
        };
        debug!(listener = %self.listener, %peer, ?mode, "a sender has begun its stream");
        let cutter = Cutter::new(max_frame);
        let mut connection = Connection {
            intake: self,
            peer: &peer,
            source: Source::within(&self.shared.memory, Arc::clone(&self.listener), &peer),
            stream,
            mode,
            cutter,
            holder: self.shared.unfinished.holder(),
            frames: 0,
            malformed: 0,
            oversize: 0,
            control: 0,
        };
        connection.read().await;
        let Connection {
            frames,
            malformed,
            oversize,
            control,
            ..
        } = connection;
        if malformed + oversize + control > 0 {
            if let Verdict::Write { held_back } = self.log.ask(Instant::now()) {
                let held_back = (held_back > 0).then_some(held_back);
                info!(listener = %self.listener, %peer, frames, malformed, oversize, control, held_back, "a sender with bad frames has ended");
            }
        } else {
            debug!(listener = %self.listener, %peer, frames, "a sender has ended its stream");
        }
    }

    /// What `step` gives, unless it still waits when the drain's time is over.
    pub(super) async fn in_time<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        select! {
            biased;
            result = step => Some(result),
            () = self.phase.deadline.cancelled() => None,
        }
    }

    /// Counts and logs what went wrong with a connection.
    pub(super) fn refuse(&self, reason: ErrorReason, peer: &str, error: &dyn std::fmt::Display) {
        self.counters.error(reason, 1);
        let listener = &self.listener;
        if reason == ErrorReason::Probe {
            debug!(%listener, %peer, %error, "connection without a stream");
            return;
        }
        self.warn(reason, peer, format_args!("{error}"));
    }

    fn warn(&self, reason: ErrorReason, peer: &str, error: std::fmt::Arguments<'_>) {
        let (listener, reason, error) = (&self.listener, reason.label(), error.to_string());
        let error = error.as_str();
        match self.log.ask(Instant::now()) {
            Verdict::Write { held_back: 0 } => {
                tracing::warn!(%listener, %peer, reason, error, "trouble with a sender");
            }
            Verdict::Write { held_back } => {
                tracing::warn!(%listener, %peer, reason, error, held_back, "trouble with a sender; other such lines were held back");
            }
            Verdict::HoldBack => {}
        }
    }
}

// === impl Connection ===

impl Connection<'_> {
    async fn read(&mut self) {
        let phase = self.intake.phase.clone();
        let mut drain = pin!(self.intake.closed.cancelled());
        let mut deadline = pin!(phase.deadline.cancelled());
        let mut too_much_held = pin!(self.holder.asked_to_close());
        let mut draining = false;
        loop {
            let mid_frame = self.cutter.frame_began();
            let read = select! {
                biased;
                () = &mut deadline => Read::Deadline,
                () = &mut drain, if !draining => Read::Drain,
                () = &mut too_much_held => Read::TooMuchHeld,
                read = read(&mut self.stream, &mut self.cutter, &mut self.holder) => read,
            };
            let ended = match read {
                Read::Data => self.cut(),
                Read::Drain => {
                    draining = true;
                    // Tells a sender that reads its back channel to end its stream. One that does not, or is gone
                    // already, learns of it when the connection is closed.
                    let shutdown = timeout(HANDSHAKE_DEADLINE, self.stream.shutdown());
                    let _ = self.intake.in_time(shutdown).await;
                    None
                }
                Read::Deadline => {
                    self.read_what_is_there().await;
                    return;
                }
                Read::Eof if mid_frame.is_some() => {
                    let error = "the stream ends in the middle of a frame, which is lost with it";
                    self.intake.refuse(ErrorReason::Io, self.peer, &error);
                    return;
                }
                Read::Eof => return,
                Read::Failed(error) => {
                    self.intake.refuse(ErrorReason::Io, self.peer, &error);
                    return;
                }
                Read::Stalled => {
                    let error = format_args!(
                        "a frame that had begun was not there whole after {STALL_DEADLINE:?}"
                    )
                    .to_string();
                    self.intake.refuse(ErrorReason::Stalled, self.peer, &error);
                    return;
                }
                Read::TooMuchHeld => {
                    self.give_up(mid_frame);
                    return;
                }
            };
            if let Some(end) = ended {
                self.end(end).await;
                return;
            }
        }
    }

    /// Cuts what was read and offers it.
    fn cut(&mut self) -> Option<End> {
        let Cut {
            chunk,
            malformed,
            malformation,
            oversize,
            oversize_length,
            control,
            control_kind,
            end,
        } = self.cutter.cut(Instant::now());
        let (intake, peer) = (self.intake, self.peer);
        if let Some(chunk) = chunk {
            intake.counters.count_chunk(&chunk);
            self.frames += chunk.len() as u64;
            intake.router.offer(&chunk.brought_by(&self.source));
        }
        if let Some(malformation) = malformation {
            intake.counters.error(ErrorReason::Malformed, malformed);
            if self.malformed == 0 {
                let error = format_args!(
                    "took out a frame that is no dnstap message: {malformation}; later ones are only counted"
                );
                intake.warn(ErrorReason::Malformed, peer, error);
            }
            self.malformed += malformed;
        }
        if oversize > 0 {
            intake.counters.error(ErrorReason::Oversize, oversize);
            if self.oversize == 0 {
                let limit = self.cutter.max_frame();
                let error = format_args!(
                    "skipped a frame of {oversize_length} bytes, more than the {limit} that max_frame allows; later ones are only counted"
                );
                intake.warn(ErrorReason::Oversize, peer, error);
            }
            self.oversize += oversize;
        }
        if control > 0 {
            intake.counters.error(ErrorReason::Control, control);
            if self.control == 0 {
                let kind = control_kind.map_or("a frame of unknown type", ControlKind::name);
                let error = format_args!(
                    "skipped a control frame that is of no use in mid-stream: {kind}; later ones are only counted"
                );
                intake.warn(ErrorReason::Control, peer, error);
            }
            self.control += control;
        }
        end
    }

    /// Says why a connection is closed that held the most of all unfinished frames for the longest time.
    fn give_up(&self, began: Option<Instant>) {
        let held = self.holder.bytes();
        let limit = Size(self.holder.limit() as u64);
        let age = began.map_or(Duration::ZERO, |began| began.elapsed());
        let age = age.as_secs_f32();
        let error = format_args!(
            "unfinished frames held more than the {limit} that unfinished_frames allows: this connection, which held {held} bytes of a frame that began {age:.1}s ago, is closed; does the sender hang in the middle of a frame?"
        )
        .to_string();
        self.intake
            .refuse(ErrorReason::Unfinished, self.peer, &error);
    }

    /// Ends a stream whose sender ended it, or broke it.
    async fn end(&mut self, end: End) {
        if let End::Protocol(error) = end {
            self.intake.refuse(ErrorReason::Protocol, self.peer, &error);
            return;
        }
        if self.mode == Mode::Bidirectional {
            let finish = Control::finish().encode();
            let answer = async {
                self.stream.write_all(&finish).await?;
                self.stream.shutdown().await
            };
            // A sender that does not wait for FINISH has lost nothing.
            let answer = timeout(HANDSHAKE_DEADLINE, answer);
            if !matches!(self.intake.in_time(answer).await, Some(Ok(Ok(())))) {
                debug!(listener = %self.intake.listener, peer = %self.peer, "the sender did not take FINISH");
            }
        }
    }

    /// Takes what a sender that does not end had written when the time was over.
    async fn read_what_is_there(&mut self) {
        for _ in 0..LAST_READS {
            let read = read_some(&mut self.stream, &mut self.cutter, &mut self.holder);
            // tokio rounds no time at all up to a millisecond, in which what has come is seen to have come.
            match timeout(Duration::ZERO, read).await {
                Ok(Ok(1..)) if self.cut().is_none() => {}
                _ => break,
            }
        }
        if self.cutter.frame_began().is_some() {
            let error =
                "the router ended in the middle of a frame, which is lost with the connection";
            self.intake.refuse(ErrorReason::Io, self.peer, &error);
        }
    }
}

/// Reads once; a frame that has begun limits how long that may take.
async fn read(stream: &mut Stream, cutter: &mut Cutter, holder: &mut Holder) -> Read {
    let mid_frame = cutter.frame_began();
    let bytes = read_some(stream, cutter, holder);
    let result = match mid_frame {
        Some(began) => match timeout_at((began + STALL_DEADLINE).into(), bytes).await {
            Ok(result) => result,
            Err(_) => return Read::Stalled,
        },
        None => bytes.await,
    };
    match result {
        Ok(0) => Read::Eof,
        Ok(_) => Read::Data,
        Err(error) => Read::Failed(error),
    }
}

/// Reads once. While there is nothing to read, it holds memory only for a frame that has begun, and has that counted.
/// Cancel safe.
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
