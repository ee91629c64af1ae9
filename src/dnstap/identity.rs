//! The field `identity` of a frame: its value, and values that are made for one frame.

use bytes::BytesMut;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{
    schema::{self, DNSTAP_FIELDS},
    wire::Fields,
};

/// The encoded field `identity` of one frame. It can be set again for the next frame without allocating.
#[derive(Debug, Clone, Default)]
pub struct IdentityField {
    encoded: BytesMut,
}

/// Returns the identity of a frame; an empty value if the frame has none, or if the frame is malformed. If the field
/// occurs several times, its last value counts, as for every decoder.
///
/// In dnstap, an absent identity and an empty one both say nothing about the sender, so callers need not distinguish
/// them.
#[inline]
pub(crate) fn identity(frame: &[u8]) -> &[u8] {
    let mut identity = &[][..];
    for field in Fields::new(frame) {
        match field {
            Ok(field) if field.number != schema::IDENTITY => {}
            Ok(field) if DNSTAP_FIELDS.check(&field).is_ok() => identity = field.value,
            _ => return &[],
        }
    }
    identity
}

// === impl IdentityField ===

impl IdentityField {
    /// Sets the value to `prefix` followed by the identity of `frame`.
    pub fn set_prefixed(&mut self, prefix: &[u8], frame: &[u8]) {
        let identity = identity(frame);
        let length = (prefix.len() + identity.len()) as u64;
        self.encoded.clear();
        encode_key(
            schema::IDENTITY,
            WireType::LengthDelimited,
            &mut self.encoded,
        );
        encode_varint(length, &mut self.encoded);
        self.encoded.extend_from_slice(prefix);
        self.encoded.extend_from_slice(identity);
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_identity_counts() {
        for (frame, expected) in [
            (
                b"\x0a\x01a\x72\x02\x08\x05\x78\x01".as_slice(),
                b"a".as_slice(),
            ),
            (b"\x72\x02\x08\x05\x78\x01\x0a\x02bc", b"bc"),
            (b"\x0a\x01a\x78\x01\x0a\x01b", b"b"),
            (b"\x0a\x01a\x78\x01\x0a\x00", b""),
            (b"\x0a\x00\x78\x01", b""),
            (b"\x72\x02\x08\x05\x78\x01", b""),
            // Malformed frames have no identity: the first has a varint as its identity, the second a length beyond its
            // end.
            (b"\x08\x01\x78\x01", b""),
            (b"\x0a\x01a\x72\x09\x08", b""),
        ] {
            assert_eq!(identity(frame), expected, "{frame:02x?}");
        }
    }

    #[test]
    fn a_prefix_stands_before_the_identity() {
        let mut field = IdentityField::default();
        field.set_prefixed(b"fra1/", b"\x0a\x03ns1\x78\x01");
        assert_eq!(field.encoded(), b"\x0a\x08fra1/ns1");
        field.set_prefixed(b"fra1/", b"\x78\x01");
        assert_eq!(field.encoded(), b"\x0a\x05fra1/");
    }
}
