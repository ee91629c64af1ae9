//! A file in which the reader finds the START of the next capture after a capture that is cut short.

use std::io::{self, BufReader, Read};

/// A buffered file. Bytes that were read can be put back, and are then read again.
#[derive(Debug)]
pub(super) struct Rewind<R> {
    file: BufReader<R>,
    /// Bytes that were put back.
    back: Vec<u8>,
    /// The number of these bytes that were read again.
    at: usize,
}

/// A whole START as every known writer writes it: the escape, the length, the type, and one content type.
const WHOLE: &[u8; 42] = b"\0\0\0\0\0\0\0\x22\0\0\0\x02\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";

/// The payload of START. If the file before START ends inside a length, the reader takes the escape of START for the
/// rest of that length, so the search is for the payload alone.
const START: &[u8] = WHOLE.split_at(8).1;

/// The length of a whole START.
pub(super) const START_LENGTH: u64 = WHOLE.len() as u64;

// === impl Rewind ===

impl<R: Read> Rewind<R> {
    pub(super) fn new(file: R) -> Self {
        Self {
            file: BufReader::with_capacity(1 << 16, file),
            back: Vec::new(),
            at: 0,
        }
    }

    /// Returns the bytes that the next reads return without waiting for the file. There may be more.
    pub(super) fn buffered(&self) -> &[u8] {
        match self.back.get(self.at..) {
            Some([]) | None => self.file.buffer(),
            Some(back) => back,
        }
    }

    /// Puts bytes back. The next read begins with them.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.back.splice(..self.at, bytes.iter().copied());
        self.at = 0;
    }
}

impl<R: Read> Read for Rewind<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut back = self.back.get(self.at..).unwrap_or_default();
        if back.is_empty() {
            return self.file.read(buffer);
        }
        let read = back.read(buffer)?;
        self.at += read;
        if self.at == self.back.len() {
            self.back.clear();
            self.at = 0;
        }
        Ok(read)
    }
}

/// Returns the position after the first START in `bytes`.
///
/// The search compares from the end of START (Horspool), so it looks at few bytes of a frame: every frame of a capture
/// is searched.
pub(super) fn after_start(bytes: &[u8]) -> Option<usize> {
    let mut end = START.len();
    while let Some(window) = bytes.get(end.checked_sub(START.len())?..end) {
        if window == START {
            return Some(end);
        }
        let last = window.last()?;
        // The distance from the last equal byte of START, not counting its last byte, to the end of START.
        let before = START.iter().rev().skip(1);
        end += before.take_while(|byte| *byte != last).count() + 1;
    }
    None
}

/// Returns the number of bytes that would complete a START that begins at the end of `bytes`. Returns `None` if no START
/// begins there. START begins with several zeros, so there may be several places where it could begin; the result is for
/// the last one.
pub(super) fn rest_of_start(bytes: &[u8]) -> Option<usize> {
    let longest = bytes.len().min(WHOLE.len() - 1);
    let mut lengths = 1..=longest;
    let length = lengths.find(|length| bytes.ends_with(WHOLE.get(..*length).unwrap_or(WHOLE)))?;
    Some(WHOLE.len() - length)
}

/// The number of bytes at the end of a piece that may be the beginning of a START.
pub(super) const OVERLAP: usize = START.len() - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame_stream::Control;

    #[test]
    fn start_is_found_wherever_it_is() {
        let start = Control::start().encode();
        assert_eq!(start.len() as u64, START_LENGTH);
        for before in 0..100 {
            let bytes = [vec![b'p'; before], start.to_vec(), vec![0; 5]].concat();
            let end = before + start.len();
            assert_eq!(after_start(&bytes), Some(end));
            assert_eq!(after_start(&bytes[..end - 1]), None);
        }
        for other in [&b""[..], &[0; 33], &[0; 34], &[b'p'; 300], b"dnstap.Dnstap"] {
            assert_eq!(after_start(other), None);
        }
    }

    #[test]
    fn the_beginning_of_start_is_found_at_the_end_of_bytes() {
        let start = Control::start().encode();
        for length in 1..start.len() {
            let bytes = [b"abc", &start[..length]].concat();
            let rest = rest_of_start(&bytes).expect("a beginning");
            assert!(rest >= start.len() - length, "{length}: {rest}");
        }
        assert_eq!(rest_of_start(&start), None);
        assert_eq!(rest_of_start(b""), None);
        assert_eq!(rest_of_start(b"\0x"), None);
    }

    #[test]
    fn bytes_that_are_put_back_are_read_first() {
        let mut file = Rewind::new(b"ghi".as_slice());
        file.put_back(b"def");
        let mut one = [0];
        file.read_exact(&mut one).expect("memory");
        assert_eq!((&one, file.buffered()), (b"d", b"ef".as_slice()));
        file.put_back(b"bcd");
        file.put_back(b"");
        let mut all = String::new();
        file.read_to_string(&mut all).expect("memory");
        assert_eq!(all, "bcdefghi");
    }
}
