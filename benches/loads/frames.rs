//! Recorded frames with a stamp, which says which sender wrote the frame, and when.
//!
//! The stamp of a frame is the field `extra`, in front of the fields of the recorded frame. Routers
//! without edits forward it unchanged, and routers that edit other fields keep it.

use std::{io, ops::Range};

use crate::recorded;

/// The stamp of a frame, which is the content of its field `extra`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The time right before the write, from `clock::now`. 0 if the delay of the frame is not
    /// measured.
    pub(crate) time: u64,
    /// The number of frames that this sender wrote before this frame.
    pub(crate) sequence: u64,
    pub(crate) sender: u32,
}

/// Recorded frames, as the bytes that a sender writes repeatedly.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    wire: Vec<u8>,
    /// The range of each frame in `wire`, including its length prefix.
    places: Vec<Range<usize>>,
    next: usize,
}

/// The tag and the length of the field `extra`, which has the number 3 in a dnstap frame.
const EXTRA: [u8; 2] = [3 << 3 | LENGTH_DELIMITED, 20];
const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

// === impl Stamp ===

impl Stamp {
    const LENGTH: usize = EXTRA[1] as usize;

    fn write(self, to: &mut [u8]) {
        to[..8].copy_from_slice(&self.time.to_le_bytes());
        to[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        to[16..Self::LENGTH].copy_from_slice(&self.sender.to_le_bytes());
    }

    /// Returns the stamp of a frame, which is passed without its length prefix. `None` if the frame
    /// has no stamp.
    pub(crate) fn of(mut frame: &[u8]) -> Option<Self> {
        while !frame.starts_with(&EXTRA) {
            let (&tag, rest) = frame.split_first()?;
            let (value, rest) = varint(rest)?;
            frame = match tag & 7 {
                VARINT => rest,
                LENGTH_DELIMITED => rest.get(usize::try_from(value).ok()?..)?,
                _ => return None,
            };
        }
        let (time, rest) = frame[EXTRA.len()..].split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        Some(Self {
            time: u64::from_le_bytes(*time),
            sequence: u64::from_le_bytes(*sequence),
            sender: u32::from_le_bytes(*rest.first_chunk()?),
        })
    }
}

/// Splits off a protobuf varint from the front of `bytes`.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1 + bytes
        .iter()
        .take(9)
        .take_while(|byte| **byte >= 0x80)
        .count();
    let (varint, rest) = bytes.split_at_checked(length)?;
    let bits = varint.iter().rev();
    let value = bits.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, rest))
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn recorded() -> io::Result<Self> {
        let (mut wire, mut places) = (Vec::new(), Vec::new());
        for frame in recorded::frames()? {
            places.push(append(&frame, &mut wire)?);
        }
        Ok(Self {
            wire,
            places,
            next: 0,
        })
    }

    /// Makes a number of frames of `size` bytes, or a little less. Each frame is a client's query
    /// with a DNS message of zeros.
    pub(crate) fn of_size(size: usize, frames: usize) -> io::Result<Self> {
        let frame = query(size.saturating_sub(EXTRA.len() + Stamp::LENGTH));
        let (mut wire, mut places) = (Vec::new(), Vec::new());
        for _ in 0..frames {
            places.push(append(&frame, &mut wire)?);
        }
        Ok(Self {
            wire,
            places,
            next: 0,
        })
    }

    /// Returns the mean size of a frame in bytes, with its length prefix.
    pub(crate) fn size(&self) -> u64 {
        (self.wire.len() / self.places.len()).max(1) as u64
    }

    /// Returns the next `frames` frames in wire form. The first of these frames gets this stamp.
    /// Each further frame gets the next sequence number.
    ///
    /// # Panics
    ///
    /// If more frames are asked for than were recorded.
    pub(crate) fn next(&mut self, frames: usize, mut stamp: Stamp) -> &[u8] {
        if self.next + frames > self.places.len() {
            self.next = 0;
        }
        let places = &self.places[self.next..self.next + frames];
        self.next += frames;
        for place in places {
            stamp.write(&mut self.wire[place.start + 4 + EXTRA.len()..]);
            stamp.sequence += 1;
        }
        let (first, last) = (&places[0], &places[frames - 1]);
        &self.wire[first.start..last.end]
    }
}

/// Appends a frame with its length prefix and an empty stamp. Returns the range of its bytes.
fn append(frame: &[u8], wire: &mut Vec<u8>) -> io::Result<Range<usize>> {
    let start = wire.len();
    let length = EXTRA.len() + Stamp::LENGTH + frame.len();
    let length = u32::try_from(length).map_err(io::Error::other)?;
    wire.extend(length.to_be_bytes());
    wire.extend(EXTRA);
    wire.extend([0; Stamp::LENGTH]);
    wire.extend(frame);
    Ok(start..wire.len())
}

/// Returns a dnstap frame of at most `size` bytes. It is a `CLIENT_QUERY` with a DNS message that
/// is as long as possible.
fn query(size: usize) -> Vec<u8> {
    // The field `type` of the message, CLIENT_QUERY, and the field `type` of the frame, MESSAGE.
    let (kind, end) = ([0x08, 5], [0x78, 1]);
    let field = |tag: u8, contents: &[u8]| {
        let mut field = vec![tag];
        let mut length = contents.len();
        while length >= 0x80 {
            field.push(0x80 | length.to_le_bytes()[0]);
            length >>= 7;
        }
        field.push(length.to_le_bytes()[0]);
        field.extend(contents);
        field
    };
    // The tags and lengths of the frame take at most 10 bytes. If they take less, a few bytes may
    // stay unused.
    let longest = size.saturating_sub(kind.len() + end.len());
    let frames = (0..=longest.min(12)).map(|spared| {
        let message = [&kind[..], &field(10 << 3 | 2, &vec![0; longest - spared])].concat();
        [&field(14 << 3 | 2, &message), &end[..]].concat()
    });
    let mut frames = frames.filter(|frame| frame.len() <= size);
    frames.next().unwrap_or_default()
}

/// Cuts whole frames off the start of `bytes` and passes each to `frame`, without its length
/// prefix. Returns the number of bytes of these frames, and whether a control frame follows.
pub(crate) fn cut(bytes: &[u8], mut frame: impl FnMut(&[u8])) -> (usize, bool) {
    let mut end = 0;
    while let Some((length, rest)) = bytes[end..].split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 {
            return (end, true);
        }
        let Some(payload) = rest.get(..length) else {
            break;
        };
        frame(payload);
        end += 4 + length;
    }
    (end, false)
}
