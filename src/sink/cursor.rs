//! The progress of a batch that is being written.

use std::io::IoSlice;

use super::receipts::Mark;
use crate::{
    frame_stream::{Batch, Chunk},
    router::Progress,
};

/// The progress in a batch, as two positions. The first is the end of the bytes that the stream accepted. The second is
/// the end of the bytes that the operating system accepted.
///
/// With TLS the two positions differ, because a TLS stream accepts bytes before it can send them.
#[derive(Debug)]
pub(super) struct Cursor {
    batch: Batch,
    accepted: Place,
    confirmed: Place,
    /// The number of bytes that the stream accepted.
    pub(super) total: u64,
    /// The positions on the wire at which flushes ended. Empty if they are not needed.
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chunk: usize,
    byte: usize,
}

// === impl Cursor ===

impl Cursor {
    pub(super) fn new(batch: Batch) -> Self {
        let start = Place { chunk: 0, byte: 0 };
        let mut cursor = Self {
            batch,
            accepted: start,
            confirmed: start,
            total: 0,
            marks: Vec::new(),
        };
        cursor.accept(0);
        cursor.confirm();
        cursor
    }

    /// Fills `slices` with the next bytes of the batch, and returns the slices that were filled. Returns no slices at
    /// the end of the batch.
    pub(super) fn slices<'s, 'b: 's>(&'b self, slices: &'s mut [IoSlice<'b>]) -> &'s [IoSlice<'b>] {
        let mut skip = self.accepted.byte;
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.batch[self.accepted.chunk..]) {
            *slice = IoSlice::new(&chunk.wire()[skip..]);
            skip = 0;
            filled += 1;
        }
        &slices[..filled]
    }

    /// Moves the first position forward by `bytes`, the number of bytes that the stream accepted.
    pub(super) fn accept(&mut self, bytes: usize) {
        self.total += bytes as u64;
        self.accepted.byte += bytes;
        while let Some(chunk) = self.batch.get(self.accepted.chunk) {
            let length = chunk.wire().len();
            if self.accepted.byte < length {
                break;
            }
            self.accepted.byte -= length;
            self.accepted.chunk += 1;
        }
    }

    /// Records that the operating system has accepted all bytes that the stream accepted.
    pub(super) fn confirm(&mut self) {
        self.confirmed = self.accepted;
    }

    /// Records a flush. `sent` is the number of bytes that the connection has handed to the kernel so far. They include
    /// all bytes that the stream accepted.
    pub(super) fn mark(&mut self, sent: u64) {
        let mark = Mark {
            flushed: self.total,
            sent,
        };
        if self.marks.last() != Some(&mark) {
            self.marks.push(mark);
        }
    }

    /// Removes and returns the recorded positions of the flushes.
    pub(super) fn take_marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.marks)
    }

    /// Returns whether the operating system has accepted the whole batch.
    pub(super) fn is_done(&self) -> bool {
        self.confirmed.chunk == self.batch.len()
    }

    /// Returns the number of frames that the operating system has accepted completely.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for chunk in &self.batch[..self.confirmed.chunk] {
            progress.frames += chunk.len();
            progress.bytes += chunk.wire().len() as u64;
        }
        let mut boundary = 0;
        if let Some(chunk) = self.batch.get(self.confirmed.chunk) {
            let (frames, bytes) = chunk.whole_frames(self.confirmed.byte);
            progress.frames += frames;
            progress.bytes += bytes as u64;
            boundary = bytes;
        }
        progress.cut = self.accepted
            != Place {
                byte: boundary,
                ..self.confirmed
            };
        progress
    }
}

/// Returns the number of frames that end within the first `bytes` bytes of the chunks, and the number of bytes of these
/// frames.
pub(super) fn whole_frames(chunks: &[Chunk], mut bytes: u64) -> (usize, u64) {
    let mut whole = (0, 0);
    for chunk in chunks {
        let within = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (frames, end) = chunk.whole_frames(within);
        whole.0 += frames;
        whole.1 += end as u64;
        if frames < chunk.len() {
            break;
        }
        bytes -= end as u64;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let chunk = |wire: &'static [u8]| Chunk::from_wire(wire.into()).expect("whole frames");
        vec![chunk(b"\0\0\0\x01a\0\0\0\x01b"), chunk(b"\0\0\0\x02cd")]
    }

    fn next(cursor: &Cursor) -> Vec<u8> {
        cursor
            .slices(&mut [IoSlice::new(&[]); 8])
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    #[test]
    fn bytes_accepted_one_by_one_advance_in_order() {
        let mut cursor = Cursor::new(batch());
        let whole = next(&cursor);
        assert_eq!(whole.len(), 16);
        for written in 1..=whole.len() {
            cursor.accept(1);
            cursor.confirm();
            assert_eq!(next(&cursor), whole[written..]);
            let frames = [5, 10, 16].iter().filter(|end| **end <= written).count();
            let progress = cursor.progress();
            assert_eq!(progress.frames, frames, "after {written} bytes");
            assert_eq!(progress.bytes, [0, 5, 10, 16][frames]);
            assert_eq!(
                progress.cut,
                ![5, 10, 16].contains(&written),
                "after {written} bytes"
            );
        }
        assert!(cursor.is_done());
    }

    #[test]
    fn unconfirmed_bytes_are_not_progress() {
        let mut cursor = Cursor::new(batch());
        cursor.accept(5);
        cursor.confirm();
        cursor.accept(11);
        assert!(!cursor.is_done());
        assert_eq!(
            cursor.progress(),
            Progress {
                frames: 1,
                bytes: 5,
                cut: true
            }
        );
        cursor.confirm();
        assert!(cursor.is_done());
        assert_eq!(
            cursor.progress(),
            Progress {
                frames: 3,
                bytes: 16,
                cut: false
            }
        );
    }

    #[test]
    fn an_empty_batch_is_done() {
        assert!(Cursor::new(Batch::new()).is_done());
        let chunk = Chunk::from_wire(bytes::Bytes::new()).expect("no frames");
        assert!(Cursor::new(vec![chunk]).is_done());
    }

    #[test]
    fn slices_fill_at_most_the_given_space() {
        let cursor = Cursor::new(batch());
        let mut one = [IoSlice::new(&[])];
        let slices = cursor.slices(&mut one);
        assert_eq!((slices.len(), slices[0].len()), (1, 10));
    }
}
