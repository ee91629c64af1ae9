//! Reading on after damage: the search for the next capture in the same file.

use std::{io::Read, mem};

use super::{
    FileReader,
    rewind::{OVERLAP, START_LENGTH, after_start, rest_of_start},
};
use crate::{dnstap, frame_stream::FileError};

/// The largest number of captures that are found inside a frame or after damage. Each of them may make the reader copy
/// a frame, so a file that consists of such captures would take very long to read.
pub(super) const RESUMED_AT_MOST: u32 = 1000;

/// The number of bytes in which START is searched at a time.
const PIECE: usize = 1 << 16;

// === impl FileReader ===

impl<R: Read> FileReader<R> {
    /// Finds the START of another capture in `payload`, after which reading continues. Returns the offset of START.
    ///
    /// A message can contain the bytes of a START, because a DNS client chooses what is in its query. So a complete frame
    /// that is dnstap is never searched.
    pub(super) fn capture_inside(&mut self, is_complete: bool) -> Result<Option<u64>, FileError> {
        if !self.concatenated || self.resumed == RESUMED_AT_MOST {
            return Ok(None);
        }
        let mut after = after_start(&self.payload);
        let rest = rest_of_start(&self.payload).filter(|_| after.is_none() && is_complete);
        if after.is_none() && rest.is_none()
            || is_complete && dnstap::validate(&self.payload).is_ok()
        {
            return Ok(None);
        }
        let mut payload = mem::take(&mut self.payload);
        let length = payload.len();
        if let Some(rest) = rest {
            let rest = self
                .file
                .by_ref()
                .take(rest as u64)
                .read_to_end(&mut payload);
            self.offset += rest? as u64;
            after = after_start(&payload);
        }
        let again = payload.get(after.unwrap_or(length)..).unwrap_or_default();
        self.put_back(again);
        self.payload = payload;
        self.payload.truncate(length);
        self.resumed += u32::from(after.is_some());
        Ok(after.map(|_| self.offset.saturating_sub(START_LENGTH)))
    }

    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.file.put_back(bytes);
        self.offset -= bytes.len() as u64;
    }

    /// Reads up to the next START, after damage. Returns false if the file has no START.
    pub(super) fn read_until_start(&mut self) -> Result<bool, FileError> {
        match self.skip(u64::MAX) {
            Ok(true) => Err(FileError::Resumed {
                offset: self.offset.saturating_sub(START_LENGTH),
            }),
            Ok(false) | Err(FileError::CutShort { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Skips `length` bytes. If another capture may follow, ends early after a START, and returns true.
    pub(super) fn skip(&mut self, mut length: u64) -> Result<bool, FileError> {
        let mut piece = Vec::new();
        while length > 0 {
            // START may begin in the previous piece.
            piece.drain(..piece.len().saturating_sub(OVERLAP));
            let begin = piece.len();
            let size = usize::try_from(length).unwrap_or(usize::MAX).min(PIECE);
            piece.resize(begin + size, 0);
            let read = self.read_some(piece.get_mut(begin..).unwrap_or_default())?;
            piece.truncate(begin + read);
            length -= read as u64;
            if self.concatenated
                && self.resumed < RESUMED_AT_MOST
                && let Some(after) = after_start(&piece)
            {
                self.resumed += 1;
                self.put_back(piece.get(after..).unwrap_or_default());
                return Ok(true);
            }
        }
        Ok(false)
    }
}
