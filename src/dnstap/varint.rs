//! Varints, the numbers of protobuf. Each byte has seven bits of the number, lowest bits first, and the top bit is set
//! in all bytes but the last.

use super::malformed::Malformed;

/// The longest encoding of a tag or a length, in bytes. protobuf-c and C++ refuse longer encodings, even if the number
/// is small and the rest is padding.
const SHORT: usize = 5;

/// The longest encoding of any other number, in bytes.
const LONG: usize = 10;

/// The reason why a number cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VarintError {
    /// The bytes end before the number is complete.
    Truncated,
    /// Too many bytes, or too many bits.
    TooLong,
}

/// A value, and the bytes after it.
type Split<'a, T> = (T, &'a [u8]);

/// Splits off a tag or a length from the front.
pub(super) fn short_varint(bytes: &[u8]) -> Result<Split<'_, u32>, VarintError> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(SHORT).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            let number = u32::try_from(number).map_err(|_| VarintError::TooLong)?;
            return Ok((number, &bytes[index + 1..]));
        }
    }
    Err(too_long(bytes, SHORT))
}

/// Splits off a number of up to 64 bits from the front.
pub(super) fn split_varint(bytes: &[u8]) -> Result<Split<'_, &[u8]>, VarintError> {
    match bytes.iter().take(LONG).position(|byte| *byte < 0x80) {
        // Nine bytes hold 63 bits, so the tenth byte may hold only one bit.
        Some(9) if bytes[9] > 1 => Err(VarintError::TooLong),
        Some(last) => Ok(bytes.split_at(last + 1)),
        None => Err(too_long(bytes, LONG)),
    }
}

/// Does the same as [`split_varint`] for numbers of up to 8 bytes, but faster. For a number of more than one byte,
/// `bytes` must hold at least 8 bytes.
#[inline]
pub(super) fn common_varint(bytes: &[u8]) -> Option<Split<'_, &[u8]>> {
    if *bytes.first()? < 0x80 {
        return bytes.split_at_checked(1);
    }
    // The first byte without the top bit ends the number. This expression finds that byte without a loop. A loop would
    // be slower for times and ports, which have more than one byte.
    let last = !u64::from_le_bytes(*bytes.first_chunk()?) & 0x8080_8080_8080_8080;
    if last == 0 {
        return None;
    }
    bytes.split_at_checked(last.trailing_zeros() as usize / 8 + 1)
}

/// Splits off a length of one or two bytes, and as many bytes after it as the length says.
#[inline]
pub(super) fn common_bytes(bytes: &[u8]) -> Option<Split<'_, &[u8]>> {
    match bytes {
        [length, after @ ..] if *length < 0x80 => after.split_at_checked(usize::from(*length)),
        [low, high, after @ ..] if *high < 0x80 => {
            after.split_at_checked(usize::from(low & 0x7f) | usize::from(*high) << 7)
        }
        _ => None,
    }
}

/// Returns the number that `bytes` encode. `bytes` has at most [`LONG`] bytes.
#[inline]
pub(super) fn number(bytes: &[u8]) -> u64 {
    (bytes.iter().rev()).fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

/// Returns the error for a number that does not end within `most` bytes.
fn too_long(bytes: &[u8], most: usize) -> VarintError {
    if bytes.len() < most {
        VarintError::Truncated
    } else {
        VarintError::TooLong
    }
}

// === impl VarintError ===

impl VarintError {
    /// Converts to the error of the field at `offset`.
    pub(super) fn at(self, offset: usize, too_long: Malformed) -> Malformed {
        match self {
            Self::Truncated => Malformed::Truncated(offset),
            Self::TooLong => too_long,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{decode_varint, encode_varint};

    use super::*;

    proptest! {
        #[test]
        fn short_numbers_from_prost_are_read(number: u32, rest: [u8; 3]) {
            let mut bytes = Vec::new();
            encode_varint(number.into(), &mut bytes);
            bytes.extend(rest);
            prop_assert_eq!(short_varint(&bytes), Ok((number, rest.as_slice())));
        }

        #[test]
        fn numbers_end_where_prost_ends_them(bytes in prop::collection::vec(prop_oneof![0x7e_u8..0x82, any::<u8>()], 0..16)) {
            let mut rest = bytes.as_slice();
            let prost = decode_varint(&mut rest).ok().map(|_| rest.len());
            let ours = split_varint(&bytes).ok().map(|(_, rest)| rest.len());
            prop_assert_eq!(ours, prost);
            if let Some((value, rest)) = common_varint(&bytes) {
                prop_assert_eq!(split_varint(&bytes), Ok((value, rest)));
            }
        }
    }
}
