//! Is it a dnstap message? Asked of every frame, so: one pass, no allocation.

use super::{
    malformed::Malformed,
    schema::{self, DNSTAP_FIELDS, MESSAGE_FIELDS, POLICY_FIELDS},
    wire::{Field, Fields},
};

/// Checks that `frame`, the payload of one data frame, is a dnstap message that collectors can decode.
///
/// What is checked, of `Dnstap` and of the `Message` and `Policy` in it:
///
/// - tags, varints and lengths; groups are skipped, to a depth of 32;
/// - every field of `proto/dnstap.proto` has the schema's wire type;
/// - `Dnstap.type` is there, and `Message.type` in a message; when `Dnstap.type` is `MESSAGE` there is a message;
/// - `Policy.type`, the only `string`, is UTF-8.
///
/// Unknown fields and unknown enum values are fine. As everywhere in protobuf, the last of a repeated field counts, and
/// messages that are repeated count as one.
///
/// What passes, prost decodes. The reverse does not hold: prost does not ask for required fields, and it takes tags and lengths
/// of up to 10 bytes where this, like protobuf-c and C++, takes 5, and groups to a depth of 99. golang-dnstap reads the message
/// of a `MESSAGE` without looking whether there is one.
///
/// ```
/// use tapfan::dnstap::{Malformed, validate};
///
/// assert_eq!(validate(b"\x72\x02\x08\x05\x78\x01"), Ok(()));
/// let error = validate(b"\x72\x02\x08\x05").unwrap_err();
/// assert_eq!(error.to_string(), "byte 4: Dnstap.type is missing from what ends here");
/// ```
///
/// # Errors
///
/// The first thing that is wrong, and where; what is missing is noticed at the end.
pub fn validate(frame: &[u8]) -> Result<(), Malformed> {
    let mut kind = None;
    let mut message_end = None;
    let mut message_typed = false;
    for field in Fields::new(frame) {
        let field = field?;
        DNSTAP_FIELDS.check(&field)?;
        match field.number {
            // An enum is an int32: decoders drop what is above.
            schema::TYPE => kind = Some(field.varint() & u64::from(u32::MAX)),
            schema::MESSAGE => {
                message_end = Some(field.range.end);
                message_typed |= message(&field)?;
            }
            _ => {}
        }
    }
    let missing = |offset, field| Err(Malformed::Missing { offset, field });
    match (kind, message_end) {
        (None, _) => missing(frame.len(), "Dnstap.type"),
        (Some(schema::TYPE_MESSAGE), None) => missing(frame.len(), "Dnstap.message"),
        (_, Some(end)) if !message_typed => missing(end, "Message.type"),
        _ => Ok(()),
    }
}

/// Checks a `Message`; says whether its type is there.
#[inline]
fn message(message: &Field<'_>) -> Result<bool, Malformed> {
    let mut typed = false;
    for field in message.fields() {
        let field = field?;
        MESSAGE_FIELDS.check(&field)?;
        match field.number {
            schema::MESSAGE_TYPE => typed = true,
            schema::POLICY => policy(&field)?,
            _ => {}
        }
    }
    Ok(typed)
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
