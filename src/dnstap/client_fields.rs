//! Removal of the fields that identify the client.

use bytes::BytesMut;

use super::{
    malformed::Malformed,
    rewrite::{FieldSet, Splice},
    schema::{self, DNSTAP_FIELDS},
    wire::Fields,
};

/// The address and the port from which the query came.
const CLIENT: FieldSet = FieldSet::EMPTY
    .with(schema::QUERY_ADDRESS)
    .with(schema::QUERY_PORT);

/// Appends `frame` without its fields `query_address` and `query_port` to `out`. All other bytes stay in their order,
/// and only the length of the message is adjusted.
///
/// # Errors
/// If the frame is malformed. In that case, `out` is unchanged.
pub(crate) fn without_client(frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
    let before = out.len();
    let result = append(frame, out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn append(frame: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
    let mut splice = Splice::new(frame, out);
    for field in Fields::new(frame) {
        let field = field?;
        if field.number == schema::MESSAGE {
            DNSTAP_FIELDS.check(&field)?;
            splice.strip(&field, CLIENT)?;
        }
    }
    splice.copy_to(frame.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_port_are_left_out_of_every_message() {
        let mut out = BytesMut::from(b"before".as_slice());
        // Message { type, query_address, query_port, query }, identity, message { query_port, response_port }, type.
        let frame =
            b"\x72\x0a\x08\x05\x22\x01A\x30\x07\x52\x01q\x0a\x01a\x72\x04\x30\x07\x38\x08\x78\x01";
        without_client(frame, &mut out).expect("dnstap");
        let expected = b"before\x72\x05\x08\x05\x52\x01q\x0a\x01a\x72\x02\x38\x08\x78\x01";
        assert_eq!(out, expected.as_slice());
    }

    #[test]
    fn a_malformed_frame_is_refused() {
        let mut out = BytesMut::from(b"before".as_slice());
        for frame in [
            b"\x72\x09\x08\x05".as_slice(),
            b"\x70\x01",
            b"\x72\x02\x20\x01",
        ] {
            assert!(without_client(frame, &mut out).is_err(), "{frame:02x?}");
            assert_eq!(out, b"before".as_slice());
        }
    }
}
