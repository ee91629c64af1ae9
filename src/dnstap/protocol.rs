//! The transport protocols of dnstap messages.

use crate::closed_set::closed_set;

closed_set! {
    /// A transport protocol of DNS. The labels are the names in the schema. The variants are in the order of their
    /// numbers in the schema, which begin at 1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Protocol {
        /// DNS over UDP (RFC 1035).
        Udp => "UDP",
        /// DNS over TCP (RFC 1035).
        Tcp => "TCP",
        /// DNS over TLS (RFC 7858).
        Dot => "DOT",
        /// DNS over HTTPS (RFC 8484).
        Doh => "DOH",
        /// `DNSCrypt` over UDP.
        DnsCryptUdp => "DNSCryptUDP",
        /// `DNSCrypt` over TCP.
        DnsCryptTcp => "DNSCryptTCP",
        /// DNS over QUIC (RFC 9250).
        Doq => "DOQ",
    }
}

// === impl Protocol ===

impl Protocol {
    /// Returns the protocol with this number in the schema, if there is one.
    pub(super) fn of(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use super::*;
    use crate::dnstap::proto;

    #[test]
    fn numbers_and_names_are_those_of_the_schema() {
        assert_eq!(Protocol::of(0), None);
        for (number, of) in (1..).zip(Protocol::ALL) {
            assert_eq!(Protocol::of(number), Some(of));
            let number = i32::try_from(number).expect("small");
            let known = proto::SocketProtocol::try_from(number).expect("of the schema");
            assert_eq!(known.as_str_name(), of.label());
        }
        assert!(
            proto::SocketProtocol::try_from(8).is_err(),
            "the schema has grown"
        );
        assert_eq!(Protocol::of(8), None);
    }
}
