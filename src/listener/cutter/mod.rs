//! Cuts a sender's stream into chunks of whole, valid dnstap frames.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::{
    dnstap,
    frame_stream::{
        Allowance, Chunk, Control, ControlError, ControlKind, IndexEntry, MAX_CONTROL_LENGTH,
    },
};

/// Cuts the bytes of a stream after START into chunks, at most one chunk for each read.
///
/// The complete frames after one read make one chunk, which never waits for more frames. The bytes of an incomplete
/// frame stay for the next read. A frame that is too long is skipped without being held in memory, and a frame that is
/// not a dnstap message is removed. Memory is never allocated from a length that a peer claims: the buffer grows with
/// the bytes that have arrived. While the connection [waits](Self::wait), the buffer shrinks to these bytes.
#[derive(Debug)]
pub struct Cutter {
    buffer: BytesMut,
    pub(super) max_frame: u32,
    /// The bytes of an oversize frame that have not been skipped yet.
    skip: usize,
    /// The time at which the first byte of the unfinished frame arrived; `None` between two frames.
    began: Option<Instant>,
    /// The index of the chunk that is being cut. It is a field, so that each chunk reuses the allocation.
    index: Vec<IndexEntry>,
    /// The largest size of the next read, in bytes.
    read_size: usize,
    /// The limit on skipped control frames.
    skippable: Allowance,
}

/// The result of cutting one read.
#[derive(Debug, Default)]
pub struct Cut {
    /// The valid frames; `None` if there were none.
    pub chunk: Option<Chunk>,
    /// The number of frames that were removed because they are not dnstap messages.
    pub malformed: u64,
    /// The error of the first malformed frame.
    pub malformation: Option<dnstap::Malformed>,
    /// The number of frames that were skipped because they are too long.
    pub oversize: u64,
    /// The length of the last oversize frame.
    pub oversize_length: u32,
    /// The number of control frames that were skipped because they are unknown or have no meaning in mid-stream.
    pub control: u64,
    /// The kind of the last skipped control frame; `None` if the kind is unknown.
    pub control_kind: Option<ControlKind>,
    /// The end of the stream, if this read contained it. The bytes after the end are ignored.
    pub end: Option<End>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// STOP.
    Stop,
    /// An error after which the boundaries of frames are unknown.
    Protocol(ControlError),
}

const MIN_READ: usize = 8 << 10;
const MAX_READ: usize = 256 << 10;

/// A buffer up to this size is not shrunk while the connection waits.
const SMALL: usize = super::unfinished::FREE;

/// The next item in the buffer. `end` is the offset of the first byte after the item.
enum Item {
    Data {
        end: usize,
    },
    Oversize {
        length: u32,
    },
    Control {
        end: usize,
    },
    Broken(ControlError),
    /// An item whose last byte has not arrived yet.
    Partial,
}

/// The progress of one call of [`Cutter::cut`] through the buffer.
#[derive(Debug, Default)]
struct Scan {
    /// The bytes before this offset have been processed.
    at: usize,
    /// The frames of the chunk are before this offset. After a frame was removed, this offset is less than `at`, and
    /// each later valid frame is moved to this offset to close the gap.
    kept: usize,
    /// True if a frame has ended in this read.
    one_ended: bool,
}

// === impl Cutter ===

