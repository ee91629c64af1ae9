//! Validation of dnstap messages. It runs for every frame, so it makes a single pass and does not allocate.

use super::{
    malformed::Malformed,
    message_type::MessageType,
    outline::Outline,
    schema::{self, DNSTAP_FIELDS, MESSAGE_FIELDS, POLICY_FIELDS},
    wire::{Field, Fields},
};

/// Checks that `frame`, the payload of one data frame, is a dnstap message that collectors can decode.
///
/// It checks `Dnstap` and, inside it, `Message` and `Policy`:
///
/// - tags, varints and lengths are valid; groups are skipped, up to a depth of 32;
/// - each field of `proto/dnstap.proto` has the wire type of the schema;
/// - `Dnstap.type` and, in a message, `Message.type` are present; if `Dnstap.type` is `MESSAGE`, there is a message;
/// - `Policy.type`, the only field of type `string`, is UTF-8.
///
/// Unknown fields and unknown enum values are accepted. As always in protobuf, the last value counts if a field occurs
/// several times, and several occurrences of a nested message are merged.
///
/// prost decodes every frame that passes this check, and also some frames that do not pass. prost does not check
/// required fields. It accepts tags and lengths of up to 10 bytes, and groups up to a depth of 99. Here, tags and
/// lengths have at most 5 bytes, as in protobuf-c and C++. golang-dnstap does not check that a `MESSAGE` contains a
/// message, so this check is necessary.
///
/// ```
/// use tapfan::internals::{Malformed, validate};
///
/// assert_eq!(validate(b"\x72\x02\x08\x05\x78\x01"), Ok(()));
/// let error = validate(b"\x72\x02\x08\x05").unwrap_err();
/// assert_eq!(error.to_string(), "byte 4: Dnstap.type is missing in the message that ends here");
/// ```
///
/// # Errors
/// The first violation, with its offset. Missing fields are checked last.
pub fn validate(frame: &[u8]) -> Result<(), Malformed> {
    message_type(frame).map(drop)
}

/// Validates `frame` like [`validate`], and returns the type of its message.
///
/// ```
/// use tapfan::{internals::message_type, supervisor::MessageType};
///
/// assert_eq!(message_type(b"\x72\x02\x08\x05\x78\x01"), Ok(MessageType::ClientQuery));
/// ```
///
/// # Errors
/// The errors of [`validate`].
pub fn message_type(frame: &[u8]) -> Result<MessageType, Malformed> {
    outline(frame).map(|outline| outline.message_type)
}

/// Validates `frame` like [`validate`], and returns its outline, which a [`Rewrite`](super::Rewrite) uses.
///
/// # Errors
/// The errors of [`validate`].
pub fn outline(frame: &[u8]) -> Result<Outline, Malformed> {
    read(frame).map_err(|error| compressed(frame).unwrap_or(error))
}

/// Recognises a compressed frame. DNS-collector's client can compress frames, but no other dnstap reader understands
/// compressed frames.
#[cold]
fn compressed(frame: &[u8]) -> Option<Malformed> {
    const MAGIC: [(&[u8], &str); 6] = [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
        // DNS-collector uses the codecs of Kafka's clients, with their framing.
        (b"\x82SNAPPY\x00", "snappy"),
        (b"\xff\x06\x00\x00sNaPpY", "snappy"),
        (b"\xff\x06\x00\x00S2sTwO", "snappy"),
    ];
    let mut magic = MAGIC.into_iter();
    let (_, with) = magic.find(|(magic, _)| frame.starts_with(magic))?;
    Some(Malformed::Compressed(with))
}

#[inline]
fn read(frame: &[u8]) -> Result<Outline, Malformed> {
    let mut kind = None;
    let mut message_end = None;
    let mut message_type = None;
    let mut first_dns = frame.len();
    for field in Fields::new(frame) {
        let field = field?;
        DNSTAP_FIELDS.check(&field)?;
        match field.number {
            // An enum is an int32, so decoders drop the higher bits.
            schema::TYPE => kind = Some(field.varint() & u64::from(u32::MAX)),
            schema::MESSAGE => {
                message_end = Some(field.range.end);
                message_type = message(&field, &mut first_dns)?.or(message_type);
            }
            _ => {}
        }
    }
    let missing = |offset, field| Err(Malformed::Missing { offset, field });
    let message_type = match (kind, message_end, message_type) {
        (None, ..) => return missing(frame.len(), "Dnstap.type"),
        (Some(schema::TYPE_MESSAGE), None, _) => return missing(frame.len(), "Dnstap.message"),
        (_, Some(end), None) => return missing(end, "Message.type"),
        (Some(schema::TYPE_MESSAGE), _, Some(number)) => MessageType::of(number),
        _ => MessageType::Unknown,
    };
    Ok(Outline::of(message_type).with_first_dns(first_dns))
}

/// Validates a `Message`. Returns the number of its type, if present. Lowers `first_dns` to the offset of its first DNS
/// message.
#[inline]
fn message(message: &Field<'_>, first_dns: &mut usize) -> Result<Option<u64>, Malformed> {
    let mut number = None;
    for field in message.fields() {
        let field = field?;
        MESSAGE_FIELDS.check(&field)?;
        match field.number {
            schema::MESSAGE_TYPE => number = Some(field.varint() & u64::from(u32::MAX)),
            schema::QUERY_MESSAGE | schema::RESPONSE_MESSAGE => {
                *first_dns = (*first_dns).min(field.range.start);
            }
            schema::POLICY => policy(&field)?,
            _ => {}
        }
    }
    Ok(number)
}

