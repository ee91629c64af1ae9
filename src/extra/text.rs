//! The buffer for the value of a template, bounded in length.

use std::fmt;

/// The longest value of a template, in bytes. A longer one is cut.
///
/// The text of a template has the same limit, so a text without placeholders is never cut. The limit is far below the
/// frame limits of collectors, which are 64 KiB or larger.
pub const VALUE_LIMIT: usize = 4096;

/// The value of a template for one frame. It can be used again for the next frame without allocating.
#[derive(Debug, Clone, Default)]
pub struct Value {
    bytes: Vec<u8>,
    /// True if something did not fit.
    is_cut: bool,
}

// === impl Value ===

impl Value {
    /// Returns the bytes, at most [`VALUE_LIMIT`]. They are UTF-8 text, unless a field that the template uses contains
    /// other bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_cut = false;
    }

    /// Appends as much as fits. After the first part that does not fit, nothing more is appended.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = if self.is_cut {
            0
        } else {
            VALUE_LIMIT - self.bytes.len()
        };
        if let Some((fits, rest)) = bytes.split_at_checked(room)
            && !rest.is_empty()
        {
            self.is_cut = true;
            self.bytes.extend_from_slice(whole_characters(fits));
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

impl fmt::Write for Value {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Appends ASCII text. Names are written byte by byte, and for single bytes this is cheaper than [`Value::push`].
impl Extend<u8> for Value {
    #[inline]
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            self.is_cut |= self.bytes.len() >= VALUE_LIMIT;
            if !self.is_cut {
                self.bytes.push(byte);
            }
        }
    }
}

/// Removes an incomplete UTF-8 character at the end of `bytes`. Bytes that are not UTF-8 for another reason stay.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match bytes.utf8_chunks().last() {
        Some(last) => {
            let invalid = last.invalid();
            // `error_len` returns `None` only if `invalid` is the beginning of a character.
            let is_start = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            &bytes[..bytes.len() - if is_start { invalid.len() } else { 0 }]
        }
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(parts: &[&[u8]]) -> Value {
        let mut value = Value::default();
        for part in parts {
            value.push(part);
        }
        value
    }

    #[test]
    fn a_value_that_fits_is_whole() {
        let long = [b'x'; VALUE_LIMIT];
        assert_eq!(pushed(&[&long]).bytes(), long);
        assert_eq!(pushed(&[&long[1..], b"y"]).bytes().len(), VALUE_LIMIT);
        assert_eq!(pushed(&[&long, b""]).bytes(), long);
    }

    #[test]
    fn a_longer_value_is_cut_between_characters_and_stays_so() {
        let long = [b'x'; VALUE_LIMIT];
        assert_eq!(pushed(&[&long, b"y"]).bytes(), long);
        for (room, text, kept) in [
            (3, "aß€b", "aß"),
            (4, "aß€b", "aß"),
            (5, "aß€b", "aß"),
            (6, "aß€b", "aß€"),
            (1, "€", ""),
        ] {
            let value = pushed(&[&long[room..], text.as_bytes(), b"z"]);
            assert_eq!(
                &value.bytes()[VALUE_LIMIT - room..],
                kept.as_bytes(),
                "{room}"
            );
        }
        let bytes = pushed(&[&long[2..], b"\xff\xff\xff"]);
        assert_eq!(bytes.bytes().len(), VALUE_LIMIT, "these are no characters");
    }

    #[test]
    fn a_cleared_value_has_room_again() {
        let mut value = pushed(&[&[b'x'; VALUE_LIMIT + 1]]);
        value.clear();
        value.push(b"y");
        assert_eq!(value.bytes(), b"y");
    }
}
