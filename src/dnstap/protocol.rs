//! The transport protocols of dnstap messages.

use crate::closed_set::closed_set;

closed_set! {
    /// A transport protocol of DNS. The labels are those of the schema, in lower case.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Protocol {
        /// DNS over UDP (RFC 1035).
        Udp => "udp",
        /// DNS over TCP (RFC 1035).
        Tcp => "tcp",
        /// DNS over TLS (RFC 7858).
        Dot => "dot",
        /// DNS over HTTPS (RFC 8484).
        Doh => "doh",
        /// `DNSCrypt` over UDP.
        DnsCryptUdp => "dnscryptudp",
        /// `DNSCrypt` over TCP.
        DnsCryptTcp => "dnscrypttcp",
        /// DNS over QUIC (RFC 9250).
        Doq => "doq",
    }
}

/// `HttpProtocol.HTTP3`, which is HTTP over QUIC.
const HTTP3: u64 = 3;

// === impl Protocol ===

impl Protocol {
    /// Returns the protocol with this number in the schema, if there is one.
    pub(super) fn of(number: u64) -> Option<Self> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(place).copied()
    }

    /// Returns whether the protocol runs over UDP; if not, it runs over TCP. `http` is the number of the HTTP version.
    pub(super) fn is_over_udp(self, http: Option<u64>) -> bool {
        match self {
            Self::Udp | Self::DnsCryptUdp | Self::Doq => true,
            Self::Doh => http == Some(HTTP3),
            Self::Tcp | Self::Dot | Self::DnsCryptTcp => false,
        }
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
            assert_eq!(known.as_str_name().to_lowercase(), of.label());
        }
        assert!(
            proto::SocketProtocol::try_from(8).is_err(),
            "the schema has grown"
        );
        assert_eq!(Protocol::of(8), None);
        assert_eq!(u64::from(proto::HttpProtocol::Http3 as u8), HTTP3);
    }
}