#[cold]
fn policy(policy: &Field<'_>) -> Result<(), Malformed> {
    for field in policy.fields() {
        let field = field?;
        POLICY_FIELDS.check(&field)?;
        if field.number == schema::POLICY_TYPE && str::from_utf8(field.value).is_err() {
            return Err(Malformed::Text {
                offset: field.range.start,
                field: "Policy.type",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_collectors_can_decode_pass() {
        for frame in [
            b"\x72\x02\x08\x05\x78\x01".as_slice(),
            // Only a type, with a value that is not in the schema.
            b"\x78\x02",
            // The last type counts.
            b"\x78\x01\x78\x02",
            // Unknown fields and unknown enum values.
            b"\xa0\x06\x01\x72\x06\xa0\x06\x01\x08\xff\x7f\x78\x01\x9b\x06\x9c\x06",
            // Two messages are merged, and the second has the type.
            b"\x72\x02\x10\x01\x72\x02\x08\x05\x78\x01",
            // http_protocol, with a tag of two bytes, and a policy with a string.
            b"\x72\x0c\x08\x05\x80\x01\x02\x7a\x05\x0a\x03RPZ\x78\x01",
        ] {
            assert_eq!(validate(frame), Ok(()), "{frame:02x?}");
        }
    }

    #[test]
    fn compressed_frames_are_recognised() {
        for (frame, expected) in [
            (b"\x1f\x8b\x08\0\0".as_slice(), "gzip"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\x04\x22\x4d\x18\x64", "lz4"),
            (b"\x82SNAPPY\0\0", "snappy"),
            (b"\xff\x06\0\0sNaPpY\x01", "snappy"),
        ] {
            let found = validate(frame);
            assert_eq!(found, Err(Malformed::Compressed(expected)));
        }
        let short = validate(b"\x1f\x8b").expect_err("malformed");
        assert!(!matches!(short, Malformed::Compressed { .. }), "{short}");
    }

    #[test]
    fn the_last_type_counts_and_other_frames_have_none() {
        for (frame, expected) in [
            (
                b"\x72\x02\x08\x05\x78\x01".as_slice(),
                MessageType::ClientQuery,
            ),
            (
                b"\x72\x04\x08\x05\x08\x06\x78\x01",
                MessageType::ClientResponse,
            ),
            (
                b"\x72\x02\x08\x05\x72\x02\x08\x0e\x78\x01",
                MessageType::UpdateResponse,
            ),
            (
                b"\x72\x02\x08\x05\x72\x02\x10\x01\x78\x01",
                MessageType::ClientQuery,
            ),
            (b"\x72\x03\x08\xff\x7f\x78\x01", MessageType::Unknown),
            (b"\x72\x02\x08\x05\x78\x02", MessageType::Unknown),
            (b"\x78\x02", MessageType::Unknown),
        ] {
            assert_eq!(message_type(frame), Ok(expected), "{frame:02x?}");
        }
    }

    #[test]
    fn errors_for_malformed_frames() {
        let errors: Vec<_> = [
            b"".as_slice(),
            b"\x0a\x01a",
            b"\x78\x01",
            b"\x78\x81\x80\x80\x80\x10",
            b"\x72\x00\x78\x01",
            b"\x72\x02\x10\x01\x78\x01",
            b"\x7a\x01a",
            b"\x72\x03\x32\x01a\x78\x01",
            b"\x72\x06\x80\x01\x01\x0a\x01a\x78\x01",
            b"\x72\x08\x08\x05\x7a\x04\x0a\x02\xc3\x28\x78\x01",
            b"\x72\x06\x08\x05\x7a\x02\x18\x80\x78\x01",
            b"\x72\x07\x08\x05\x7a\x03\x0a\x02a\x78\x01",
            b"GET / HTTP/1.1",
            b"\x78\x01\xa6\x06",
            b"\x78\x01\x9c\x06",
        ]
        .map(|frame| validate(frame).expect_err("malformed").to_string())
        .into();
        insta::assert_snapshot!(errors.join("\n"), @r"
        byte 0: Dnstap.type is missing in the message that ends here
        byte 3: Dnstap.type is missing in the message that ends here
        byte 2: Dnstap.message is missing in the message that ends here
        byte 6: Dnstap.message is missing in the message that ends here
        byte 2: Message.type is missing in the message that ends here
        byte 4: Message.type is missing in the message that ends here
        byte 0: Dnstap.type has wire type bytes, but the schema has varint
        byte 2: Message.query_port has wire type bytes, but the schema has varint
        byte 5: Message.type has wire type bytes, but the schema has varint
        byte 6: Policy.type is not UTF-8 text
        byte 6: the field that begins here is cut off
        byte 6: the field that begins here claims 2 bytes, but its message has only 1 left
        byte 0: a field has wire type 7, which protobuf does not define
        byte 2: a field has wire type 6, which protobuf does not define
        byte 2: group 99 ends here but was not open
        ");
    }

    /// The type comes last, so a truncated frame either has no type or ends inside a field.
    #[test]
    fn no_truncated_frame_passes() {
        let frame =
            b"\x0a\x02ns\x72\x11\x08\x05\x40\x80\x80\x80\x80\x04\x4d\0\0\0\0\x52\x02hi\x78\x01";
        assert_eq!(validate(frame), Ok(()));
        for end in 0..frame.len() {
            assert!(validate(&frame[..end]).is_err(), "{end}");
        }
    }
}
