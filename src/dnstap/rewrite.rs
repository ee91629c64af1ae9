//! Edits a payload by splicing: what a sink did not ask to change leaves as it came.

use bytes::{Bytes, BytesMut};

use super::{
    malformed::Malformed,
    schema::{self, DNSTAP_FIELDS, MESSAGE_FIELDS},
    wire::{Field, Fields},
};

/// Fields that a sink sets in each frame; `None` leaves the sender's, an empty value sets an empty field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// `identity`.
    pub identity: Option<Bytes>,
    /// `version`.
    pub version: Option<Bytes>,
    /// `extra`.
    pub extra: Option<Bytes>,
}

/// What one sink changes in every frame.
///
/// - Unless it is full, `query_message` and `response_message` are left out of the message, and its length is written anew.
/// - A field with an edit is written where the first of its kind stood, and any other of its kind is left out. If there was
///   none, it goes to the front, where senders put `identity` and `version`; several keep the order of their numbers.
/// - Every other byte stays, in its order: unknown fields of both levels, repeated fields, numbers longer than they need be.
///
/// ```
/// use bytes::BytesMut;
/// use tapfan::dnstap::{Edits, Rewrite};
///
/// let identity = Some("edge".into());
/// let rewrite = Rewrite::new(false, &Edits { identity, ..Edits::default() });
/// let mut out = BytesMut::new();
/// // identity "a", message { type 5, query_message "q" }, type 1
/// rewrite.apply(b"\x0a\x01a\x72\x05\x08\x05\x52\x01q\x78\x01", &mut out)?;
/// assert_eq!(out, b"\x0a\x04edge\x72\x02\x08\x05\x78\x01".as_slice());
/// # Ok::<(), tapfan::dnstap::Malformed>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    full: bool,
    /// `identity`, `version` and `extra`, each as the whole field that goes into a frame.
    fields: [Option<Bytes>; 3],
}

/// A frame on its way into a buffer.
struct Splice<'a> {
    frame: &'a [u8],
    /// How much of `frame` was dealt with.
    done: usize,
    out: &'a mut BytesMut,
}

// === impl Rewrite ===

impl Rewrite {
    /// The rewrite of a sink that keeps the DNS messages if it is `full`, and sets what `edits` says.
    pub fn new(full: bool, edits: &Edits) -> Self {
        Self {
            full,
            fields: [
                (schema::IDENTITY, &edits.identity),
                (schema::VERSION, &edits.version),
                (schema::EXTRA, &edits.extra),
            ]
            .map(|(number, value)| value.as_ref().map(|value| encode(number, value))),
        }
    }

    /// Whether it changes nothing, so that a chunk can go out as it is.
    pub fn is_noop(&self) -> bool {
        self.full && !self.edits()
    }

