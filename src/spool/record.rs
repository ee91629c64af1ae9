//! The records of a spool. A record contains the frames of one chunk, unchanged, after a header of 32 bytes.
//!
//! ```text
//!  0 CRC32C of everything that follows, u32
//!  4 length of context and payload, u32
//!  8 number of frames, u32
//! 12 length of the context, u32
//! 16 sequence number of the first frame, u64
//! 24 time at which the router received the frames, u64, milliseconds since 1970
//! 32 context …
//!    payload: data frames in their wire form (4-byte length, bytes, 4-byte length, bytes …)
//! ```
//!
//! The context is data about the frames that is not in the frames themselves. Only the program that appends the frames
//! understands it. A record is valid only if its checksum is right, if it has at least one frame, and if the payload
//! consists of exactly as many whole frames as the header says. A record that consists of zeros is never valid.

use super::segment::LAST;

/// The length of the header, in bytes.
pub(super) const HEADER: usize = 32;

/// The largest length of context and payload together, in bytes. It is enough for the largest chunk together with the
/// longest frame that a listener accepts (16 MiB). A header with a greater length is damaged.
pub(super) const LONGEST: usize = 32 << 20;

/// The header of a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: u64,
    pub(super) frames: u32,
    pub(super) time: u64,
    pub(super) context: u32,
    pub(super) payload: u32,
}

/// Returns the number of frames in `payload`. Returns `None` if `payload` does not consist of whole data frames.
pub(super) fn count(payload: &[u8]) -> Option<u32> {
    let (mut rest, mut frames) = (payload, 0_u32);
    while !rest.is_empty() {
        rest = behind_frame(rest)?;
        frames = frames.checked_add(1)?;
    }
    Some(frames)
}

/// Returns the offset in the payload at which the frame with this index begins.
pub(super) fn offset(payload: &[u8], frame: u64) -> Option<usize> {
    let mut rest = payload;
    for _ in 0..frame {
        rest = behind_frame(rest)?;
    }
    Some(payload.len() - rest.len())
}

fn behind_frame(wire: &[u8]) -> Option<&[u8]> {
    let (length, rest) = wire.split_first_chunk::<4>()?;
    // In Frame Streams, a length of zero marks a control frame.
    match u32::from_be_bytes(*length) {
        0 => None,
        length => rest.get(usize::try_from(length).ok()?..),
    }
}

// === impl Header ===

impl Header {
    /// Returns the sequence number of the frame after the last frame of the record.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.frames)
    }

    /// Returns the length of the whole record, in bytes.
    pub(super) fn length(&self) -> usize {
        HEADER + self.context as usize + self.payload as usize
    }

    /// Encodes the header of a record. `context` and `payload` must have the lengths that the header contains.
    pub(super) fn encode(&self, context: &[u8], payload: &[u8]) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[4..8].copy_from_slice(&(self.context + self.payload).to_be_bytes());
        bytes[8..12].copy_from_slice(&self.frames.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.context.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_be_bytes());
        bytes[24..].copy_from_slice(&self.time.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[4..]);
        let checksum = crc32c::crc32c_append(checksum, context);
        let checksum = crc32c::crc32c_append(checksum, payload);
        bytes[..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Returns the length of the record at the start of `bytes`, as its header states it. Returns `None` if this length
    /// is impossible. Does not check whether the record is valid.
    pub(super) fn claimed_length(bytes: &[u8]) -> Option<usize> {
        let length = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        (length > 0 && length <= LONGEST).then_some(HEADER + length)
    }

    /// Returns the length of the record at the start of `bytes`, if these bytes can be the header of a record whose
    /// frames have the number `from` or higher ones. Refuses nearly all bytes that are not a header, without computing
    /// a checksum.
    pub(super) fn plausible_length(bytes: &[u8], from: u64) -> Option<usize> {
        let length = Self::claimed_length(bytes)?;
        let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let first = u64::from_be_bytes(*bytes.get(16..)?.first_chunk()?);
        let (frames, context) = (word(8)?, word(12)?);
        let span = from..from.saturating_add(u64::from(u32::MAX)).min(LAST);
        let is_plausible =
            frames > 0 && context as usize <= length - HEADER && span.contains(&first);
        is_plausible.then_some(length)
    }

    /// Returns the header if `bytes` are exactly one valid record. Returns `None` otherwise.
    pub(super) fn check(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_first_chunk::<HEADER>()?;
        let word = |at: usize| Some(u32::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_be_bytes(*header.get(at..)?.first_chunk()?));
        if word(4)? as usize != body.len() || word(0)? != crc32c::crc32c(&bytes[4..]) {
            return None;
        }
        let (frames, context) = (word(8)?, word(12)?);
        let payload = body.get(context as usize..)?;
        let first = long(16)?;
        let is_valid = frames > 0 && count(payload) == Some(frames) && first <= LAST;
        is_valid.then_some(Self {
            first,
            frames,
            time: long(24)?,
            context,
            payload: u32::try_from(payload.len()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let (context, payload) = (b"peer".as_slice(), b"\0\0\0\x01a\0\0\0\x02bc".as_slice());
        let header = Header {
            first: 7,
            frames: 2,
            time: 99,
            context: 4,
            payload: 11,
        };
        [&header.encode(context, payload), context, payload].concat()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = record();
        assert_eq!(Header::claimed_length(&bytes), Some(bytes.len()));
        let header = Header::check(&bytes).expect("valid");
        assert_eq!((header.first, header.end(), header.time), (7, 9, 99));
        assert_eq!(header.length(), bytes.len());
        assert_eq!(
            &bytes[HEADER + header.context as usize..][..5],
            b"\0\0\0\x01a"
        );
    }

    #[test]
    fn every_damaged_bit_and_every_other_length_is_noticed() {
        let bytes = record();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::check(&damaged), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Header::check(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Header::check(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(Header::check(&[0; 64]), None);
    }

    #[test]
    fn a_record_with_a_right_checksum_and_wrong_frames_is_refused() {
        for (frames, payload) in [
            (2, b"\0\0\0\x01a".as_slice()),
            (0, b""),
            (1, b"\0\0\0\0"),
            (1, b"\0\0\0\x02a"),
            (1, b"\0\0\0"),
        ] {
            let header = Header {
                first: 0,
                frames,
                time: 0,
                context: 0,
                payload: u32::try_from(payload.len()).expect("short"),
            };
            let bytes = [&header.encode(b"", payload), payload].concat();
            assert_eq!(Header::check(&bytes), None, "{frames} {payload:?}");
        }
    }

    #[test]
    fn frames_are_found_by_their_index() {
        let payload = b"\0\0\0\x01a\0\0\0\x02bc";
        assert_eq!(count(payload), Some(2));
        let offsets: Vec<_> = (0..4).map(|frame| offset(payload, frame)).collect();
        assert_eq!(offsets, [Some(0), Some(5), Some(11), None]);
    }
}