impl Cutter {
    /// Creates a cutter for a stream whose frames may have up to `max_frame` bytes of payload.
    pub fn new(max_frame: u32) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_frame,
            skip: 0,
            began: None,
            index: Vec::new(),
            read_size: MIN_READ,
            skippable: Allowance::new(),
        }
    }

    /// Returns the buffer for the next read. The read must append to it, within its capacity.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let length = self.buffer.len();
        let room = self.read_size.saturating_sub(length).max(MIN_READ);
        if self.buffer.capacity() - length < room {
            // The buffer doubles, so that a long frame is copied only a few times. But it does not grow far beyond the
            // frame's end.
            let twice = match self.frame_end() {
                Some(end) if end <= 2 * (length + MIN_READ) => end + MIN_READ,
                _ => 2 * length,
            };
            self.resize(twice.max(length + room));
        }
        &mut self.buffer
    }

    /// Frees the unused memory of the buffer while the connection has nothing to read. Returns the bytes of memory that
    /// the unfinished frame still holds; 0 between two frames.
    pub fn wait(&mut self) -> usize {
        let length = self.buffer.len();
        if length == 0 {
            self.buffer = BytesMut::new();
        } else if self.buffer.capacity() > (2 * length).max(SMALL) {
            self.resize(length);
        }
        self.buffer.capacity()
    }

    /// Returns the time at which the first byte of the unfinished frame arrived, or `None` between two frames.
    pub fn frame_began(&self) -> Option<Instant> {
        self.began
    }

    /// Cuts the bytes that have been read. `now` is the time of the read.
    pub fn cut(&mut self, now: Instant) -> Cut {
        self.adapt();
        self.index.clear();
        let mut cut = Cut::default();
        let mut scan = Scan::default();
        while cut.end.is_none() {
            self.skip_oversize(&mut scan);
            match self.item(scan.at) {
                Item::Data { end } => self.take_data(end, &mut scan, &mut cut),
                Item::Oversize { length } => {
                    cut.oversize += 1;
                    cut.oversize_length = length;
                    self.skip = length as usize + 4;
                }
                Item::Control { end } => self.take_control(end, &mut scan, &mut cut, now),
                Item::Broken(error) => cut.end = Some(End::Protocol(error)),
                Item::Partial => break,
            }
        }
        cut.chunk = self.take_chunk(scan.at, scan.kept, now);
        self.began = match self.began {
            // No bytes are left: the stream is between two frames.
            _ if self.skip == 0 && self.buffer.is_empty() => None,
            // The frame that was unfinished before this read is still unfinished, so its deadline stays.
            Some(began) if !scan.one_ended => Some(began),
            // The first byte of the unfinished frame arrived with this read.
            _ => Some(now),
        };
        cut
    }

    /// Skips the part of an oversize frame that has arrived. Later reads skip the remaining part.
    fn skip_oversize(&mut self, scan: &mut Scan) {
        if self.skip > 0 {
            let skipped = self.skip.min(self.buffer.len() - scan.at);
            self.skip -= skipped;
            scan.at += skipped;
            scan.one_ended |= self.skip == 0;
        }
    }

    /// Adds the data frame up to `end` to the chunk, or counts it as malformed.
    fn take_data(&mut self, end: usize, scan: &mut Scan, cut: &mut Cut) {
        match dnstap::outline(&self.buffer[scan.at + 4..end]) {
            Err(error) => {
                cut.malformed += 1;
                cut.malformation.get_or_insert(error);
            }
            Ok(outline) => {
                self.skippable.earn();
                if scan.kept != scan.at {
                    self.buffer.copy_within(scan.at..end, scan.kept);
                }
                scan.kept += end - scan.at;
                // The buffer holds at most one frame and the bytes of one read, far less than 4 GiB.
                #[allow(clippy::cast_possible_truncation)]
                let end = scan.kept as u32;
                self.index.push(IndexEntry::new(end, outline));
            }
        }
        scan.at = end;
        scan.one_ended = true;
    }

    /// Ends the stream at STOP, or at a control frame that breaks the rules. Other control frames are skipped, as fstrm
    /// requires (`control.h`), but only a limited number of them.
    fn take_control(&mut self, end: usize, scan: &mut Scan, cut: &mut Cut, now: Instant) {
        match Control::parse(&self.buffer[scan.at + 8..end]) {
            Ok(control) if control.kind() == ControlKind::Stop => {
                cut.end = Some(End::Stop);
            }
            Err(error) if !matches!(error, ControlError::UnknownKind(_)) => {
                cut.end = Some(End::Protocol(error));
            }
            skipped => {
                cut.control += 1;
                cut.control_kind = skipped.ok().map(|control| control.kind());
                if let Err(error) = self.skippable.spend(now) {
                    cut.end = Some(End::Protocol(error));
                }
            }
        }
        scan.at = end;
        scan.one_ended = true;
    }

    /// Returns the end of the frame at the start of the buffer. It is `None` if the length has not arrived, or if the
    /// frame is a control frame or too long.
    fn frame_end(&self) -> Option<usize> {
        match u32::from_be_bytes(*self.buffer.first_chunk::<4>()?) {
            length if length > 0 && length <= self.max_frame => Some(length as usize + 4),
            _ => None,
        }
    }

    /// Moves the bytes that have arrived to a buffer of this capacity.
    fn resize(&mut self, capacity: usize) {
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
    }

    /// Returns the item that begins at offset `at`.
    fn item(&self, at: usize) -> Item {
        let rest = &self.buffer[at..];
        let Some((length, behind)) = rest.split_first_chunk::<4>() else {
            return Item::Partial;
        };
        match u32::from_be_bytes(*length) {
            // Length 0 announces a control frame, whose length follows.
            0 => match behind
                .first_chunk::<4>()
                .map(|length| u32::from_be_bytes(*length))
            {
                None => Item::Partial,
                Some(length) if length as usize > MAX_CONTROL_LENGTH => {
                    Item::Broken(ControlError::TooLong(length))
                }
                Some(length) if length as usize + 8 > rest.len() => Item::Partial,
                Some(length) => Item::Control {
                    end: at + 8 + length as usize,
                },
            },
            length if length > self.max_frame => Item::Oversize { length },
            length if length as usize + 4 > rest.len() => Item::Partial,
            length => Item::Data {
                end: at + 4 + length as usize,
            },
        }
    }

    /// Takes the frames before `kept` out of the buffer as a chunk. The bytes from `at` on stay in the buffer.
    fn take_chunk(&mut self, at: usize, kept: usize, now: Instant) -> Option<Chunk> {
        // A chunk keeps its whole buffer in memory, including the unused part. So a chunk takes over this buffer only
        // if its frames fill at least half of the buffer. If they fill less, the frames are copied.
        let chunk = if kept == 0 {
            None
        } else if kept * 2 >= self.buffer.capacity() {
            let rest = Bytes::copy_from_slice(&self.buffer[at..]);
            let mut whole =
                std::mem::replace(&mut self.buffer, BytesMut::with_capacity(self.read_size));
            self.buffer.extend_from_slice(&rest);
            whole.truncate(kept);
            return Some(Chunk::of_buffer(whole, self.index.as_slice().into(), now));
        } else {
            let bytes = Bytes::copy_from_slice(&self.buffer[..kept]);
            Some(Chunk::new(bytes, self.index.as_slice().into(), now))
        };
        let rest = self.buffer.len() - at;
        self.buffer.copy_within(at.., 0);
        self.buffer.truncate(rest);
        // A buffer that grew for a long frame is freed after that frame.
        if rest == 0 && self.buffer.capacity() > self.read_size * 4 {
            self.buffer = BytesMut::new();
        }
        chunk
    }

    /// Doubles the read size if the sender fills it. Halves it if the sender fills less than an eighth.
    fn adapt(&mut self) {
        if self.buffer.len() >= self.read_size {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if self.buffer.len() < self.read_size / 8 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
    }
}

#[cfg(test)]
mod tests;
