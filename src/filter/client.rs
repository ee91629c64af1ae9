//! Rules for the address of the client.

use std::net::{IpAddr, Ipv6Addr};

use super::BadRule;
use crate::dnstap::{self, MessageType, RawMessage};

/// A network: all addresses with the same prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    bits: u128,
    mask: u128,
}

/// Returns the address of the client, if a client sent the query. In messages between servers, the query comes from the
/// resolver itself, and the result is `None`.
pub(crate) fn client(message: &RawMessage<'_>) -> Option<IpAddr> {
    let kind = message.message_type();
    if kind.is_between_servers() || kind == MessageType::Unknown {
        return None;
    }
    dnstap::address(message.query_address?)
}

// === impl Network ===

impl Network {
    pub(super) fn read(text: &str) -> Result<Self, BadRule> {
        Self::parse(text).ok_or_else(|| BadRule::Network(text.to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        // An IPv4 network is stored as a network of IPv4-mapped IPv6 addresses.
        let before = if address.is_ipv4() { 96 } else { 0 };
        let prefix: u32 = match prefix {
            None => 128 - before,
            Some(prefix) => prefix.parse().ok()?,
        };
        let prefix = Some(prefix + before).filter(|prefix| *prefix <= 128)?;
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        let bits = bits(address) & mask;
        Some(Self { bits, mask })
    }

    pub(super) fn has(self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.into()
}
