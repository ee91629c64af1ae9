//! Edits of a payload by splicing its bytes. Bytes that no edit concerns stay unchanged.

use bytes::{Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{
    identity::IdentityField,
    malformed::Malformed,
    outline::Outline,
    schema::{self, DNSTAP_FIELDS, MESSAGE_FIELDS},
    usual::UsualFrame,
    wire::{Field, Fields},
};

/// Values for the fields that a [`Rewrite`] sets. `None` keeps the sender's value. An empty value sets the
/// field to the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldValues {
    /// `identity`.
    pub identity: Option<Bytes>,
    /// `version`.
    pub version: Option<Bytes>,
    /// `extra`.
    pub extra: Option<Bytes>,
}

/// The changes that one sink makes to every frame.
///
/// - Unless the sink is `full`, `query_message` and `response_message` are removed, and the length of the message is
///   adjusted.
/// - The new value of a field replaces the field's first occurrence in the frame, and further occurrences are removed.
///   If the frame does not have the field, it is added at the front, where senders put `identity` and `version`.
///   Several added fields are ordered by number.
/// - All other bytes stay in their order. These include unknown fields of `Dnstap` and of `Message`, repeated fields,
///   and varints with padding.
///
/// ```
/// use bytes::BytesMut;
/// use tapfan::internals::{FieldValues, Rewrite};
///
/// let identity = Some("edge".into());
/// let rewrite = Rewrite::new(false, &FieldValues { identity, ..FieldValues::default() });
/// let mut out = BytesMut::new();
/// // identity "a", message { type 5, query_message "q" }, type 1
/// rewrite.apply(b"\x0a\x01a\x72\x05\x08\x05\x52\x01q\x78\x01", &mut out)?;
/// assert_eq!(out, b"\x0a\x04edge\x72\x02\x08\x05\x78\x01".as_slice());
/// # Ok::<(), tapfan::internals::Malformed>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    full: bool,
    /// `identity`, `version` and `extra`, each as an encoded field.
    fields: [Option<Bytes>; 3],
}

/// The encoded field `extra` of one frame. It can be set again for the next frame without allocating.
#[derive(Debug, Clone, Default)]
pub struct ExtraField {
    encoded: BytesMut,
}

/// The fields that an edit sets to a value for one frame only. They replace the values of the [`Rewrite`].
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnFields<'a> {
    /// `identity`.
    pub identity: Option<&'a IdentityField>,
    /// `extra`.
    pub extra: Option<&'a ExtraField>,
}

/// The fields `identity`, `version` and `extra`, which have the numbers 1 to 3, each encoded. `None` keeps the sender's
/// value.
pub(super) type EncodedFields<'a> = [Option<&'a [u8]>; 3];

/// A set of fields, a bit for each number.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldSet(u32);

/// A frame that is being copied into a buffer.
pub(super) struct Splice<'a> {
    frame: &'a [u8],
    /// The number of bytes of `frame` that are already copied or left out.
    done: usize,
    out: &'a mut BytesMut,
}

/// The fields with DNS messages.
pub(super) const DNS_MESSAGES: FieldSet = FieldSet::EMPTY
    .with(schema::QUERY_MESSAGE)
    .with(schema::RESPONSE_MESSAGE);

/// The longest encoding of a number, in bytes.
const MAX_VARINT: usize = 10;

// === impl Rewrite ===

impl Rewrite {
    /// Creates a rewrite that keeps the DNS messages if `full` is set, and sets the fields of `values`.
    pub fn new(full: bool, values: &FieldValues) -> Self {
        Self {
            full,
            fields: [
                (schema::IDENTITY, &values.identity),
                (schema::VERSION, &values.version),
                (schema::EXTRA, &values.extra),
            ]
            .map(|(number, value)| value.as_ref().map(|value| encode(number, value))),
        }
    }

    /// Returns whether this rewrite changes nothing. In that case, chunks can be written as they are.
    pub fn is_noop(&self) -> bool {
        self.full && self.fields.iter().all(Option::is_none)
    }

