//! Why a payload is not a dnstap message.

use std::fmt;

/// What is wrong with a payload, and where: every offset counts bytes from the payload's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The payload is compressed.
    #[error(
        "it is compressed ({with}); turn compression off at the sender, in DNS-collector `compression: none`"
    )]
    Compressed {
        /// With what.
        with: &'static str,
    },
    /// The bytes end before the field that begins at `offset` does.
    #[error("byte {offset}: the field that begins here is cut off")]
    Truncated {
        /// Where the field begins.
        offset: usize,
    },
    /// A field's tag needs more than 32 bits or more than 5 bytes.
    #[error("byte {offset}: the tag that begins here is longer than a field number can be")]
    Tag {
        /// Where the tag begins.
        offset: usize,
    },
    /// A field has number 0, which protobuf forbids.
    #[error("byte {offset}: a field with number 0")]
    FieldZero {
        /// Where the field begins.
        offset: usize,
    },
    /// A field has wire type 6 or 7, which protobuf does not define.
    #[error("byte {offset}: a field with wire type {wire_type}, which protobuf does not define")]
    UndefinedWireType {
        /// Where the field begins.
        offset: usize,
        /// The wire type.
        wire_type: u8,
    },
    /// A varint needs more than 64 bits or more than 10 bytes.
    #[error("byte {offset}: the number of the field that begins here does not fit 64 bits")]
    Varint {
        /// Where the field begins.
        offset: usize,
    },
    /// A length needs more than 32 bits or more than 5 bytes.
    #[error("byte {offset}: the length of the field that begins here does not fit 32 bits")]
    Length {
        /// Where the field begins.
        offset: usize,
    },
    /// A field claims more bytes than its message has left.
    #[error(
        "byte {offset}: the field that begins here claims {length} bytes, {left} are left in its message"
    )]
    Overrun {
        /// Where the field begins.
        offset: usize,
        /// What it claims, in bytes.
        length: u32,
        /// What there is, in bytes.
        left: usize,
    },
    /// A group ends that did not begin, or not as the innermost one.
    #[error("byte {offset}: group {number} ends here but was not open")]
    GroupEnd {
        /// Where the end tag stands.
        offset: usize,
        /// Its field number.
        number: u32,
    },
    /// Groups within groups within groups.
    #[error("byte {offset}: groups are nested more than {limit} deep")]
    Nesting {
        /// Where the group too many begins.
        offset: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A field of the schema comes as something else; decoders refuse it or lose it.
    #[error("byte {offset}: {field} has wire type {found}, the schema says {expected}")]
    Mismatch {
        /// Where the field begins.
        offset: usize,
        /// Its name, as `Message.query_port`.
        field: &'static str,
        /// The schema's wire type.
        expected: WireType,
        /// The wire type it has.
        found: WireType,
    },
    /// A field that must be there is not.
    #[error("byte {offset}: {field} is missing from what ends here")]
    Missing {
        /// Where the message ends that lacks it.
        offset: usize,
        /// Its name, as `Message.type`.
        field: &'static str,
    },
    /// A `string` field is not UTF-8; decoders that check refuse the whole frame.
    #[error("byte {offset}: {field} is not UTF-8 text")]
    Text {
        /// Where the field begins.
        offset: usize,
        /// Its name, as `Policy.type`.
        field: &'static str,
    },
}

/// How a protobuf value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// 0: a number of 1 to 10 bytes.
    Varint = 0,
    /// 1: 8 bytes.
    Fixed64 = 1,
    /// 2: a length, and as many bytes.
    Bytes = 2,
    /// 3 and 4: fields between a start and an end tag; obsolete, yet legal.
    Group = 3,
    /// 5: 4 bytes.
    Fixed32 = 5,
}

// === impl WireType ===

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varint => "varint",
            Self::Fixed64 => "fixed64",
            Self::Bytes => "bytes",
            Self::Group => "group",
            Self::Fixed32 => "fixed32",
        })
    }
}
