//! The type of the message in a frame.

use crate::closed_set::closed_set;

closed_set! {
    /// The type of a dnstap message. Metrics use it as a label, so the set of types is fixed.
    ///
    /// The variants have the order of the numbers in `proto/dnstap.proto`. The labels are the names in that file.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    #[repr(u8)]
    pub enum MessageType {
        /// A type number that the schema does not define, or the type of a frame that is not a `MESSAGE`.
        #[default]
        Unknown => "unknown",
        /// An authoritative server got a query.
        AuthQuery => "AUTH_QUERY",
        /// An authoritative server answered.
        AuthResponse => "AUTH_RESPONSE",
        /// A resolver asked an authoritative server.
        ResolverQuery => "RESOLVER_QUERY",
        /// A resolver got an answer from an authoritative server.
        ResolverResponse => "RESOLVER_RESPONSE",
        /// A client asked a server.
        ClientQuery => "CLIENT_QUERY",
        /// A server answered a client.
        ClientResponse => "CLIENT_RESPONSE",
        /// A forwarder asked its upstream.
        ForwarderQuery => "FORWARDER_QUERY",
        /// A forwarder got an answer from its upstream.
        ForwarderResponse => "FORWARDER_RESPONSE",
        /// A stub resolver sent a query.
        StubQuery => "STUB_QUERY",
        /// A stub resolver got an answer.
        StubResponse => "STUB_RESPONSE",
        /// A tool sent a query.
        ToolQuery => "TOOL_QUERY",
        /// A tool got an answer.
        ToolResponse => "TOOL_RESPONSE",
        /// A server got an update (RFC 2136).
        UpdateQuery => "UPDATE_QUERY",
        /// A server answered an update.
        UpdateResponse => "UPDATE_RESPONSE",
    }
}

// === impl MessageType ===

impl MessageType {
    /// Returns the number in the schema, or 0 for [`Unknown`](Self::Unknown).
    #[cfg(feature = "tap")]
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// Returns whether the type is a query. In the schema, queries have odd numbers.
    pub(crate) const fn is_query(self) -> bool {
        self as u8 % 2 == 1
    }

    /// Returns whether the query came from the server itself, and not from a client.
    pub(crate) const fn is_between_servers(self) -> bool {
        matches!(
            self,
            Self::ResolverQuery
                | Self::ResolverResponse
                | Self::ForwarderQuery
                | Self::ForwarderResponse
        )
    }

    /// Returns the type with this number in the schema.
    pub(super) fn of(number: u64) -> Self {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        Self::ALL.get(place).copied().unwrap_or(Self::Unknown)
    }
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use super::*;
    use crate::dnstap::proto;

    #[test]
    fn numbers_and_names_are_those_of_the_schema() {
        assert_eq!(MessageType::of(0), MessageType::Unknown);
        for (number, of) in (0..).zip(MessageType::ALL).skip(1) {
            assert_eq!(MessageType::of(number), of);
            #[cfg(feature = "tap")]
            assert_eq!(u64::from(of.number()), number);
            let number = i32::try_from(number).expect("small");
            let known = proto::message::Type::try_from(number).expect("of the schema");
            assert_eq!(known.as_str_name(), of.label());
        }
        assert!(
            proto::message::Type::try_from(15).is_err(),
            "the schema has grown"
        );
        assert_eq!(MessageType::of(15), MessageType::Unknown);
        assert_eq!(MessageType::of(u64::MAX), MessageType::Unknown);
    }
}
