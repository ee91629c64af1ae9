//! The captures as pieces of frames, read by a thread of their own.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    error::ReplayError,
    pace::{Pace, Schedule},
};
use crate::{cli::capture, dnstap, frame_stream::FileReader};

/// Frames to write together.
#[derive(Debug)]
pub(super) struct Piece {
    /// The frames, each with its length.
    pub(super) wire: Vec<u8>,
    pub(super) frames: u64,
    /// The delay from the start to the time at which they are due; `None` if they are due immediately.
    pub(super) due: Option<Duration>,
}

/// The pieces, and the way back for their buffers.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) ready: mpsc::Receiver<Piece>,
    pub(super) buffers: Sender<Vec<u8>>,
    /// The problems of the captures, once all were read.
    pub(super) problems: oneshot::Receiver<Vec<ReplayError>>,
}

/// The thread that reads.
struct Thread {
    captures: Vec<PathBuf>,
    schedule: Schedule,
    to: mpsc::Sender<Piece>,
    buffers: Receiver<Vec<u8>>,
    problems: Vec<ReplayError>,
}

/// Nobody takes pieces any more.
struct Closed;

/// A piece is complete with this many bytes: several frames of a read of the listener, and little enough for the caches.
const SIZE: usize = 256 << 10;

/// Pieces that wait for a connection.
const AHEAD: usize = 4;

/// A paced piece has frames that are due within this time.
const SLICE: Duration = Duration::from_millis(10);

/// The longest frame that is sent, in bytes of payload: the most that a listener can be configured to take.
const MAX_FRAME: u32 = 16 << 20;

// === impl Pieces ===

impl Pieces {
    /// Starts to read `captures`, `passes` times; 0 is without end.
    pub(super) fn start(
        captures: Vec<PathBuf>,
        passes: u64,
        pace: Pace,
    ) -> Result<Self, ReplayError> {
        let (to, ready) = mpsc::channel(AHEAD);
        let (returned, buffers) = channel();
        let (report, problems) = oneshot::channel();
        let mut thread = Thread {
            captures,
            schedule: Schedule::new(pace),
            to,
            buffers,
            problems: Vec::new(),
        };
        thread::Builder::new()
            .name("captures".to_owned())
            .spawn(move || {
                // Closed: the connections have ended, and report why.
                let _ = thread.read(passes);
                let _ = report.send(thread.problems);
            })
            .map_err(ReplayError::Thread)?;
        Ok(Self {
            ready,
            buffers: returned,
            problems,
        })
    }
}

// === impl Thread ===

impl Thread {
    fn read(&mut self, passes: u64) -> Result<(), Closed> {
        let mut pass = 0_u64;
        while passes == 0 || pass < passes {
            self.schedule.begin_pass();
            let mut sent = false;
            for path in self.captures.clone() {
                let opened = capture::open(&path)
                    .and_then(capture::decompressed)
                    .map_err(|source| ReplayError::Capture {
                        name: capture::name(&path),
                        source: source.into(),
                    });
                match opened {
                    Ok(bytes) => sent |= self.send(&path, bytes)?,
                    Err(error) => self.problems.push(error),
                }
            }
            // Captures without frames, or a standard input that was read already, would be read without end.
            if !sent || !self.problems.is_empty() {
                break;
            }
            pass = pass.saturating_add(1);
        }
        Ok(())
    }

    /// Sends the frames of one capture. Returns whether there were any.
    fn send(&mut self, path: &Path, bytes: Box<dyn Read + Send>) -> Result<bool, Closed> {
        let piped = capture::is_standard_input(path);
        let problem = |source| ReplayError::Capture {
            name: capture::name(path),
            source,
        };
        let mut frames = match FileReader::new(bytes) {
            Ok(frames) => frames.with_max_frame(MAX_FRAME),
            Err(error) => {
                self.problems.push(problem(error));
                return Ok(false);
            }
        };
        let mut any = false;
        let mut piece = self.piece();
        while let Some(frame) = frames.next_frame() {
            let frame = match frame {
                Ok(frame) => frame,
                // The whole frames before an error, and after a frame that is too long, are sent.
                Err(error) => {
                    self.problems.push(problem(error));
                    continue;
                }
            };
            any = true;
            let moment = if self.schedule.needs_moments() {
                dnstap::moment(frame).ok().flatten()
            } else {
                None
            };
            let due = self.schedule.next(moment);
            if piece.frames > 0 && (piece.wire.len() >= SIZE || !piece.is_due_with(due)) {
                let complete = std::mem::replace(&mut piece, self.piece());
                self.to.blocking_send(complete).map_err(|_| Closed)?;
            }
            if piece.frames == 0 {
                piece.due = due;
            }
            let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            piece.wire.extend_from_slice(&length.to_be_bytes());
            piece.wire.extend_from_slice(frame);
            piece.frames += 1;
            // What comes through a pipe is sent as it comes.
            if piped && !frames.is_next_buffered() {
                let complete = std::mem::replace(&mut piece, self.piece());
                self.to.blocking_send(complete).map_err(|_| Closed)?;
            }
        }
        if piece.frames > 0 {
            self.to.blocking_send(piece).map_err(|_| Closed)?;
        }
        Ok(any)
    }

    /// An empty piece, with a buffer that was used before if one is free.
    fn piece(&self) -> Piece {
        let mut wire = self.buffers.try_recv().unwrap_or_default();
        wire.clear();
        Piece {
            wire,
            frames: 0,
            due: None,
        }
    }
}

// === impl Piece ===

impl Piece {
    fn is_due_with(&self, due: Option<Duration>) -> bool {
        match (self.due, due) {
            (Some(first), Some(due)) => due.saturating_sub(first) < SLICE,
            _ => true,
        }
    }

    /// Sets the times of all frames to `now` since 1970.
    pub(super) fn set_moments(&mut self, now: Duration) {
        let mut rest = self.wire.as_mut_slice();
        while let Some((length, after)) = rest.split_first_chunk_mut() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((frame, next)) = after.split_at_mut_checked(length) else {
                return;
            };
            // A frame without times, or that is not dnstap, is sent as it is.
            let _ = dnstap::set_moment(frame, now);
            rest = next;
        }
    }
}
