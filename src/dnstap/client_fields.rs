//! Removal of the fields that identify the client.

use bytes::BytesMut;

use super::{
    malformed::Malformed,
    rewrite::{FieldSet, Splice},
    schema::{self, DNSTAP_FIELDS},
    wire::{Field, Fields},
};

/// The source address and the source port of the query.
const ADDRESS: FieldSet = FieldSet::EMPTY
    .with(schema::QUERY_ADDRESS)
    .with(schema::QUERY_PORT);

/// The fields that identify the client and can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFields {
    /// `policy`, if the policy matched the client's address. In that case, the rule and the value of the policy contain
    /// this address.
    Policy,
    /// `policy` as above, and always `query_address` and `query_port`.
    PolicyAndAddress,
}

/// Appends `frame` to `out`, without some fields that identify the client. All other bytes stay in their order, and
/// only the length of the message is adjusted.
///
/// # Errors
/// If the frame is malformed. In that case, `out` is unchanged.
pub(crate) fn without_client(
    frame: &[u8],
    fields: ClientFields,
    out: &mut BytesMut,
) -> Result<(), Malformed> {
    let before = out.len();
    let result = append(frame, fields, out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn append(frame: &[u8], left_out: ClientFields, out: &mut BytesMut) -> Result<(), Malformed> {
    let mut splice = Splice::new(frame, out);
    for field in Fields::new(frame) {
        let field = field?;
        if field.number == schema::MESSAGE {
            DNSTAP_FIELDS.check(&field)?;
            match (left_out, has_policy_of_client(&field)?) {
                (ClientFields::Policy, false) => {}
                (ClientFields::Policy, true) => {
                    splice.strip(&field, FieldSet::EMPTY.with(schema::POLICY))?;
                }
                (ClientFields::PolicyAndAddress, false) => splice.strip(&field, ADDRESS)?,
                (ClientFields::PolicyAndAddress, true) => {
                    splice.strip(&field, ADDRESS.with(schema::POLICY))?;
                }
            }
        }
    }
    splice.copy_to(frame.len());
    Ok(())
}

/// Returns whether a message has a policy that matched the client's address, or a policy that does not say what it
/// matched.
fn has_policy_of_client(message: &Field<'_>) -> Result<bool, Malformed> {
    for field in message.fields() {
        let field = field?;
        if field.number != schema::POLICY {
            continue;
        }
        let mut matched = None;
        for part in field.fields() {
            let part = part?;
            if part.number == schema::POLICY_MATCH {
                matched = Some(part.varint());
            }
        }
        if !matched.is_some_and(|matched| OTHER_MATCHES.contains(&matched)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The values of `Policy.match` for features that are not the client's address: `QNAME`, `RESPONSE_IP`, `NS_NAME`,
/// `NS_IP`.
const OTHER_MATCHES: [u64; 4] = [1, 3, 4, 5];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_port_are_left_out_of_every_message() {
        let mut out = BytesMut::from(b"before".as_slice());
        // Message { type, query_address, query_port, query }, identity, message { query_port, response_port }, type.
        let frame =
            b"\x72\x0a\x08\x05\x22\x01A\x30\x07\x52\x01q\x0a\x01a\x72\x04\x30\x07\x38\x08\x78\x01";
        without_client(frame, ClientFields::PolicyAndAddress, &mut out).expect("dnstap");
        let expected = b"before\x72\x05\x08\x05\x52\x01q\x0a\x01a\x72\x02\x38\x08\x78\x01";
        assert_eq!(out, expected.as_slice());
    }

    #[test]
    fn a_policy_is_left_out_unless_it_matched_something_else_than_the_client() {
        // Policy { match, value }, where value has one byte.
        for (matched, is_kept) in [
            (b"\x20\x01".as_slice(), true),
            (b"\x20\x02", false),
            (b"\x20\x03", true),
            (b"\x20\x04", true),
            (b"\x20\x05", true),
            (b"\x20\x06", false),
            (b"", false),
        ] {
            let policy = [matched, b"\x2a\x01v"].concat();
            let length = u8::try_from(policy.len()).expect("short");
            let message = [b"\x08\x06\x22\x01A\x7a", [length].as_slice(), &policy].concat();
            let length = u8::try_from(message.len()).expect("short");
            let frame = [b"\x72", [length].as_slice(), &message].concat();
            let mut out = BytesMut::new();
            without_client(&frame, ClientFields::Policy, &mut out).expect("dnstap");
            let expected = if is_kept {
                &frame[..]
            } else {
                b"\x72\x05\x08\x06\x22\x01A"
            };
            assert_eq!(out, expected, "{matched:?}");
            out.clear();
            without_client(&frame, ClientFields::PolicyAndAddress, &mut out).expect("dnstap");
            assert_eq!(out.ends_with(b"v"), is_kept, "{matched:?}");
            assert!(!out.contains(&b'A'));
        }
    }

    #[test]
    fn a_malformed_frame_is_refused() {
        let mut out = BytesMut::from(b"before".as_slice());
        for frame in [
            b"\x72\x09\x08\x05".as_slice(),
            b"\x70\x01",
            b"\x72\x02\x20\x01",
        ] {
            let result = without_client(frame, ClientFields::PolicyAndAddress, &mut out);
            assert!(result.is_err(), "{frame:02x?}");
            assert_eq!(out, b"before".as_slice());
        }
    }
}
