//! The segments of a spool, that is, the files that contain its records: their names, and their first 64 bytes.
//!
//! ```text
//!  0 magic "tapspool"
//!  8 format version, u32
//! 12 CRC32C of the other 60 bytes, u32
//! 16 sequence number of the first frame, u64
//! 24 time of creation, u64, milliseconds since 1970
//! 32 owner, 32 bytes
//! 64 records …
//! ```
//!
//! All numbers are big-endian, as in Frame Streams. The header has two purposes: people can read it, and tapfan checks
//! the owner in it. To find the frames after a crash, tapfan needs only the name of the file and the records. So no
//! frame is lost if the header is damaged.

use std::fmt;

/// The length of the header, in bytes.
pub(super) const HEADER: usize = 64;

/// The version of the format. It is the same for segments, records and checkpoints.
pub(super) const VERSION: u32 = 1;

/// The largest sequence number. It is so small that the sum of a valid number and a number of frames never overflows.
pub(super) const LAST: u64 = u64::MAX >> 1;

const MAGIC: [u8; 8] = *b"tapspool";

/// The number of digits in the name of a segment. It is enough for every `u64`, so all names have the same length, and
/// their alphabetical order is the order of their numbers.
const DIGITS: usize = 20;

const SEGMENT: &str = ".seg";
const UNFINISHED: &str = ".new";
const BAD: &str = ".bad";

/// The name of the sink to which a spool belongs, encoded in 32 bytes: a checksum of the name, the length of the name,
/// and the first bytes of the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Owner([u8; Self::SIZE]);

/// The header at the start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) first: u64,
    pub(super) created: u64,
    pub(super) owner: Owner,
}

/// The kinds of files in the folder of a spool. The name of a file shows its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A segment. Its first frame has this sequence number.
    Segment(u64),
    /// A segment that was not complete at a crash. It still has a temporary name.
    Unfinished,
    /// A part of a segment that could not be read.
    Bad,
    Other,
}

pub(super) fn name(first: u64) -> String {
    format!("{first:0DIGITS$}{SEGMENT}")
}

/// Returns the name that a new segment has until it is complete.
pub(super) fn unfinished_name(first: u64) -> String {
    format!("{first:0DIGITS$}{UNFINISHED}")
}

/// Returns the name of the file for an unreadable part of a segment. This part begins at the offset `at`.
pub(super) fn bad_name(first: u64, at: u64) -> String {
    format!("{first:0DIGITS$}-{at:010}{BAD}")
}

/// Returns the first number of the segment whose unreadable part is in the file with this name. Returns `None` if the
/// name is not that of such a file.
pub(super) fn bad_first(name: &str) -> Option<u64> {
    let (stem, _) = name.strip_suffix(BAD)?.split_once('-')?;
    stem.parse().ok()
}

// === impl Kind ===

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        let digits = |stem: &str| {
            let is_number = stem.len() == DIGITS && stem.bytes().all(|it| it.is_ascii_digit());
            is_number.then(|| stem.parse::<u64>().ok()).flatten()
        };
        if let Some(first) = name.strip_suffix(SEGMENT).and_then(digits) {
            return if first <= LAST {
                Self::Segment(first)
            } else {
                Self::Other
            };
        }
        if name.strip_suffix(UNFINISHED).and_then(digits).is_some() {
            return Self::Unfinished;
        }
        let bad = name.strip_suffix(BAD).and_then(|stem| stem.split_once('-'));
        match bad {
            Some((stem, _)) if digits(stem).is_some() => Self::Bad,
            _ => Self::Other,
        }
    }
}

// === impl Owner ===

impl Owner {
    /// The size of the encoded owner, in bytes.
    pub(super) const SIZE: usize = 32;

    const START: usize = 5;

    /// Creates the owner for the sink with this name.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&crc32c::crc32c(name.as_bytes()).to_be_bytes());
        bytes[4] = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let start = &name.as_bytes()[..name.len().min(Self::SIZE - Self::START)];
        bytes[Self::START..][..start.len()].copy_from_slice(start);
        Self(bytes)
    }

    pub(super) fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.0[Self::START..];
        let length = usize::from(self.0[4]);
        let start = String::from_utf8_lossy(start.get(..length).unwrap_or(start));
        // The bytes come from a file, and the text may be printed on a terminal. So control characters must not be
        // printed.
        let is_cut = length > Self::SIZE - Self::START;
        write!(
            f,
            "{}{}",
            start.escape_debug(),
            if is_cut { "…" } else { "" }
        )
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({self})")
    }
}

// === impl Header ===

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.created.to_be_bytes());
        bytes[32..].copy_from_slice(self.owner.bytes());
        let checksum = Self::checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Decodes the header of a segment. Returns `None` if the bytes are damaged.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let checksum = u32::from_be_bytes(*bytes[12..].first_chunk()?);
        if bytes[..8] != MAGIC || checksum != Self::checksum(bytes) {
            return None;
        }
        Some(Self {
            version: u32::from_be_bytes(*bytes[8..].first_chunk()?),
            first: u64::from_be_bytes(*bytes[16..].first_chunk()?),
            created: u64::from_be_bytes(*bytes[24..].first_chunk()?),
            owner: Owner::from_bytes(*bytes[32..].first_chunk()?),
        })
    }

    fn checksum(bytes: &[u8; HEADER]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_and_sort_like_numbers() {
        assert_eq!(name(7), "00000000000000000007.seg");
        for first in [0, 7, LAST] {
            assert_eq!(Kind::of(&name(first)), Kind::Segment(first));
            assert_eq!(Kind::of(&unfinished_name(first)), Kind::Unfinished);
            assert_eq!(Kind::of(&bad_name(first, 64)), Kind::Bad);
        }
        for other in [
            "7.seg",
            "+0000000000000000007.seg",
            "99999999999999999999.seg",
            "18446744073709551615.seg",
            "checkpoint",
            "00000000000000000007.bad",
            ".seg",
        ] {
            assert_eq!(Kind::of(other), Kind::Other, "{other}");
        }
        assert!(name(9) < name(10));
    }

    #[test]
    fn every_damaged_bit_of_a_header_is_noticed() {
        let header = Header {
            version: VERSION,
            first: 12,
            created: 34,
            owner: Owner::new("siem"),
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn owners_with_long_names_differ_and_are_shown_cut() {
        let long = "a sink with a name of more than 27 bytes";
        assert_ne!(Owner::new(long), Owner::new(&format!("{long}!")));
        assert_eq!(Owner::new(long).to_string(), "a sink with a name of more …");
        assert_eq!(Owner::new("siem").to_string(), "siem");
        assert_eq!(
            Owner::from_bytes([0xff; 32]).to_string().chars().last(),
            Some('…')
        );
        assert_eq!(Owner::from_bytes([0; 32]).to_string(), "");
    }
}
