//! The fields that a query and its response have in common.

use std::hash::Hasher;

use crate::{dns::Question, dnstap::RawMessage};

/// Hashes the fields that are equal in a query and its response: addresses, port, identifier and question. The case of
/// the name is ignored, because a server may change it in the response.
pub(crate) fn hash_exchange(message: &RawMessage<'_>, hasher: &mut impl Hasher) {
    hasher.write_u32(message.exchange());
    hasher.write(message.query_address.unwrap_or_default());
    hasher.write(message.response_address.unwrap_or_default());
    hasher.write_u32(message.query_port.unwrap_or_default());
    let octets = message.dns().unwrap_or_default();
    hasher.write(octets.get(..2).unwrap_or_default());
    if let Some(question) = Question::first(octets) {
        for label in &question.name {
            for byte in label.as_slice() {
                hasher.write_u8(byte.to_ascii_lowercase());
            }
            hasher.write_u8(b'.');
        }
        hasher.write_u16(question.rtype);
    }
}
