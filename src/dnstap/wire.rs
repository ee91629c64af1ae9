//! A reader of protobuf's wire format, field by field. The reader does not decode or allocate, and checks every length.

use std::ops::Range;

use super::{
    malformed::{Malformed, WireType},
    varint::{common_bytes, common_varint, number, short_varint, split_varint},
};

/// An iterator over the fields of one message. The iterator ends after an error.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// The offset in the whole frame at which `rest` ends. With it, the offsets of fields in nested messages are also
    /// counted from the start of the frame.
    end: usize,
    groups: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// From 1 to 2^29-1.
    pub(super) number: u32,
    pub(super) wire_type: WireType,
    /// The value of the field. Depending on the wire type, the value consists of the bytes of a varint or of a fixed
    /// value, of the bytes after a length, or of the contents of a group.
    pub(super) value: &'a [u8],
    /// The range of the whole field in the frame, including its tag.
    pub(super) range: Range<usize>,
    /// The number of bytes in the tag of the field. If the field has a length, the length follows the tag.
    pub(super) tag: usize,
}

/// The limit on nested groups. dnstap has no groups, so a low limit is sufficient. It must be below 100, the limit of
/// prost and C++.
pub(super) const GROUP_DEPTH: usize = 32;

// === impl Fields ===

impl<'a> Fields<'a> {
    /// Iterates over the fields of a whole frame.
    #[inline]
    pub(super) fn new(frame: &'a [u8]) -> Self {
        Self {
            rest: frame,
            end: frame.len(),
            groups: 0,
        }
    }

    /// Iterates over the fields at `range` of a frame, which must be a part of the frame.
    #[inline]
    pub(super) fn within(frame: &'a [u8], range: Range<usize>) -> Self {
        Self {
            end: range.end,
            rest: frame.get(range).unwrap_or_default(),
            groups: 0,
        }
    }

    #[inline]
    fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Returns the next tag and the bytes after it, without consuming them.
    #[inline]
    fn tag(&self) -> Result<(u32, &'a [u8]), Malformed> {
        match self.rest {
            [byte, after @ ..] if *byte < 0x80 => Ok((u32::from(*byte), after)),
            rest => {
                let offset = self.offset();
                short_varint(rest).map_err(|error| error.at(offset, Malformed::Tag(offset)))
            }
        }
    }

