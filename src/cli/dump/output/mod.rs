//! The outputs: files, standard output and collectors. Each output has a thread and a bounded queue, so that a slow
//! output does not slow down the others.

mod collectors;
mod file;
mod painted;
mod pair;
mod patience;
mod pcap;
mod target;
mod worker;

pub(super) use collectors::Collectors;
pub(super) use file::open;
pub(super) use patience::Ending;
pub(super) use worker::{Kind, Worker};

use std::io;

use super::{account::OutputAccount, batch::Batch};
use crate::frame_stream::FileError;

/// An output. It runs in a thread of its own.
pub(super) trait Output: Send {
    /// Processes the frames of `batch`. Counts a frame in `account` when the frame is written, not when it is only
    /// buffered.
    ///
    /// # Errors
    /// If the frames cannot be written. The output is not used any more after that.
    fn write(&mut self, batch: &Batch, account: &OutputAccount) -> Result<(), OutputError>;

    /// Writes buffered data. The thread of the output calls this when no batch is waiting.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn flush(&mut self, account: &OutputAccount) -> Result<(), OutputError>;

    /// Continues in a new file if the old one was renamed or removed.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn reopen(&mut self, account: &OutputAccount) -> Result<(), OutputError>;

    /// Completes the output.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn finish(self: Box<Self>, account: &OutputAccount) -> Result<(), OutputError>;
}

/// The reason why an output is not used any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Writing Frame Streams failed.
    #[error(transparent)]
    File(#[from] FileError),
}

// === impl OutputError ===

impl OutputError {
    /// Returns whether the error means that the reader closed the pipe, as `head` does. That is not a failure.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Io(error) | Self::File(FileError::Io(error)) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            Self::File(_) => false,
        }
    }
}
