//! The thread that reads captures, one after another.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::SyncSender},
};

use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        capture::{self, decompressed},
        dump::{
            account::{Account, REPORTED, complain},
            batch::Batch,
        },
    },
    dnstap,
    frame_stream::{FileError, FileReader},
};

/// A capture to read.
pub(in crate::cli::dump) struct Capture {
    /// The name of the capture in messages.
    name: String,
    bytes: Bytes,
}

/// The bytes of a capture.
enum Bytes {
    Open(Box<dyn Read + Send>),
    /// A FIFO that is opened later, by the thread that reads captures, because opening it waits for a writer.
    Fifo(PathBuf),
}

/// The reason why a capture cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {name}: {source}{}", self.hint())]
pub(in crate::cli::dump) struct CannotOpen {
    name: String,
    source: io::Error,
    /// True if it is a socket.
    is_socket: bool,
}

/// Everything that a thread needs to send frames from captures to the pump: a channel, counts and a stop token. The
/// pump is the loop that passes frames from the inputs to the outputs.
#[derive(Debug, Clone)]
pub(in crate::cli::dump) struct Files {
    pub(in crate::cli::dump) to: SyncSender<Batch>,
    pub(in crate::cli::dump) account: Arc<Account>,
    pub(in crate::cli::dump) stop: CancellationToken,
    /// True if the captures are still growing. In that case an incomplete frame at the end is not an error.
    pub(in crate::cli::dump) grow: bool,
}

/// The result of reading a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The capture was read up to a STOP, or up to an error other than a missing STOP.
    Read,
    /// The capture ended without STOP.
    CutShort,
    /// It does not begin as a capture of dnstap.
    NoCapture,
}

/// The error that stops an input: the pump, which passes frames to the outputs, has ended or wants no more frames.
pub(super) struct Stopped;

/// Reads `captures` in order, until all are read or the pump stops.
pub(in crate::cli::dump) fn read(captures: Vec<Capture>, files: &Files) {
    for capture in captures {
        let Capture { name, bytes } = capture;
        let opened = match bytes {
            Bytes::Open(bytes) => Ok(bytes),
            Bytes::Fifo(path) => capture::open(&path),
        };
        let read = match opened.and_then(decompressed) {
            Ok(bytes) => files.read_capture(&name, bytes),
            Err(error) => {
                files
                    .account
                    .fail(format_args!("cannot read {name}: {error}"));
                Ok(Left::Read)
            }
        };
        if let Err(Stopped) = read {
            return;
        }
    }
}

// === impl Capture ===

impl Capture {
    /// Opens the file at `path`; `-` is standard input. Does not wait for the writer of a FIFO.
    ///
    /// # Errors
    /// If there is no such file or it cannot be read.
    pub(in crate::cli::dump) fn open(path: &Path) -> Result<Self, CannotOpen> {
        let name = capture::name(path);
        let is_fifo = fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo());
        if is_fifo && !capture::is_standard_input(path) {
            let bytes = Bytes::Fifo(path.to_owned());
            return Ok(Self { name, bytes });
        }
        match capture::open(path) {
            Ok(bytes) => Ok(Self {
                name,
                bytes: Bytes::Open(bytes),
            }),
            Err(source) => {
                let is_socket = fs::metadata(path).is_ok_and(|it| it.file_type().is_socket());
                Err(CannotOpen {
                    name,
                    source,
                    is_socket,
                })
            }
        }
    }
}

// === impl CannotOpen ===

impl CannotOpen {
    /// Returns a hint for users of other tools, who expect that a path is the socket to listen on.
    fn hint(&self) -> String {
        let name = &self.name;
        if self.is_socket {
            format!("; it is a socket: to listen on it, write `-u {name}`")
        } else if self.source.kind() == io::ErrorKind::NotFound {
            format!("; to listen on a unix socket with this name, write `-u {name}`")
        } else {
            String::new()
        }
    }
}

// === impl Files ===

impl Files {
    /// Reads a capture up to its end, or up to an error. Reports the error.
    pub(super) fn read_capture(&self, name: &str, bytes: impl Read) -> Result<Left, Stopped> {
        let mut reader = match FileReader::new(bytes) {
            Ok(reader) => reader.with_concatenated(),
            Err(error) => {
                return Ok(self.report_end(name, &error));
            }
        };
        let mut bad = 0;
        let ended = self.read_frames(name, &mut reader, &mut bad);
        if bad > REPORTED {
            let more = bad - REPORTED;
            complain(format_args!("{name}: skipped {more} more bad frames"));
        }
        ended
    }

    fn read_frames(
        &self,
        name: &str,
        reader: &mut FileReader<impl Read>,
        bad: &mut u64,
    ) -> Result<Left, Stopped> {
        let mut batch = Batch::of_file();
        let (mut number, mut left) = (0_u64, Left::Read);
        loop {
            if !batch.is_empty() && (batch.is_full() || !reader.is_next_buffered()) {
                batch = self.send(batch)?;
            }
            let read = reader.next_frame();
            if matches!(read, Some(Ok(_) | Err(FileError::FrameTooLong { .. }))) {
                number += 1;
            }
            let problem = match read {
                None => break,
                Some(Ok(frame)) => match dnstap::validate(frame) {
                    Ok(()) => {
                        batch.push(frame);
                        continue;
                    }
                    Err(error) => {
                        let at = reader.frame_offset();
                        format!("frame {number}, at byte {at}, which is not dnstap: {error}")
                    }
                },
                Some(Err(error @ FileError::FrameTooLong { .. })) => {
                    format!("frame {number}: {error}")
                }
                // The frames of another capture may follow.
                Some(Err(error)) => {
                    batch = self.send(batch)?;
                    left = self.report_end(name, &error);
                    continue;
                }
            };
            *bad += 1;
            self.account.bad.fetch_add(1, Relaxed);
            if *bad <= REPORTED {
                complain(format_args!("{name}: skipped {problem}"));
            }
        }
        self.send(batch)?;
        Ok(left)
    }

    /// Reports the error that ends a capture, or one of the captures in a file.
    fn report_end(&self, name: &str, error: &FileError) -> Left {
        let is_early = matches!(
            error,
            FileError::CutShort { .. } | FileError::NotFrameStreams | FileError::AfterStop { .. }
        );
        let is_told = matches!(error, FileError::Resumed { .. });
        // With `-f`, a later process may continue the file of one that was killed.
        let may_go_on = matches!(
            error,
            FileError::CutShort { .. } | FileError::NoStop { .. } | FileError::CutInside { .. }
        );
        if self.grow && is_early && self.stop.is_cancelled() {
            // With `-f`, the capture is still growing, so an incomplete frame at its end is not an error.
        } else if is_told || (self.grow && may_go_on) {
            complain(format_args!("{name}: {error}"));
        } else {
            self.account.fail(format_args!("{name}: {error}"));
        }
        match error {
            FileError::CutShort { .. } => Left::CutShort,
            FileError::NotFrameStreams | FileError::ContentType { .. } => Left::NoCapture,
            _ => Left::Read,
        }
    }

    /// Sends `batch` to the outputs, and returns an empty batch.
    fn send(&self, batch: Batch) -> Result<Batch, Stopped> {
        if self.stop.is_cancelled() {
            return Err(Stopped);
        }
        if !batch.is_empty() {
            self.to.send(batch).map_err(|_| Stopped)?;
        }
        Ok(Batch::of_file())
    }
}
