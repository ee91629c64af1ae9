//! Cuts what a sender writes into chunks of whole, valid dnstap frames.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::{
    dnstap,
    frame_stream::{
        Allowance, Chunk, Control, ControlError, ControlKind, IndexEntry, MAX_CONTROL_LENGTH,
    },
};

/// Takes a stream's bytes after START, as reads bring them, and gives chunks.
///
/// What one read brought makes one chunk; nothing waits for more. A frame that the read cut in two stays for the
/// next. A frame that is too long is skipped without being held; one that is no dnstap message is taken out. A
/// length that a peer claims makes no memory: the buffer grows with what has come, and shrinks to it while the
/// connection [waits](Self::wait).
#[derive(Debug)]
pub struct Cutter {
    buffer: BytesMut,
    max_frame: u32,
    /// Bytes of an oversize frame that are still to come.
    skip: usize,
    /// When the frame began that the stream stands in the middle of.
    began: Option<Instant>,
    /// The index of the chunk that is being cut; kept for its allocation.
    index: Vec<IndexEntry>,
    /// How much the next read may bring.
    read_size: usize,
    /// Control frames that may still be skipped.
    skippable: Allowance,
}

/// What was cut from one read.
#[derive(Debug, Default)]
pub struct Cut {
    /// The valid frames, if there were any.
    pub chunk: Option<Chunk>,
    /// Frames taken out, since they were no dnstap messages.
    pub malformed: u64,
    /// Why the first of those was none.
    pub malformation: Option<dnstap::Malformed>,
    /// Frames skipped, since they were too long.
    pub oversize: u64,
    /// The length of the last of those.
    pub oversize_length: u32,
    /// Control frames skipped, since they are unknown or of no use in mid-stream.
    pub control: u64,
    /// What the last of those says; `None` if it is of an unknown type.
    pub control_kind: Option<ControlKind>,
    /// What ended the stream, if it is over. Nothing behind it is looked at.
    pub end: Option<End>,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// STOP.
    Stop,
    /// Something that cannot be read on from.
    Protocol(ControlError),
}

const MIN_READ: usize = 8 << 10;
const MAX_READ: usize = 256 << 10;

/// A buffer that is no larger is not made smaller while the connection waits.
const SMALL: usize = super::unfinished::FREE;

/// What stands at the front of the unread bytes.
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
    /// It has not all come yet.
    Partial,
}

// === impl Cutter ===

impl Cutter {
    /// A cutter of a stream whose frames may have `max_frame` bytes of payload.
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

    /// The longest payload that it takes.
    pub fn max_frame(&self) -> u32 {
        self.max_frame
    }

    /// Where the next read is to put its bytes: at the end, within the capacity there.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let length = self.buffer.len();
        let room = self.read_size.saturating_sub(length).max(MIN_READ);
        if self.buffer.capacity() - length < room {
            // Twice as much each time, so that a long frame is not copied often, but not far beyond its end.
            let twice = match self.frame_end() {
                Some(end) if end <= 2 * (length + MIN_READ) => end + MIN_READ,
                _ => 2 * length,
            };
            self.resize(twice.max(length + room));
        }
        &mut self.buffer
    }

    /// Lets go of the memory that is there for the next read, for as long as none comes. Returns the bytes that the frame
    /// that has begun still holds; 0 between two frames.
    pub fn wait(&mut self) -> usize {
        let length = self.buffer.len();
        if length == 0 {
            self.buffer = BytesMut::new();
        } else if self.buffer.capacity() > (2 * length).max(SMALL) {
            self.resize(length);
        }
        self.buffer.capacity()
    }

    /// When the frame began that the stream stands in the middle of; `None` between two frames.
    pub fn frame_began(&self) -> Option<Instant> {
        self.began
    }

    /// Cuts what has been read, at `now`.
    pub fn cut(&mut self, now: Instant) -> Cut {
        self.adapt();
        let mut cut = Cut::default();
        // Frames that stay are moved to the front of the buffer if any were taken out before them: `kept..at` is a
        // gap, and there is none unless a sender errs.
        let (mut at, mut kept) = (0, 0);
        let mut one_ended = false;
        self.index.clear();
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(self.buffer.len() - at);
                self.skip -= skipped;
                at += skipped;
                one_ended |= self.skip == 0;
            }
            match self.item(at) {
                Item::Data { end } => {
                    match dnstap::message_type(&self.buffer[at + 4..end]) {
                        Err(error) => {
                            cut.malformed += 1;
                            cut.malformation.get_or_insert(error);
                        }
                        Ok(message_type) => {
                            self.skippable.earn();
                            if kept != at {
                                self.buffer.copy_within(at..end, kept);
                            }
                            kept += end - at;
                            // A read and a frame together are far below 4 GiB.
                            #[allow(clippy::cast_possible_truncation)]
                            self.index.push(IndexEntry::new(kept as u32, message_type));
                        }
                    }
                    at = end;
                    one_ended = true;
                }
                Item::Oversize { length } => {
                    cut.oversize += 1;
                    cut.oversize_length = length;
                    self.skip = length as usize + 4;
                }
                Item::Control { end } => {
                    match Control::parse(&self.buffer[at + 8..end]) {
                        Ok(control) if control.kind() == ControlKind::Stop => {
                            cut.end = Some(End::Stop);
                        }
                        Err(error) if !matches!(error, ControlError::UnknownKind(_)) => {
                            cut.end = Some(End::Protocol(error));
                        }
                        // What is unknown, or has no meaning here, is to be skipped (fstrm, `control.h`).
                        skipped => {
                            cut.control += 1;
                            cut.control_kind = skipped.ok().map(|control| control.kind());
                            if let Err(error) = self.skippable.spend(now) {
                                cut.end = Some(End::Protocol(error));
                            }
                        }
                    }
                    at = end;
                    one_ended = true;
                }
                Item::Broken(error) => cut.end = Some(End::Protocol(error)),
                Item::Partial => break,
            }
            if cut.end.is_some() {
                break;
            }
        }
        cut.chunk = self.take(at, kept, now);
        self.began = match self.began {
            _ if self.skip == 0 && self.buffer.is_empty() => None,
            Some(began) if !one_ended => Some(began),
            _ => Some(now),
        };
        cut
    }

    /// Where the frame ends that the buffer begins with, if its length is known and it is one to be held.
    fn frame_end(&self) -> Option<usize> {
        match u32::from_be_bytes(*self.buffer.first_chunk::<4>()?) {
            length if length > 0 && length <= self.max_frame => Some(length as usize + 4),
            _ => None,
        }
    }

    /// Moves what has come to a buffer of this capacity.
    fn resize(&mut self, capacity: usize) {
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
    }

    /// What stands at `at`.
    fn item(&self, at: usize) -> Item {
        let rest = &self.buffer[at..];
        let Some((length, behind)) = rest.split_first_chunk::<4>() else {
            return Item::Partial;
        };
        match u32::from_be_bytes(*length) {
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

    /// Takes the chunk `..kept` out of the buffer, and leaves what is behind `at`.
    fn take(&mut self, at: usize, kept: usize, now: Instant) -> Option<Chunk> {
        // A chunk keeps its buffer alive, so it takes the buffer along only if it fills at least half of it.
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
        if rest == 0 && self.buffer.capacity() > self.read_size * 4 {
            self.buffer = BytesMut::new();
        }
        chunk
    }

    /// Reads more at once from a sender that fills the buffer, and less from one that no longer does.
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
