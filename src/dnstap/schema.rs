//! The fields of `proto/dnstap.proto`: their numbers, names and wire types.

use super::{
    malformed::{Malformed, WireType},
    wire::Field,
};

// The fields of `Dnstap`.
pub(crate) const IDENTITY: u32 = 1;
pub(crate) const VERSION: u32 = 2;
pub(super) const EXTRA: u32 = 3;
pub(crate) const MESSAGE: u32 = 14;
pub(crate) const TYPE: u32 = 15;

// The fields of `Message`.
pub(crate) const MESSAGE_TYPE: u32 = 1;
pub(crate) const SOCKET_FAMILY: u32 = 2;
pub(crate) const SOCKET_PROTOCOL: u32 = 3;
pub(crate) const QUERY_ADDRESS: u32 = 4;
pub(crate) const RESPONSE_ADDRESS: u32 = 5;
pub(crate) const QUERY_PORT: u32 = 6;
pub(crate) const RESPONSE_PORT: u32 = 7;
pub(crate) const QUERY_TIME_SEC: u32 = 8;
pub(crate) const QUERY_TIME_NSEC: u32 = 9;
pub(crate) const QUERY_MESSAGE: u32 = 10;
pub(crate) const QUERY_ZONE: u32 = 11;
pub(crate) const RESPONSE_TIME_SEC: u32 = 12;
pub(crate) const RESPONSE_TIME_NSEC: u32 = 13;
pub(crate) const RESPONSE_MESSAGE: u32 = 14;
pub(crate) const POLICY: u32 = 15;
pub(crate) const HTTP_PROTOCOL: u32 = 16;

/// `Policy.type`.
pub(crate) const POLICY_TYPE: u32 = 1;
/// `Policy.rule`.
pub(crate) const POLICY_RULE: u32 = 2;
/// `Policy.action`.
pub(crate) const POLICY_ACTION: u32 = 3;
/// `Policy.match`.
pub(crate) const POLICY_MATCH: u32 = 4;
/// `Policy.value`.
pub(crate) const POLICY_VALUE: u32 = 5;

/// `Dnstap.Type.MESSAGE`.
pub(crate) const TYPE_MESSAGE: u64 = 1;

/// The fields of one message type, by number.
pub(super) struct Schema(&'static [Option<Known>]);

type Known = (&'static str, WireType);

pub(super) static DNSTAP_FIELDS: Schema = Schema(&[
    None,
    Some(("Dnstap.identity", WireType::Bytes)),
    Some(("Dnstap.version", WireType::Bytes)),
    Some(("Dnstap.extra", WireType::Bytes)),
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    Some(("Dnstap.message", WireType::Bytes)),
    Some(("Dnstap.type", WireType::Varint)),
]);

pub(super) static MESSAGE_FIELDS: Schema = Schema(&[
    None,
    Some(("Message.type", WireType::Varint)),
    Some(("Message.socket_family", WireType::Varint)),
    Some(("Message.socket_protocol", WireType::Varint)),
    Some(("Message.query_address", WireType::Bytes)),
    Some(("Message.response_address", WireType::Bytes)),
    Some(("Message.query_port", WireType::Varint)),
    Some(("Message.response_port", WireType::Varint)),
    Some(("Message.query_time_sec", WireType::Varint)),
    Some(("Message.query_time_nsec", WireType::Fixed32)),
    Some(("Message.query_message", WireType::Bytes)),
    Some(("Message.query_zone", WireType::Bytes)),
    Some(("Message.response_time_sec", WireType::Varint)),
    Some(("Message.response_time_nsec", WireType::Fixed32)),
    Some(("Message.response_message", WireType::Bytes)),
    Some(("Message.policy", WireType::Bytes)),
    Some(("Message.http_protocol", WireType::Varint)),
]);

pub(super) static POLICY_FIELDS: Schema = Schema(&[
    None,
    Some(("Policy.type", WireType::Bytes)),
    Some(("Policy.rule", WireType::Bytes)),
    Some(("Policy.action", WireType::Varint)),
    Some(("Policy.match", WireType::Varint)),
    Some(("Policy.value", WireType::Bytes)),
]);

// === impl Schema ===

impl Schema {
    /// Checks that a field has the wire type of the schema. Unknown fields pass.
    #[inline]
    pub(super) fn check(&self, field: &Field<'_>) -> Result<(), Malformed> {
        match self.0.get(field.number as usize) {
            Some(Some((name, expected))) if *expected != field.wire_type => {
                Err(Malformed::Mismatch {
                    offset: field.range.start,
                    field: name,
                    expected: *expected,
                    found: field.wire_type,
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use prost::Message as _;

    use super::{
        super::{
            proto::{Dnstap, Message, Policy},
            wire::Fields,
        },
        *,
    };

    /// Compares the tables with messages that prost encodes. The types of prost are generated from the schema.
    #[test]
    fn the_tables_agree_with_the_schema() {
        let policy = Policy {
            r#type: Some("RPZ".into()),
            rule: Some(vec![0]),
            action: Some(1),
            r#match: Some(1),
            value: Some(vec![1]),
        };
        let message = Message {
            r#type: 1,
            socket_family: Some(1),
            socket_protocol: Some(1),
            query_address: Some(vec![1]),
            response_address: Some(vec![1]),
            query_port: Some(1),
            response_port: Some(1),
            query_time_sec: Some(1),
            query_time_nsec: Some(1),
            query_message: Some(vec![1]),
            query_zone: Some(vec![1]),
            response_time_sec: Some(1),
            response_time_nsec: Some(1),
            response_message: Some(vec![1]),
            policy: Some(policy.clone()),
            http_protocol: Some(1),
        };
        let dnstap = Dnstap {
            identity: Some(vec![1]),
            version: Some(vec![1]),
            extra: Some(vec![1]),
            r#type: 1,
            message: Some(message.clone()),
        };
        for (schema, bytes) in [
            (&DNSTAP_FIELDS, dnstap.encode_to_vec()),
            (&MESSAGE_FIELDS, message.encode_to_vec()),
            (&POLICY_FIELDS, policy.encode_to_vec()),
        ] {
            let mut found: Vec<_> = Fields::new(&bytes)
                .map(|field| field.expect("prost writes fields"))
                .map(|field| (field.number as usize, field.wire_type))
                .collect();
            found.sort_unstable_by_key(|(number, _)| *number);
            let table: Vec<_> = (0..)
                .zip(schema.0)
                .filter_map(|(number, known)| Some((number, known.as_ref()?.1)))
                .collect();
            assert_eq!(table, found);
        }
    }
}
