//! The facts about a frame that its validation finds, for later steps that need them.

use super::{message_type::MessageType, rewrite::DNS_MESSAGES, schema, wire::Fields};

/// The type of a frame's message, and the place of its first DNS message.
///
/// An edit that removes the DNS messages begins at that place. Most fields of a frame are before that place, and the edit
/// does not have to read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outline {
    /// The type of the message.
    pub message_type: MessageType,
    /// The offset of the first DNS message. It is an array instead of a `u16`, so that the struct may have any
    /// alignment.
    first_dns: [u8; 2],
}

// === impl Outline ===

impl Outline {
    /// Creates an outline of a frame whose DNS messages may be anywhere.
    pub fn of(message_type: MessageType) -> Self {
        Self {
            message_type,
            first_dns: [0; 2],
        }
    }

    /// Sets the offset of the first DNS message in the frame. If the frame has no DNS message, `offset` is the frame's
    /// length.
    pub(super) fn with_first_dns(self, offset: usize) -> Self {
        // An offset that does not fit in 16 bits is stored as 0, which means that it is not known.
        let first_dns = u16::try_from(offset).unwrap_or(0).to_ne_bytes();
        Self { first_dns, ..self }
    }

    /// Returns the offset of the first DNS message in the frame, or the frame's length if there is no DNS message. It
    /// is 0 if the offset is not known.
    pub(super) fn first_dns(self) -> usize {
        u16::from_ne_bytes(self.first_dns).into()
    }

    /// Returns the DNS message of `frame` that the type refers to, without reading the fields before it.
    ///
    /// `None` if its place is not known, or if the frame has several DNS messages. [`RawFrame`](super::RawFrame) finds
    /// the message in these frames, too.
    #[inline]
    pub(crate) fn dns(self, frame: &[u8]) -> Option<&[u8]> {
        let wanted = if self.message_type.is_query() {
            schema::QUERY_MESSAGE
        } else {
            schema::RESPONSE_MESSAGE
        };
        // After the last field of the message, this loop reads the fields of the frame. A second `Dnstap.message`
        // counts as a DNS message there, because it has the number of `response_message`.
        let is_known = self.message_type != MessageType::Unknown;
        let first = Some(self.first_dns()).filter(|first| *first > 0 && is_known)?;
        let mut fields = Fields::within(frame, first..frame.len());
        let dns = fields.next()?.ok().filter(|it| it.number == wanted)?;
        for field in fields {
            if DNS_MESSAGES.contains(field.ok()?.number) {
                return None;
            }
        }
        Some(dns.value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::validate::outline;

    fn first_dns(frame: &[u8]) -> Option<usize> {
        outline(frame).ok().map(super::Outline::first_dns)
    }

    #[test]
    fn the_first_dns_message_of_all_messages_is_found() {
        // Type 5, then both DNS messages, or none.
        for (frame, expected) in [
            (b"\x72\x08\x08\x05\x52\x01q\x72\x01r\x78\x01".as_slice(), 4),
            (b"\x78\x01\x72\x05\x72\x01r\x08\x05", 4),
            (
                b"\x72\x02\x08\x05\x72\x05\x08\x05\x52\x01q\x78\x01\x72\x03\x52\x01q",
                8,
            ),
            (b"\x72\x02\x08\x05\x78\x01", 6),
            // A field 10 of `Dnstap` is not a DNS message.
            (b"\x52\x01q\x72\x02\x08\x05\x78\x01", 9),
        ] {
            assert_eq!(first_dns(frame), Some(expected), "{frame:02x?}");
        }
    }

    #[test]
    fn a_place_beyond_64_kib_is_unknown() {
        for (length, expected) in [(0xff00, 0xff08), (0xffff, 0)] {
            // A length of 16 bits as a varint of three bytes.
            let varint = [
                length & 0x7f | 0x80,
                length >> 7 & 0x7f | 0x80,
                length >> 14,
            ];
            let varint = varint.map(|byte| u8::try_from(byte).expect("at most 255"));
            let identity = [&[0x0a], &varint[..], &vec![b'i'; length]].concat();
            let frame = [&identity[..], b"\x72\x05\x08\x05\x52\x01q\x78\x01"].concat();
            assert_eq!(first_dns(&frame), Some(expected));
        }
    }
}
