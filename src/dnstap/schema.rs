//! The fields of `proto/dnstap.proto`: their numbers, names and wire types.

use super::{
    malformed::{Malformed, WireType},
    wire::Field,
};

/// `Dnstap.Type.MESSAGE`.
pub(crate) const TYPE_MESSAGE: u64 = 1;

/// The fields of one message type, by number.
pub(super) struct Schema([Option<Known>; FIELDS]);

type Known = (&'static str, WireType);

/// The largest number of a field, plus one.
const FIELDS: usize = 17;

/// Declares the fields of one message type. Each row is a constant with the number, the name, and the wire type.
macro_rules! fields {
    ($schema:ident { $($field:ident = $number:literal, $name:literal, $wire_type:ident;)+ }) => {
        $(#[doc = concat!("`", $name, "`.")]
        pub(crate) const $field: u32 = $number;)+

        pub(super) static $schema: Schema = {
            let mut fields = [None; FIELDS];
            $(fields[$number] = Some(($name, WireType::$wire_type));)+
            Schema(fields)
        };
    };
}

fields! {
    DNSTAP_FIELDS {
        IDENTITY = 1, "Dnstap.identity", Bytes;
        VERSION = 2, "Dnstap.version", Bytes;
        EXTRA = 3, "Dnstap.extra", Bytes;
        MESSAGE = 14, "Dnstap.message", Bytes;
        TYPE = 15, "Dnstap.type", Varint;
    }
}

fields! {
    MESSAGE_FIELDS {
        MESSAGE_TYPE = 1, "Message.type", Varint;
        SOCKET_FAMILY = 2, "Message.socket_family", Varint;
        SOCKET_PROTOCOL = 3, "Message.socket_protocol", Varint;
        QUERY_ADDRESS = 4, "Message.query_address", Bytes;
        RESPONSE_ADDRESS = 5, "Message.response_address", Bytes;
        QUERY_PORT = 6, "Message.query_port", Varint;
        RESPONSE_PORT = 7, "Message.response_port", Varint;
        QUERY_TIME_SEC = 8, "Message.query_time_sec", Varint;
        QUERY_TIME_NSEC = 9, "Message.query_time_nsec", Fixed32;
        QUERY_MESSAGE = 10, "Message.query_message", Bytes;
        QUERY_ZONE = 11, "Message.query_zone", Bytes;
        RESPONSE_TIME_SEC = 12, "Message.response_time_sec", Varint;
        RESPONSE_TIME_NSEC = 13, "Message.response_time_nsec", Fixed32;
        RESPONSE_MESSAGE = 14, "Message.response_message", Bytes;
        POLICY = 15, "Message.policy", Bytes;
        HTTP_PROTOCOL = 16, "Message.http_protocol", Varint;
    }
}

fields! {
    POLICY_FIELDS {
        POLICY_TYPE = 1, "Policy.type", Bytes;
        POLICY_RULE = 2, "Policy.rule", Bytes;
        POLICY_ACTION = 3, "Policy.action", Varint;
        POLICY_MATCH = 4, "Policy.match", Varint;
        POLICY_VALUE = 5, "Policy.value", Bytes;
    }
}

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

    /// Compares the tables with messages that prost encodes. The types that prost uses are generated from the schema.
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
