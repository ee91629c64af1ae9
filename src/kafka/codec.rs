//! The primitive types of the Kafka protocol: integers, strings, arrays and variable-length integers.

use super::Error;

/// Reads the fields of a response, in order.
///
/// No method allocates memory from a length that the broker claims: a length is checked against the bytes that are left.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// Appends the fields of a request.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Error> {
        Ok(self.array::<1>()? != [0])
    }

    pub(super) fn i16(&mut self) -> Result<i16, Error> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Error> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Reads a string that may be null.
    pub(super) fn nullable_string(&mut self) -> Result<Option<&'a str>, Error> {
        let Ok(length) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        let text = str::from_utf8(self.take(length)?).map_err(|_| Error::NotText)?;
        Ok(Some(text))
    }

    /// Reads a string. A null string counts as empty.
    pub(super) fn string(&mut self) -> Result<&'a str, Error> {
        Ok(self.nullable_string()?.unwrap_or_default())
    }

    /// Reads bytes. Null counts as no bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.i32()?;
        self.take(usize::try_from(length).unwrap_or_default())
    }

    /// Reads an array, each item with `item`. A null array counts as empty.
    pub(super) fn each(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // An item has at least one byte, so a false length ends with an error and not with a long loop.
        for _ in 0..self.i32()?.max(0) {
            item(self)?;
        }
        Ok(())
    }
}

// === impl Writer ===

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.0.push(value.into());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    /// Appends a length or a number of items.
    pub(super) fn length(&mut self, length: usize) {
        self.i32(i32::try_from(length).unwrap_or(i32::MAX));
    }

    /// Appends a string. The protocol has no strings longer than 32 KiB, so a longer one is cut.
    pub(super) fn string(&mut self, text: &str) {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.i16(length);
        let length = usize::try_from(length).unwrap_or_default();
        self.0.extend(&text.as_bytes()[..length]);
    }

    pub(super) fn null_string(&mut self) {
        self.i16(-1);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend(bytes);
    }

    /// Replaces the four bytes at `at` with the number of bytes that follow them.
    pub(super) fn set_length(&mut self, at: usize) {
        let length = self.0.len() - at - 4;
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a signed integer in zigzag form, with seven bits a byte, as protobuf does.
pub(super) fn put_varint(buffer: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    loop {
        let [lowest, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return buffer.push(lowest);
        }
        // The highest bit means that more bytes follow.
        buffer.push(lowest | 0x80);
    }
}

/// Returns the number of bytes that [`put_varint`] appends.
pub(super) fn varint_length(value: i64) -> usize {
    let bits = u64::BITS - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Reads an integer that [`put_varint`] wrote. Returns it with the bytes after it.
pub(super) fn split_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(place).ok()? * 7)?;
        if byte & 0x80 == 0 {
            let signed = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            return Some((signed, &bytes[place + 1..]));
        }
    }
    None
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_that_a_broker_claims_is_checked() {
        let claims = |bytes: &[u8]| Reader::new(bytes).bytes().is_err();
        assert!(claims(&i32::MAX.to_be_bytes()));
        assert!(claims(b"\0\0\0\x02a"));
        assert_eq!(Reader::new(b"\0\0\0\x01a").bytes().expect("bytes"), b"a");
        assert_eq!(Reader::new(b"\xff\xff\xff\xff").bytes().expect("null"), b"");
        let text = |bytes: &'static [u8]| Reader::new(bytes).nullable_string();
        assert_eq!(text(b"\xff\xff").expect("null"), None);
        assert_eq!(text(b"\0\x02ab").expect("a string"), Some("ab"));
        assert!(text(b"\x7f\xffab").is_err());
        assert!(matches!(text(b"\0\x01\xff"), Err(Error::NotText)));
        let mut items = 0;
        let counted = Reader::new(b"\x7f\xff\xff\xff\0\0").each(|reader| {
            items += 1;
            reader.boolean().map(|_| ())
        });
        assert!(counted.is_err());
        assert_eq!(items, 3);
    }

    proptest! {
        #[test]
        fn integers_survive(value: i64, more: Vec<u8>) {
            let mut buffer = Vec::new();
            put_varint(&mut buffer, value);
            prop_assert_eq!(buffer.len(), varint_length(value));
            buffer.extend(&more);
            prop_assert_eq!(split_varint(&buffer), Some((value, more.as_slice())));
        }

        #[test]
        fn any_bytes_are_an_integer_or_none(bytes: Vec<u8>) {
            split_varint(&bytes);
        }
    }
}