    /// Appends the edited payload of `frame`, the payload of one data frame, to `out`.
    ///
    /// A frame that passed [`validate`](super::validate()) is never refused. Other frames are checked only as far as
    /// the edits require.
    ///
    /// # Errors
    /// If the frame is malformed. In that case, `out` is unchanged.
    pub fn apply(&self, frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        self.edit(frame, Outline::default(), OwnFields::default(), out)
    }

    /// Does the same as [`apply`](Self::apply), and sets `extra` to a value for this frame only.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub fn apply_with_extra(
        &self,
        frame: &[u8],
        extra: &ExtraField,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let extra = Some(extra);
        let own = OwnFields {
            extra,
            ..OwnFields::default()
        };
        self.edit(frame, Outline::default(), own, out)
    }

    /// Does the same as [`apply`](Self::apply), and sets the fields in `own` to values for this frame only. `outline`
    /// is the outline of `frame`, and makes the edit faster.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply). With the outline of another frame, the output is wrong.
    pub fn edit(
        &self,
        frame: &[u8],
        outline: Outline,
        own: OwnFields<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let mut fields: EncodedFields<'_> = self.fields.each_ref().map(Option::as_deref);
        if let Some(identity) = own.identity {
            fields[0] = Some(identity.encoded());
        }
        if let Some(extra) = own.extra {
            fields[2] = Some(&extra.encoded);
        }
        let before = out.len();
        let edits: usize = fields.iter().flatten().map(|field| field.len()).sum();
        out.reserve(frame.len() + edits);
        let mut wanted = FieldSet::of(&fields);
        if !self.full {
            wanted = wanted.with(schema::MESSAGE);
        }
        let usual = UsualFrame {
            frame,
            outline,
            fields,
            wanted,
        };
        if usual.edit(out).is_some() {
            return Ok(());
        }
        out.truncate(before);
        let result = self.splice(frame, fields, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    /// Edits a frame of any form, including the rare forms.
    #[cold]
    fn splice(
        &self,
        frame: &[u8],
        fields: EncodedFields<'_>,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        // The edited fields that are not written yet.
        let mut pending = FieldSet::of(&fields);
        let edited = pending;
        // Edited fields that are absent from the frame go to the front of the output. So a first pass finds out which
        // fields are absent.
        if !edited.is_empty() {
            let mut absent = edited;
            for field in Fields::new(frame) {
                absent.remove(field?.number);
            }
            for (number, field) in (1..).zip(fields) {
                if absent.contains(number) {
                    out.extend_from_slice(field.unwrap_or_default());
                }
            }
        }
        let mut splice = Splice::new(frame, out);
        for field in Fields::new(frame) {
            let field = field?;
            if field.number == schema::MESSAGE && !self.full {
                DNSTAP_FIELDS.check(&field)?;
                splice.strip(&field, DNS_MESSAGES)?;
            } else if edited.contains(field.number) {
                DNSTAP_FIELDS.check(&field)?;
                splice.cut(&field);
                if pending.remove(field.number) {
                    let value = fields[field.number as usize - 1];
                    splice.out.extend_from_slice(value.unwrap_or_default());
                }
            }
        }
        splice.copy_to(frame.len());
        Ok(())
    }
}

// === impl FieldSet ===

impl FieldSet {
    pub(super) const EMPTY: Self = Self(0);

    /// Returns the fields that have a value.
    fn of(fields: &EncodedFields<'_>) -> Self {
        let bit = |(number, field): (u32, &Option<_>)| u32::from(field.is_some()) << number;
        Self((1..).zip(fields).map(bit).sum())
    }

    pub(super) const fn with(self, number: u32) -> Self {
        Self(self.0 | Self::bit(number))
    }

    pub(super) const fn without(self, number: u32) -> Self {
        Self(self.0 & !Self::bit(number))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn contains(self, number: u32) -> bool {
        self.0 & Self::bit(number) != 0
    }

    /// Removes a field, and returns whether it was in the set.
    fn remove(&mut self, number: u32) -> bool {
        let had = self.contains(number);
        *self = self.without(number);
        had
    }

    /// Returns the bit of the field with this number, or 0 if the number is too large for a `FieldSet`.
    const fn bit(number: u32) -> u32 {
        if number < u32::BITS { 1 << number } else { 0 }
    }
}

// === impl ExtraField ===

impl ExtraField {
    /// Sets the value.
    pub fn set(&mut self, value: &[u8]) {
        self.encoded.clear();
        encode_key(schema::EXTRA, WireType::LengthDelimited, &mut self.encoded);
        encode_varint(value.len() as u64, &mut self.encoded);
        self.encoded.extend_from_slice(value);
    }
}

// === impl Splice ===

impl<'a> Splice<'a> {
    pub(super) fn new(frame: &'a [u8], out: &'a mut BytesMut) -> Self {
        Self {
            frame,
            done: 0,
            out,
        }
    }

    /// Copies the frame from `done` up to `end`.
    pub(super) fn copy_to(&mut self, end: usize) {
        self.out.extend_from_slice(&self.frame[self.done..end]);
        self.done = end;
    }

    /// Copies the bytes before a field, and leaves the field out.
    fn cut(&mut self, field: &Field<'_>) {
        self.copy_to(field.range.start);
        self.done = field.range.end;
    }

    /// Copies a `Message` without the fields in `unwanted`. If it has none of them, copies nothing, and a later copy
    /// includes the unchanged `Message`.
    pub(super) fn strip(
        &mut self,
        message: &Field<'_>,
        unwanted: FieldSet,
    ) -> Result<(), Malformed> {
        let length_at = message.range.start + message.tag;
        let content_at = message.range.end - message.value.len();
        // The offset in `out` at which the fields of `message` begin; `None` until the first unwanted field is found.
        let mut content = None;
        for field in message.fields() {
            let field = field?;
            if unwanted.contains(field.number) {
                MESSAGE_FIELDS.check(&field)?;
                if content.is_none() {
                    self.copy_to(content_at);
                    content = Some(self.out.len());
                }
                self.cut(&field);
            }
        }
        if let Some(start) = content {
            self.copy_to(message.range.end);
            self.set_length(start - (content_at - length_at), start);
        }
        Ok(())
    }

    /// Overwrites the old length, at `length..content`, with the length of the bytes from `content` on. The new length
    /// needs no more bytes than the old one, because the content has become shorter.
    fn set_length(&mut self, length: usize, content: usize) {
        let mut buffer = [0; MAX_VARINT];
        let mut rest = buffer.as_mut_slice();
        encode_varint((self.out.len() - content) as u64, &mut rest);
        let unused = rest.len();
        let new = &buffer[..buffer.len() - unused];
        let start = length + new.len();
        self.out[length..start].copy_from_slice(new);
        if start < content {
            self.out.copy_within(content.., start);
            self.out.truncate(self.out.len() - (content - start));
        }
    }
}

/// Encodes a field of type `bytes`, including its tag and length.
fn encode(number: u32, value: &Bytes) -> Bytes {
    let mut field = BytesMut::new();
    prost::encoding::bytes::encode(number, value, &mut field);
    field.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"\x0a\x01a\x72\x08\x08\x05\x52\x01q\x72\x01r\x12\x01v\x78\x01";

    fn values(identity: &'static str, version: &'static str, extra: &'static str) -> FieldValues {
        let [identity, version, extra] =
            [identity, version, extra].map(|value| Some(Bytes::from(value)));
        FieldValues {
            identity,
            version,
            extra,
        }
    }

    fn apply(full: bool, values: &FieldValues, frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::from(b"before".as_slice());
        Rewrite::new(full, values)
            .apply(frame, &mut out)
            .expect("well formed");
        out.strip_prefix(b"before")
            .expect("what was there")
            .to_vec()
    }

    #[test]
    fn full_without_edits_is_the_only_noop() {
        assert!(Rewrite::new(true, &FieldValues::default()).is_noop());
        assert!(!Rewrite::new(false, &FieldValues::default()).is_noop());
        assert!(!Rewrite::new(true, &values("", "", "")).is_noop());
        assert_eq!(apply(true, &FieldValues::default(), FRAME), FRAME);
    }

    #[test]
    fn the_dns_messages_are_removed() {
        assert_eq!(
            apply(false, &FieldValues::default(), FRAME),
            b"\x0a\x01a\x72\x02\x08\x05\x12\x01v\x78\x01"
        );
    }

    #[test]
    fn top_level_fields_10_and_14_are_not_dns_messages() {
        let frame = b"\x52\x01q\x78\x01";
        assert_eq!(apply(false, &FieldValues::default(), frame), frame);
    }

    #[test]
    fn every_message_loses_its_dns_messages() {
        assert_eq!(
            apply(
                false,
                &FieldValues::default(),
                b"\x72\x05\x52\x01q\x08\x05\x72\x02\x10\x01\x72\x03\x72\x01r\x78\x01"
            ),
            b"\x72\x02\x08\x05\x72\x02\x10\x01\x72\x00\x78\x01"
        );
    }

    #[test]
    fn a_new_length_takes_as_few_bytes_as_possible() {
        let dns = vec![0; 300];
        let message = [b"\x08\x05\x52\xac\x02".as_slice(), &dns, b"\x10\x01"].concat();
        let frame = [b"\x72\xb3\x02".as_slice(), &message, b"\x78\x01"].concat();
        let stripped = b"\x72\x04\x08\x05\x10\x01\x78\x01";
        assert_eq!(apply(false, &FieldValues::default(), &frame), stripped);
        let padded = [b"\x72\xb3\x82\x80\x00".as_slice(), &message, b"\x78\x01"].concat();
        assert_eq!(apply(false, &FieldValues::default(), &padded), stripped);
    }

    #[test]
    fn a_length_stays_as_it_is_if_nothing_is_removed() {
        let frame = b"\x72\x82\x00\x08\x05\x78\x01";
        assert_eq!(apply(false, &FieldValues::default(), frame), frame);
    }

    #[test]
    fn an_edit_replaces_the_first_of_its_kind() {
        assert_eq!(
            apply(
                true,
                &FieldValues {
                    version: Some("new".into()),
                    ..FieldValues::default()
                },
                b"\x0a\x01a\x12\x01v\x78\x01\x12\x02vv\xa0\x06\x01"
            ),
            b"\x0a\x01a\x12\x03new\x78\x01\xa0\x06\x01"
        );
    }

    #[test]
    fn edits_that_replace_nothing_go_to_the_front_in_order() {
        assert_eq!(
            apply(true, &values("i", "", "e"), b"\x78\x01\x12\x01v"),
            b"\x0a\x01i\x1a\x01e\x78\x01\x12\x00"
        );
    }

    #[test]
    fn an_extra_for_one_frame_is_set_as_one_for_all() {
        for length in [0, 1, 127, 128, 4096] {
            let extra = vec![b'x'; length];
            for (full, extra_before) in [(true, None), (false, Some("y".into()))] {
                for frame in [FRAME, b"\x1a\x01z\x78\x01\x1a\x02zz"] {
                    let mut all = FieldValues {
                        identity: Some("i".into()),
                        version: None,
                        extra: extra_before.clone(),
                    };
                    let mut field = ExtraField::default();
                    field.set(&extra);
                    let mut out = BytesMut::new();
                    Rewrite::new(full, &all)
                        .apply_with_extra(frame, &field, &mut out)
                        .expect("well formed");
                    all.extra = Some(extra.clone().into());
                    assert_eq!(out, apply(full, &all, frame), "{length}");
                }
            }
        }
    }

    #[test]
    fn a_malformed_frame_leaves_the_buffer_as_it_was() {
        for (frame, error) in [
            (
                b"\x0a\x01a\x72\x05\x52\x01q\x0a\x05\x78\x01".as_slice(),
                Malformed::Overrun {
                    offset: 8,
                    length: 5,
                    left: 0,
                },
            ),
            (
                b"\x08\x01",
                Malformed::Mismatch {
                    offset: 0,
                    field: "Dnstap.identity",
                    expected: super::super::WireType::Bytes,
                    found: super::super::WireType::Varint,
                },
            ),
            (b"\x0a\x01a\x00", Malformed::FieldZero(3)),
        ] {
            let mut out = BytesMut::from(b"before".as_slice());
            let result = Rewrite::new(false, &values("i", "v", "e")).apply(frame, &mut out);
            assert_eq!((result, out.as_ref()), (Err(error), b"before".as_slice()));
        }
    }
}
