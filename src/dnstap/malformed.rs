//! The reasons why a payload is not a dnstap message.

use crate::closed_set::closed_set;

/// A violation of the dnstap format in a payload. Offsets are in bytes from the start of the payload. In variants with
/// a single number, that number is the offset of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The payload is compressed.
    #[error(
        "the payload is compressed ({0}); turn off compression at the sender (in DNS-collector: `compression: none`)"
    )]
    Compressed(&'static str),
    /// The bytes end before the field that begins at this offset is complete.
    #[error("byte {0}: the field that begins here is cut off")]
    Truncated(usize),
    /// A tag takes more than 32 bits or more than 5 bytes.
    #[error("byte {0}: the tag that begins here is too long for a field number")]
    Tag(usize),
    /// A field has number 0, which protobuf forbids.
    #[error("byte {0}: a field has number 0, which protobuf forbids")]
    FieldZero(usize),
    /// A field has wire type 6 or 7, which protobuf does not define.
    #[error("byte {offset}: a field has wire type {wire_type}, which protobuf does not define")]
    UndefinedWireType {
        /// The start of the field.
        offset: usize,
        /// The wire type.
        wire_type: u8,
    },
    /// A varint takes more than 64 bits or more than 10 bytes.
    #[error("byte {0}: the value of the field that begins here does not fit in 64 bits")]
    Varint(usize),
    /// A length takes more than 32 bits or more than 5 bytes.
    #[error("byte {0}: the length of the field that begins here does not fit in 32 bits")]
    Length(usize),
    /// A field claims more bytes than are left in its message.
    #[error(
        "byte {offset}: the field that begins here claims {length} bytes, but its message has only {left} left"
    )]
    Overrun {
        /// The start of the field.
        offset: usize,
        /// The claimed length, in bytes.
        length: u32,
        /// The bytes left in the message.
        left: usize,
    },
    /// An end tag does not belong to the innermost open group.
    #[error("byte {offset}: group {number} ends here but was not open")]
    GroupEnd {
        /// The start of the end tag.
        offset: usize,
        /// Its field number.
        number: u32,
    },
    /// Too many nested groups.
    #[error("byte {offset}: groups are nested more than {limit} levels deep")]
    Nesting {
        /// The start of the first group beyond the limit.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// A field of the schema has the wrong wire type. Decoders refuse the frame or drop the field.
    #[error("byte {offset}: {field} has wire type {found}, but the schema has {expected}")]
    Mismatch {
        /// The start of the field.
        offset: usize,
        /// The name of the field, such as `Message.query_port`.
        field: &'static str,
        /// The wire type of the schema.
        expected: WireType,
        /// The wire type found.
        found: WireType,
    },
    /// A required field is missing.
    #[error("byte {offset}: {field} is missing in the message that ends here")]
    Missing {
        /// The end of the incomplete message.
        offset: usize,
        /// The name of the field, such as `Message.type`.
        field: &'static str,
    },
    /// A `string` field is not UTF-8. Decoders that check this refuse the whole frame.
    #[error("byte {offset}: {field} is not UTF-8 text")]
    Text {
        /// The start of the field.
        offset: usize,
        /// The name of the field, such as `Policy.type`.
        field: &'static str,
    },
}

closed_set! {
    /// The encoding of a protobuf value.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum WireType {
        /// 0: a number of 1 to 10 bytes.
        Varint => "varint",
        /// 1: 8 bytes.
        Fixed64 => "fixed64",
        /// 2: a length, followed by that many bytes.
        Bytes => "bytes",
        /// 3 (a start tag) and 4 (an end tag): all fields between the two tags; obsolete, but legal.
        Group => "group",
        /// 5: 4 bytes.
        Fixed32 => "fixed32",
    }
}
