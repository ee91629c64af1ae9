//! The errors of files in the format of Frame Streams.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use super::ControlError;

/// The reason why a file cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The first bytes are not a START.
    #[error("not a Frame Streams file: it does not begin with START")]
    NotFrameStreams,
    /// A Frame Streams file whose content is not dnstap.
    #[error("the file's content type is \"{}\", not \"protobuf:dnstap.Dnstap\"", .found.escape_ascii())]
    ContentType {
        /// The content type in START.
        found: Bytes,
    },
    /// The file ends before STOP: its writer was killed, or is still writing.
    #[error("the file ends at byte {offset} without a STOP, after {frames} whole frames")]
    CutShort {
        /// The number of whole frames before the end.
        frames: u64,
        /// The length of the file, in bytes.
        offset: u64,
    },
    /// A capture without STOP that is followed by another capture: its writer was killed, and a later writer appended
    /// to the file.
    #[error("the capture that ends at byte {offset} has no STOP; another capture follows it")]
    NoStop {
        /// The offset of the START that follows the capture.
        offset: u64,
    },
    /// A capture that ends inside a frame, and is followed by another capture: its writer was killed, and a later one
    /// appended to the file.
    #[error(
        "the capture ends inside the frame at byte {offset}; another capture begins at byte {next}"
    )]
    CutInside {
        /// The offset of the frame's length.
        offset: u64,
        /// The offset of the START that follows.
        next: u64,
    },
    /// The next capture after damage that was reported before.
    #[error("reading continues with the capture that begins at byte {offset}")]
    Resumed {
        /// The offset of the START of that capture.
        offset: u64,
    },
    /// Bytes after STOP that are not the START of another capture.
    #[error("the bytes after STOP, from byte {offset} on, are not another capture")]
    AfterStop {
        /// The offset of the first byte after STOP.
        offset: u64,
    },
    /// A data frame that is longer than the limit, or longer than the format allows.
    #[error("the frame at byte {offset} has {length} bytes, more than the {limit} allowed")]
    FrameTooLong {
        /// The offset of the frame's length.
        offset: u64,
        /// The length of its payload, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: u32,
    },
    /// A frame without payload. It cannot be written, because a length of 0 marks a control frame.
    #[error("a data frame cannot be empty")]
    EmptyFrame,
    /// A broken control frame, or one that is not allowed at this point.
    #[error("at byte {offset}: {source}")]
    Control {
        /// The offset of the control frame.
        offset: u64,
        /// The error in it.
        source: ControlError,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
