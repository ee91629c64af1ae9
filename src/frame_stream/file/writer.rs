//! The writer of files.

use std::io::{BufWriter, Write};

use super::super::{Chunk, Control, FileError};

/// A buffered writer of data frames. [`finish`](Self::finish) writes STOP.
#[derive(Debug)]
pub struct FileWriter<W: Write> {
    file: BufWriter<W>,
}

// === impl FileWriter ===

impl<W: Write> FileWriter<W> {
    /// Writes START.
    ///
    /// # Errors
    /// If `file` cannot be written to.
    pub fn new(file: W) -> Result<Self, FileError> {
        let mut file = BufWriter::with_capacity(1 << 16, file);
        file.write_all(&Control::start().encode())?;
        Ok(Self { file })
    }

    /// Writes one data frame.
    ///
    /// # Errors
    /// If `payload` is empty, if its length does not fit into 32 bits, or if the file cannot be written to.
    pub fn write_frame(&mut self, payload: &[u8]) -> Result<(), FileError> {
        if payload.is_empty() {
            return Err(FileError::EmptyFrame);
        }
        let length = u32::try_from(payload.len()).map_err(|_| FileError::FrameTooLong {
            offset: 0,
            length: payload.len() as u64,
            limit: u32::MAX,
        })?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(payload)?;
        Ok(())
    }

    /// Writes the data frames of `chunk`.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub fn write_chunk(&mut self, chunk: &Chunk) -> Result<(), FileError> {
        self.write_wire(chunk.wire())
    }

    /// Writes bytes that are whole data frames, with their lengths.
    ///
    /// # Errors
    /// If the file cannot be written to.
    #[cfg_attr(
        not(feature = "cli"),
        allow(dead_code, reason = "`dump` writes whole batches")
    )]
    pub(crate) fn write_wire(&mut self, frames: &[u8]) -> Result<(), FileError> {
        Ok(self.file.write_all(frames)?)
    }

    /// Returns the file that the buffer is flushed to.
    #[cfg_attr(
        not(feature = "cli"),
        allow(dead_code, reason = "`dump` asks whether its file was renamed")
    )]
    pub(crate) fn get_ref(&self) -> &W {
        self.file.get_ref()
    }

    /// Flushes the buffer to the file.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub fn flush(&mut self) -> Result<(), FileError> {
        Ok(self.file.flush()?)
    }

    /// Writes STOP and returns the file. Without STOP, readers treat the file as cut short.
    ///
    /// # Errors
    /// If the file cannot be written to.
    pub fn finish(mut self) -> Result<W, FileError> {
        self.file.write_all(&Control::stop().encode())?;
        self.file
            .into_inner()
            .map_err(|error| error.into_error().into())
    }
}