    /// Appends the edited payload of `frame`, the payload of one data frame, to `out`.
    ///
    /// A frame that [`validate`](super::validate()) passed is never refused. Of others, only what lies on the way is checked:
    /// a rewrite that changes nothing looks at nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the frame, and where; `out` is then as it was.
    pub fn apply(&self, frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        let before = out.len();
        let edits: usize = self.fields.iter().flatten().map(Bytes::len).sum();
        out.reserve(frame.len() + edits);
        let result = self.splice(frame, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    fn edits(&self) -> bool {
        self.fields.iter().any(Option::is_some)
    }

    /// The edit of a top-level field, if it has one, as an index of `fields`.
    fn edit(&self, number: u32) -> Option<usize> {
        let index = (number as usize).checked_sub(1)?;
        self.fields.get(index)?.as_ref().map(|_| index)
    }

    fn splice(&self, frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        let mut pending = [const { None }; 3];
        if self.edits() {
            pending = self.fields.each_ref().map(Option::as_ref);
            let mut absent = pending;
            for field in Fields::new(frame) {
                if let Some(index) = self.edit(field?.number) {
                    absent[index] = None;
                }
            }
            absent
                .iter()
                .flatten()
                .for_each(|field| out.extend_from_slice(field));
        }
        let mut splice = Splice {
            frame,
            done: 0,
            out,
        };
        for field in Fields::new(frame) {
            let field = field?;
            if field.number == schema::MESSAGE && !self.full {
                DNSTAP_FIELDS.check(&field)?;
                splice.strip(&field)?;
            } else if let Some(index) = self.edit(field.number) {
                DNSTAP_FIELDS.check(&field)?;
                splice.cut(&field);
                if let Some(field) = pending[index].take() {
                    splice.out.extend_from_slice(field);
                }
            }
        }
        splice.copy_to(frame.len());
        Ok(())
    }
}

// === impl Splice ===

impl Splice<'_> {
    /// Copies what was not dealt with, up to `end`.
    fn copy_to(&mut self, end: usize) {
        self.out.extend_from_slice(&self.frame[self.done..end]);
        self.done = end;
    }

    /// Copies what stands before a field, and leaves the field out.
    fn cut(&mut self, field: &Field<'_>) {
        self.copy_to(field.range.start);
        self.done = field.range.end;
    }

    /// Leaves the DNS messages out of a `Message`; one without them is left for the next copy.
    fn strip(&mut self, message: &Field<'_>) -> Result<(), Malformed> {
        let length_at = message.range.start + message.tag;
        let content_at = message.range.end - message.value.len();
        // Where the content goes in `out`, once it is known that it must change.
        let mut content = None;
        for field in message.fields() {
            let field = field?;
            if matches!(
                field.number,
                schema::QUERY_MESSAGE | schema::RESPONSE_MESSAGE
            ) {
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

    /// Writes the length of what stands from `content` to the end over the old length, which begins at `length` and ends at
    /// `content`. The new one is no longer: the content was not longer before.
    fn set_length(&mut self, length: usize, content: usize) {
        let mut buffer = [0; 10];
        let mut rest = buffer.as_mut_slice();
        prost::encoding::encode_varint((self.out.len() - content) as u64, &mut rest);
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

/// A whole field of bytes.
fn encode(number: u32, value: &Bytes) -> Bytes {
    let mut field = BytesMut::new();
    prost::encoding::bytes::encode(number, value, &mut field);
    field.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"\x0a\x01a\x72\x08\x08\x05\x52\x01q\x72\x01r\x12\x01v\x78\x01";

    fn edits(identity: &'static str, version: &'static str, extra: &'static str) -> Edits {
        let [identity, version, extra] =
            [identity, version, extra].map(|value| Some(Bytes::from(value)));
        Edits {
            identity,
            version,
            extra,
        }
    }

    fn apply(full: bool, edits: &Edits, frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::from(b"before".as_slice());
        Rewrite::new(full, edits)
            .apply(frame, &mut out)
            .expect("well formed");
        out.strip_prefix(b"before")
            .expect("what was there")
            .to_vec()
    }

    #[test]
    fn only_full_without_edits_changes_nothing() {
        assert!(Rewrite::new(true, &Edits::default()).is_noop());
        assert!(!Rewrite::new(false, &Edits::default()).is_noop());
        assert!(!Rewrite::new(true, &edits("", "", "")).is_noop());
        assert_eq!(apply(true, &Edits::default(), FRAME), FRAME);
    }

    #[test]
    fn the_dns_messages_are_left_out() {
        assert_eq!(
            apply(false, &Edits::default(), FRAME),
            b"\x0a\x01a\x72\x02\x08\x05\x12\x01v\x78\x01"
        );
    }

    #[test]
    fn fields_10_and_14_of_the_top_are_not_those_of_the_message() {
        let frame = b"\x52\x01q\x78\x01";
        assert_eq!(apply(false, &Edits::default(), frame), frame);
    }

    #[test]
    fn every_message_loses_its_own() {
        assert_eq!(
            apply(
                false,
                &Edits::default(),
                b"\x72\x05\x52\x01q\x08\x05\x72\x02\x10\x01\x72\x03\x72\x01r\x78\x01"
            ),
            b"\x72\x02\x08\x05\x72\x02\x10\x01\x72\x00\x78\x01"
        );
    }

    #[test]
    fn a_length_shrinks_by_as_many_bytes_as_it_can() {
        let dns = vec![0; 300];
        let message = [b"\x08\x05\x52\xac\x02".as_slice(), &dns, b"\x10\x01"].concat();
        let frame = [b"\x72\xb3\x02".as_slice(), &message, b"\x78\x01"].concat();
        let stripped = b"\x72\x04\x08\x05\x10\x01\x78\x01";
        assert_eq!(apply(false, &Edits::default(), &frame), stripped);
        let padded = [b"\x72\xb3\x82\x80\x00".as_slice(), &message, b"\x78\x01"].concat();
        assert_eq!(apply(false, &Edits::default(), &padded), stripped);
    }

    #[test]
    fn a_length_that_need_not_change_stays_as_it_is() {
        let frame = b"\x72\x82\x00\x08\x05\x78\x01";
        assert_eq!(apply(false, &Edits::default(), frame), frame);
    }

    #[test]
    fn an_edit_stands_where_the_first_of_its_kind_stood() {
        assert_eq!(
            apply(
                true,
                &Edits {
                    version: Some("new".into()),
                    ..Edits::default()
                },
                b"\x0a\x01a\x12\x01v\x78\x01\x12\x02vv\xa0\x06\x01"
            ),
            b"\x0a\x01a\x12\x03new\x78\x01\xa0\x06\x01"
        );
    }

    #[test]
    fn edits_that_replace_nothing_go_to_the_front_in_order() {
        assert_eq!(
            apply(true, &edits("i", "", "e"), b"\x78\x01\x12\x01v"),
            b"\x0a\x01i\x1a\x01e\x78\x01\x12\x00"
        );
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
            (b"\x0a\x01a\x00", Malformed::FieldZero { offset: 3 }),
        ] {
            let mut out = BytesMut::from(b"before".as_slice());
            let result = Rewrite::new(false, &edits("i", "v", "e")).apply(frame, &mut out);
            assert_eq!((result, out.as_ref()), (Err(error), b"before".as_slice()));
        }
    }
}