    /// Consumes the next field if it is of a common kind: it has a number below 16 and a length below 16384, and is not
    /// a group.
    ///
    /// [`field`](Self::field) handles all fields and reports errors. This function is separate so that it stays small
    /// enough to be inlined.
    #[allow(clippy::inline_always)] // Passing fields through memory instead doubles the time of a validation.
    #[inline(always)]
    fn common_field(&mut self) -> Option<Field<'a>> {
        let start = self.offset();
        let (&tag, after) = self.rest.split_first()?;
        if !(8..0x80).contains(&tag) {
            return None;
        }
        let (wire_type, (value, rest)) = match tag & 7 {
            0 => (WireType::Varint, common_varint(after)?),
            2 => (WireType::Bytes, common_bytes(after)?),
            5 => (WireType::Fixed32, after.split_at_checked(4)?),
            _ => return None,
        };
        self.rest = rest;
        Some(Field {
            number: u32::from(tag >> 3),
            wire_type,
            value,
            range: start..self.end - rest.len(),
            tag: 1,
        })
    }

    /// Consumes the next field. Consumes nothing on an error.
    #[cold]
    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let offset = self.offset();
        let (tag, after) = self.tag()?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed::FieldZero(offset));
        }
        let cut_off = Malformed::Truncated(offset);
        let (wire_type, (value, rest)) = match tag & 7 {
            0 => {
                let split = split_varint(after)
                    .map_err(|error| error.at(offset, Malformed::Varint(offset)))?;
                (WireType::Varint, split)
            }
            1 => (WireType::Fixed64, after.split_at_checked(8).ok_or(cut_off)?),
            2 => {
                let (length, content) = short_varint(after)
                    .map_err(|error| error.at(offset, Malformed::Length(offset)))?;
                let split = content.split_at_checked(length as usize);
                let left = content.len();
                let overrun = Malformed::Overrun {
                    offset,
                    length,
                    left,
                };
                (WireType::Bytes, split.ok_or(overrun)?)
            }
            3 => (WireType::Group, self.group(number, after)?),
            4 => return Err(Malformed::GroupEnd { offset, number }),
            5 => (WireType::Fixed32, after.split_at_checked(4).ok_or(cut_off)?),
            undefined => {
                let wire_type = if undefined == 6 { 6 } else { 7 };
                return Err(Malformed::UndefinedWireType { offset, wire_type });
            }
        };
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

    /// Splits `bytes`, which follow the start tag of a group, into the contents of the group and the bytes after its
    /// end tag.
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
        Err(Malformed::Truncated(offset))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[allow(clippy::inline_always)] // As for `common_field`.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(field) = self.common_field() {
            return Some(Ok(field));
        }
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
    /// Iterates over the fields of the submessage that a [`WireType::Bytes`] field contains.
    #[inline]
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields {
            rest: self.value,
            end: self.range.end,
            groups: 0,
        }
    }

    /// Returns the number in a [`WireType::Varint`] field.
    #[inline]
    pub(super) fn varint(&self) -> u64 {
        number(self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(frame: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        Fields::new(frame).collect()
    }

    fn first(frame: &[u8]) -> Field<'_> {
        all(frame).expect("well formed").remove(0)
    }

    /// Encodes `depth` nested groups of field 1.
    fn groups(depth: usize) -> Vec<u8> {
        [vec![0x0b; depth], vec![0x0c; depth]].concat()
    }

    #[test]
    fn every_wire_type_is_read() {
        let field = first(b"\x08\x96\x01");
        assert_eq!((field.number, field.wire_type), (1, WireType::Varint));
        assert_eq!((field.value, field.varint()), (b"\x96\x01".as_slice(), 150));
        let field = first(b"\x11abcdefgh");
        assert_eq!((field.number, field.wire_type), (2, WireType::Fixed64));
        assert_eq!(field.value, b"abcdefgh");
        let field = first(b"\x1a\x02hi");
        assert_eq!((field.number, field.wire_type), (3, WireType::Bytes));
        assert_eq!((field.value, field.range), (b"hi".as_slice(), 0..4));
        let field = first(b"\x25abcd");
        assert_eq!((field.number, field.wire_type), (4, WireType::Fixed32));
        assert_eq!(field.value, b"abcd");
        // Group 5 { 1: 7, group 6 {} }.
        let field = first(b"\x2b\x08\x07\x33\x34\x2c");
        assert_eq!((field.number, field.wire_type), (5, WireType::Group));
        assert_eq!(field.value, b"\x08\x07\x33\x34");
        assert_eq!(field.range, 0..6);
    }

    #[test]
    fn long_tags_and_lengths_are_read() {
        let field = first(b"\xfa\xff\xff\xff\x0f\x82\x80\x00hi");
        assert_eq!((field.number, field.tag), ((1 << 29) - 1, 5));
        assert_eq!((field.value, field.range), (b"hi".as_slice(), 0..10));
        let frame = [b"\x0a\x80\x80\x01".as_slice(), &[7; 0x4000]].concat();
        assert_eq!(first(&frame).value, [7; 0x4000]);
        let field = first(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        assert_eq!(field.varint(), u64::MAX);
    }

    #[test]
    fn offsets_are_relative_to_the_frame_at_every_depth() {
        let frame = b"\x08\x01\x72\x06\x08\x05\x52\x02hi";
        let message = &all(frame).expect("well formed")[1];
        let ranges: Vec<_> = message
            .fields()
            .map(|field| field.expect("well formed").range)
            .collect();
        assert_eq!(ranges, [4..6, 6..10]);
        let error = Fields {
            rest: b"\x07",
            end: 9,
            groups: 0,
        }
        .next();
        assert_eq!(error, Some(Err(Malformed::FieldZero(8))));
    }

    #[test]
    fn violations_of_protobuf_are_reported_with_their_offset() {
        use Malformed as M;
        let offset = 2;
        for (bytes, error) in [
            (b"\x80".as_slice(), M::Truncated(offset)),
            (b"\x08", M::Truncated(offset)),
            (b"\x08\x80", M::Truncated(offset)),
            (b"\x09abcdefg", M::Truncated(offset)),
            (b"\x0a", M::Truncated(offset)),
            (b"\x0a\x80", M::Truncated(offset)),
            (b"\x0dabc", M::Truncated(offset)),
            (b"\x0b\x08\x01", M::Truncated(offset)),
            (b"\x88\x80\x80\x80\x80\x00\x01", M::Tag(offset)),
            (b"\x88\x80\x80\x80\x10\x01", M::Tag(offset)),
            (b"\x00\x01", M::FieldZero(offset)),
            (b"\x80\x00\x01", M::FieldZero(offset)),
            (
                b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
                M::Varint(offset),
            ),
            (
                b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
                M::Varint(offset),
            ),
            (b"\x0a\x80\x80\x80\x80\x80\x00", M::Length(offset)),
            (
                b"\x0a\x03hi",
                M::Overrun {
                    offset,
                    length: 3,
                    left: 2,
                },
            ),
            (
                b"\x0a\xff\xff\xff\xff\x0fhi",
                M::Overrun {
                    offset,
                    length: u32::MAX,
                    left: 2,
                },
            ),
            (b"\x0c", M::GroupEnd { offset, number: 1 }),
            (
                b"\x0b\x14",
                M::GroupEnd {
                    offset: 3,
                    number: 2,
                },
            ),
            (
                b"\x0e",
                M::UndefinedWireType {
                    offset,
                    wire_type: 6,
                },
            ),
            (
                b"\x0f",
                M::UndefinedWireType {
                    offset,
                    wire_type: 7,
                },
            ),
        ] {
            let frame = [b"\x08\x01", bytes].concat();
            assert_eq!(all(&frame), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn nested_groups_have_a_limit() {
        assert_eq!(first(&groups(GROUP_DEPTH)).range, 0..2 * GROUP_DEPTH);
        let error = Malformed::Nesting {
            offset: GROUP_DEPTH,
            limit: GROUP_DEPTH,
        };
        assert_eq!(all(&groups(GROUP_DEPTH + 1)), Err(error));
        assert_eq!(all(&vec![0x0b; 1 << 20]), Err(error));
    }

    #[test]
    fn the_iterator_ends_after_an_error() {
        let mut fields = Fields::new(b"\x00\x08\x01");
        assert!(fields.next().is_some_and(|field| field.is_err()));
        assert_eq!(fields.next(), None);
    }

    proptest! {
        #[test]
        fn common_field_and_field_agree(bytes: Vec<u8>) {
            if let Some(field) = Fields::new(&bytes).common_field() {
                prop_assert_eq!(Fields::new(&bytes).field(), Ok(field));
            }
        }

        #[test]
        fn fields_cover_a_valid_frame_without_gaps(bytes in prop::collection::vec(0_u8..64, 0..64)) {
            let mut at = 0;
            for field in Fields::new(&bytes) {
                let Ok(field) = field else { return Ok(()) };
                prop_assert_eq!(field.range.start, at);
                at = field.range.end;
            }
            prop_assert_eq!(at, bytes.len());
        }
    }
}
