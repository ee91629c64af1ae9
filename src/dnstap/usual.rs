//! Edits of frames of the usual form, which nearly all frames have. These edits take a third of the time of the edits
//! in `rewrite`, which handle any frame.

use bytes::BytesMut;
use prost::encoding::encode_varint;

use super::{
    outline::Outline,
    rewrite::{DNS_MESSAGES, EncodedFields, FieldSet},
    schema,
};

/// A frame of the usual form, which is being edited.
pub(super) struct UsualFrame<'a> {
    pub(super) frame: &'a [u8],
    pub(super) outline: Outline,
    /// The fields to set.
    pub(super) fields: EncodedFields<'a>,
    /// The fields to set, and `message` if its DNS messages are to be removed.
    pub(super) wanted: FieldSet,
}

/// A field of a common kind: it has a number below 16 and a length below 16384, and is not a group.
#[derive(Clone, Copy)]
struct Place {
    number: u32,
    wire_type: u8,
    /// The offset of the field's value, after the tag and the length.
    value: usize,
    end: usize,
}

/// The wire types of common fields. `VARINT` is a varint, `BYTES` is a length followed by that many bytes, and
/// `FIXED32` is a number of four bytes.
const VARINT: u8 = 0;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

// === impl UsualFrame ===

impl UsualFrame<'_> {
    /// Appends the edited frame to `out`.
    ///
    /// Returns `None` if the frame does not have the usual form; a part of the frame may already have been appended.
    /// The form is not usual if a field has an uncommon kind, a wanted field occurs twice, wanted fields are not in the
    /// order of their numbers, there are several DNS messages, or the frame is malformed.
    #[inline]
    pub(super) fn edit(&self, out: &mut BytesMut) -> Option<()> {
        let frame = self.frame;
        self.add_absent(out)?;
        let (mut at, mut done, mut last) = (0, 0, 0);
        while at < frame.len() {
            let place = Place::read(frame, at)?;
            if self.wanted.contains(place.number) {
                if place.number <= last || place.wire_type != BYTES {
                    return None;
                }
                last = place.number;
                if place.number == schema::MESSAGE {
                    done = self.strip(at, place, done, out)?;
                } else {
                    out.extend_from_slice(frame.get(done..at)?);
                    out.extend_from_slice(self.fields[place.number as usize - 1]?);
                    done = place.end;
                }
            }
            at = place.end;
        }
        out.extend_from_slice(frame.get(done..)?);
        Some(())
    }

    /// Appends the fields that the edit sets, but that the frame does not contain yet.
    #[inline]
    fn add_absent(&self, out: &mut BytesMut) -> Option<()> {
        let mut absent = self.wanted.without(schema::MESSAGE);
        let mut at = 0;
        // Most frames begin with the fields to set.
        while !absent.is_empty() && at < self.frame.len() {
            let place = Place::read(self.frame, at)?;
            absent = absent.without(place.number);
            at = place.end;
        }
        if !absent.is_empty() {
            for (number, field) in (1..).zip(self.fields) {
                if absent.contains(number) {
                    out.extend_from_slice(field?);
                }
            }
        }
        Some(())
    }

    /// Appends the bytes from `done` up to the DNS message in `message`, with the new length of `message`. Leaves out
    /// the DNS message, and returns the offset after it. Without a DNS message, appends nothing and returns `done`.
    #[inline]
    fn strip(
        &self,
        start: usize,
        message: Place,
        done: usize,
        out: &mut BytesMut,
    ) -> Option<usize> {
        let frame = self.frame.get(..message.end)?;
        let mut at = self.outline.first_dns().max(message.value);
        let mut dns = None;
        while at < frame.len() {
            let place = Place::read(frame, at)?;
            if DNS_MESSAGES.contains(place.number) {
                if dns.is_some() || place.wire_type != BYTES {
                    return None;
                }
                dns = Some((at, place.end));
            }
            at = place.end;
        }
        let Some((dns, dns_end)) = dns else {
            return Some(done);
        };
        let length = frame.len() - message.value - (dns_end - dns);
        out.extend_from_slice(frame.get(done..=start)?);
        encode_varint(length as u64, out);
        out.extend_from_slice(frame.get(message.value..dns)?);
        Some(dns_end)
    }
}

// === impl Place ===

impl Place {
    /// Reads the field at this offset.
    #[allow(clippy::inline_always)] // So that its parts stay in registers.
    #[inline(always)]
    fn read(frame: &[u8], at: usize) -> Option<Self> {
        let (tag, first) = (*frame.get(at)?, *frame.get(at + 1)?);
        let wire_type = tag & 7;
        let (value, end) = match wire_type {
            BYTES if first < 0x80 => (at + 2, at + 2 + usize::from(first)),
            BYTES => {
                let second = *frame.get(at + 2)?;
                if second >= 0x80 {
                    return None;
                }
                let length = usize::from(first & 0x7f) | usize::from(second) << 7;
                (at + 3, at + 3 + length)
            }
            FIXED32 => (at + 1, at + 5),
            VARINT => {
                let mut end = at + 1;
                while *frame.get(end)? >= 0x80 {
                    end += 1;
                }
                (at + 1, end + 1)
            }
            _ => return None,
        };
        if !(8..0x80).contains(&tag) || end > frame.len() {
            return None;
        }
        Some(Self {
            number: u32::from(tag >> 3),
            wire_type,
            value,
            end,
        })
    }
}
