//! The captures, which a separate thread cuts into pieces. Each piece holds many frames.

use std::{
    fs,
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
use crate::{
    cli::capture,
    dnstap,
    frame_stream::{FileReader, LONGEST_FRAME},
};

/// Frames to write together.
#[derive(Debug)]
pub(super) struct Piece {
    /// The frames. The length of each frame comes before its payload.
    pub(super) wire: Vec<u8>,
    pub(super) frames: u64,
    /// The time from the start of the replay until the frames are due; `None` if they are due immediately.
    pub(super) due: Option<Duration>,
}

/// The pieces, and the channel on which connections return buffers.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) ready: mpsc::Receiver<Piece>,
    pub(super) buffers: Sender<Vec<u8>>,
    /// The problems with the captures. They are sent after all captures were read.
    pub(super) problems: oneshot::Receiver<Vec<ReplayError>>,
}

/// The thread that reads the captures.
struct Thread {
    captures: Vec<PathBuf>,
    schedule: Schedule,
    to: mpsc::Sender<Piece>,
    buffers: Receiver<Vec<u8>>,
    problems: Vec<ReplayError>,
}

/// The error if all connections have ended, so that no connection takes pieces any more.
struct Closed;

/// The number of bytes at which a piece is complete. A piece of this size has enough frames for several reads of the
/// listener, and it still fits into the processor's caches.
const SIZE: usize = 256 << 10;

/// The number of pieces that may wait for a connection.
const AHEAD: usize = 4;

/// If the replay has a pace, a piece contains the frames that are due within this time.
const SLICE: Duration = Duration::from_millis(10);

/// Returns the problems with captures of which nothing can be sent: those that cannot be opened or are no captures.
/// Looks only at files, because the bytes of a pipe can be read only once.
pub(super) fn unusable(captures: &[PathBuf]) -> Vec<ReplayError> {
    let unusable = |path: &PathBuf| {
        if is_piped(path) {
            return None;
        }
        let opened = capture::open(path).and_then(capture::decompressed);
        let source = match opened {
            Ok(bytes) => FileReader::new(bytes).err()?,
            Err(error) => error.into(),
        };
        let name = capture::name(path);
        Some(ReplayError::Capture { name, source })
    };
    captures.iter().filter_map(unusable).collect()
}

/// Returns whether `path` is neither a file nor a folder. It may be missing.
fn is_piped(path: &Path) -> bool {
    let about = fs::metadata(path);
    capture::is_standard_input(path) || about.is_ok_and(|it| !it.is_file() && !it.is_dir())
}

// === impl Pieces ===

impl Pieces {
    /// Starts to read `captures`. Reads them `passes` times, or without end if `passes` is 0.
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
                // An error means that all connections have ended. The connections themselves report the reason.
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
            // Stops if this pass through the captures had no frames: a capture may be empty, or standard input was read
            // already. Without this check, the loop would never end.
            if !sent || !self.problems.is_empty() {
                break;
            }
            pass = pass.saturating_add(1);
        }
        Ok(())
    }

    /// Sends the frames of one capture. Returns whether the capture had any frames.
    fn send(&mut self, path: &Path, bytes: Box<dyn Read + Send>) -> Result<bool, Closed> {
        let piped = capture::is_standard_input(path);
        let problem = |source| ReplayError::Capture {
            name: capture::name(path),
            source,
        };
        let mut frames = match FileReader::new(bytes) {
            Ok(frames) => frames.with_max_frame(LONGEST_FRAME).with_concatenated(),
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
                // The error is reported, and all whole frames of the capture are sent. After a frame that is too long,
                // reading continues with the next frame.
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
            // Frames from a pipe are sent as soon as they arrive.
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

    /// Returns an empty piece. Reuses the buffer of a piece that was written, if one is free.
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

    /// Sets the times in all frames to `now`, which is counted from 1970.
    pub(super) fn set_moments(&mut self, now: Duration) {
        let mut rest = self.wire.as_mut_slice();
        while let Some((length, after)) = rest.split_first_chunk_mut() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((frame, next)) = after.split_at_mut_checked(length) else {
                return;
            };
            // A frame that has no times or is not dnstap is sent unchanged.
            let _ = dnstap::set_moment(frame, now);
            rest = next;
        }
    }
}
