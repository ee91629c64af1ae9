//! The fields of a frame's message, for edits in place.

use std::ops::Range;

use super::{
    malformed::{Malformed, WireType},
    schema,
    wire::Fields,
};

/// A position in a frame that advances from one length-delimited field to the next. It borrows nothing, so the frame
/// can be edited in place between two fields.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MessageFields {
    at: usize,
    /// The end of the message that contains `at`. If `at` is outside of a message, not greater than `at`.
    end: usize,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageField {
    /// The number of the field.
    pub(crate) number: u32,
    /// The place of its value in the frame.
    pub(crate) value: Range<usize>,
}

// === impl MessageFields ===

impl MessageFields {
    /// Returns the next length-delimited field of a message, such as an address or a DNS message. Returns `None` at the
    /// end of the frame. If a frame has several messages, returns the fields of each.
    ///
    /// # Errors
    /// If the frame is malformed.
    pub(crate) fn next(&mut self, frame: &[u8]) -> Result<Option<MessageField>, Malformed> {
        while self.at < frame.len() {
            let is_inside = self.at < self.end;
            let end = if is_inside { self.end } else { frame.len() };
            let Some(field) = Fields::within(frame, self.at..end).next().transpose()? else {
                break;
            };
            self.at = field.range.end;
            if field.wire_type != WireType::Bytes {
                continue;
            }
            let value = field.range.end - field.value.len()..field.range.end;
            if is_inside {
                let number = field.number;
                return Ok(Some(MessageField { number, value }));
            }
            if field.number == schema::MESSAGE {
                (self.at, self.end) = (value.start, value.end);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frame: &[u8]) -> Result<Vec<(u32, &[u8])>, Malformed> {
        let mut fields = MessageFields::default();
        let mut found = Vec::new();
        while let Some(field) = fields.next(frame)? {
            found.push((field.number, &frame[field.value]));
        }
        Ok(found)
    }

    #[test]
    fn the_fields_of_every_message_are_found() {
        // Identity; message { type, address, query }; message {}; message { response }; type; version.
        let frame = b"\x0a\x01a\x72\x08\x08\x05\x22\x01A\x52\x01q\x72\x00\x72\x03\x72\x01r\x78\x01\x12\x01v";
        let expected = [(4, b"A".as_slice()), (10, b"q"), (14, b"r")];
        assert_eq!(all(frame), Ok(expected.to_vec()));
        assert_eq!(all(b""), Ok(vec![]));
        assert_eq!(all(b"\x72\x00"), Ok(vec![]));
    }

    #[test]
    fn a_field_does_not_reach_beyond_its_message() {
        assert!(all(b"\x72\x02\x22\x02ab").is_err());
        assert!(all(b"\x72\x09\x22\x02ab").is_err());
    }
}
