//! Reads protobuf's wire format one field at a time, without decoding, allocating or trusting a length.

use std::ops::Range;

use super::malformed::{Malformed, WireType};

/// The fields of one message, in order. After an error there are no more.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// Where `rest` ends in the frame, so that offsets are the frame's at every depth.
    end: usize,
    /// How many groups are open around it.
    groups: usize,
}

/// One field as it stands in the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// 1 to 2^29-1.
    pub(super) number: u32,
    pub(super) wire_type: WireType,
    /// What follows the tag: a varint's bytes, a fixed value, what follows the length, what a group holds.
    pub(super) value: &'a [u8],
    /// The whole field in the frame, from its tag's first byte.
    pub(super) range: Range<usize>,
    /// How many bytes its tag has; a length, if any, follows it.
    pub(super) tag: usize,
}

/// How deep groups may nest. dnstap has none, so this only has to be some limit, below prost's and C++'s 100.
pub(super) const GROUP_DEPTH: usize = 32;

/// Tags and lengths have at most this many bytes: protobuf-c and C++ refuse longer ones, even if they pad a small number.
const SHORT: usize = 5;

enum VarintError {
    Truncated,
    TooLong,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The fields of a whole frame.
    #[inline]
    pub(super) fn new(frame: &'a [u8]) -> Self {
        Self {
            rest: frame,
            end: frame.len(),
            groups: 0,
        }
    }

    #[inline]
    fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The next tag, left in place, and what follows it.
    #[inline]
    fn tag(&self) -> Result<(u32, &'a [u8]), Malformed> {
        match self.rest {
            [byte, after @ ..] if *byte < 0x80 => Ok((u32::from(*byte), after)),
            rest => {
                let offset = self.offset();
                short_varint(rest).map_err(|error| error.or(offset, Malformed::Tag { offset }))
            }
        }
    }

    /// Takes the next field off, or leaves everything in place.
    #[inline]
    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let offset = self.offset();
        let (tag, after) = self.tag()?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed::FieldZero { offset });
        }
        let (wire_type, split) = match tag & 7 {
            0 => (WireType::Varint, split_varint(after)),
            2 => {
                let (length, after) = match after {
                    [byte, after @ ..] if *byte < 0x80 => (u32::from(*byte), after),
                    rest => short_varint(rest)
                        .map_err(|error| error.or(offset, Malformed::Length { offset }))?,
                };
                let Some(split) = after.split_at_checked(length as usize) else {
                    return Err(Malformed::Overrun {
                        offset,
                        length,
                        left: after.len(),
                    });
                };
                (WireType::Bytes, Ok(split))
            }
            5 => (WireType::Fixed32, split_fixed(after, 4)),
            1 => (WireType::Fixed64, split_fixed(after, 8)),
            3 => (WireType::Group, Ok(self.group(number, after)?)),
            4 => return Err(Malformed::GroupEnd { offset, number }),
            // Three bits: no more than 7.
            #[allow(clippy::cast_possible_truncation)]
            undefined => {
                let wire_type = undefined as u8;
                return Err(Malformed::UndefinedWireType { offset, wire_type });
            }
        };
        let (value, rest) =
            split.map_err(|error| error.or(offset, Malformed::Varint { offset }))?;
        let tag = self.rest.len() - after.len();
        self.rest = rest;
        Ok(Field {
            number,
            wire_type,
            value,
            range: offset..self.end - rest.len(),
            tag,
        })
    }

    /// Splits what the group that begins here holds off the front of `bytes`; its end tag goes with neither part.
    #[cold]
    fn group(&self, number: u32, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Malformed> {
        let offset = self.offset();
        if self.groups == GROUP_DEPTH {
            return Err(Malformed::Nesting {
                offset,
                limit: GROUP_DEPTH,
            });
        }
        let mut inside = Self {
            rest: bytes,
            end: self.end,
            groups: self.groups + 1,
        };
        while !inside.rest.is_empty() {
            let (tag, after) = inside.tag()?;
            if tag == number << 3 | 4 {
                let (value, _) = bytes.split_at(bytes.len() - inside.rest.len());
                return Ok((value, after));
            }
            inside.field()?;
        }
        Err(Malformed::Truncated { offset })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    /// The fields of the message that a [`WireType::Bytes`] field holds.
    #[inline]
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields {
            rest: self.value,
            end: self.range.end,
            groups: 0,
        }
    }

    /// The number that a [`WireType::Varint`] field holds.
    #[inline]
    pub(super) fn varint(&self) -> u64 {
        (self.value.iter().rev()).fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
    }
}

// === impl VarintError ===

impl VarintError {
    fn or(self, offset: usize, too_long: Malformed) -> Malformed {
        match self {
            Self::Truncated => Malformed::Truncated { offset },
            Self::TooLong => too_long,
        }
    }
}

/// Reads a tag or a length off the front.
fn short_varint(bytes: &[u8]) -> Result<(u32, &[u8]), VarintError> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(SHORT).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            let number = u32::try_from(number).map_err(|_| VarintError::TooLong)?;
            return Ok((number, &bytes[index + 1..]));
        }
    }
    Err(if bytes.len() < SHORT {
        VarintError::Truncated
    } else {
        VarintError::TooLong
    })
}

/// Splits a varint of up to 64 bits off the front.
#[inline]
fn split_varint(bytes: &[u8]) -> Result<(&[u8], &[u8]), VarintError> {
    if bytes.first().is_some_and(|byte| *byte < 0x80) {
        return Ok(bytes.split_at(1));
    }
    if let Some(word) = bytes.first_chunk::<8>() {
        // The first byte without its top bit is the last; times and ports are found without a loop.
        let last = !u64::from_le_bytes(*word) & 0x8080_8080_8080_8080;
        if last != 0 {
            return Ok(bytes.split_at(last.trailing_zeros() as usize / 8 + 1));
        }
    }
    split_long_varint(bytes)
}

#[cold]
fn split_long_varint(bytes: &[u8]) -> Result<(&[u8], &[u8]), VarintError> {
    match bytes.iter().take(10).position(|byte| *byte < 0x80) {
        // Nine bytes hold 63 bits, so the tenth may hold one.
        Some(9) if bytes[9] > 1 => Err(VarintError::TooLong),
        Some(last) => Ok(bytes.split_at(last + 1)),
        None if bytes.len() < 10 => Err(VarintError::Truncated),
        None => Err(VarintError::TooLong),
    }
}

#[inline]
fn split_fixed(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), VarintError> {
    bytes.split_at_checked(length).ok_or(VarintError::Truncated)
}
