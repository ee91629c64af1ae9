//! The kind of message that a frame holds.

use crate::closed_set::closed_set;

closed_set! {
    /// The type of a dnstap message. A closed set: it is a metric label.
    ///
    /// The order is that of the numbers in `proto/dnstap.proto`, and the labels are its words.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    pub enum MessageType {
        /// A number that the schema does not have, or a frame that is not a `MESSAGE`.
        Unknown => "unknown",
        /// An authoritative server got a query.
        AuthQuery => "AUTH_QUERY",
        /// An authoritative server answered.
        AuthResponse => "AUTH_RESPONSE",
        /// A resolver asked an authoritative server.
        ResolverQuery => "RESOLVER_QUERY",
        /// A resolver got its answer.
        ResolverResponse => "RESOLVER_RESPONSE",
        /// A client asked a server.
        ClientQuery => "CLIENT_QUERY",
        /// A server answered a client.
        ClientResponse => "CLIENT_RESPONSE",
        /// A forwarder asked its upstream.
        ForwarderQuery => "FORWARDER_QUERY",
        /// A forwarder got its answer.
        ForwarderResponse => "FORWARDER_RESPONSE",
        /// A stub resolver asked.
        StubQuery => "STUB_QUERY",
        /// A stub resolver got its answer.
        StubResponse => "STUB_RESPONSE",
        /// A tool asked.
        ToolQuery => "TOOL_QUERY",
        /// A tool got its answer.
        ToolResponse => "TOOL_RESPONSE",
        /// A server got an update (RFC 2136).
        UpdateQuery => "UPDATE_QUERY",
        /// A server answered an update.
        UpdateResponse => "UPDATE_RESPONSE",
    }
}

/// Frames by message type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageTypes([u32; MessageType::ALL.len()]);

// === impl MessageType ===

impl MessageType {
    /// Returns the type with this number in the schema.
    pub(super) fn of(number: u64) -> Self {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        Self::ALL.get(place).copied().unwrap_or(Self::Unknown)
    }
}

// === impl MessageTypes ===

impl MessageTypes {
    /// Counts one frame more.
    pub fn count(&mut self, of: MessageType) {
        self.0[of as usize] += 1;
    }

    /// Those types of which there were any, and how many frames.
    pub fn counted(&self) -> impl Iterator<Item = (MessageType, u32)> {
        let all = MessageType::ALL.into_iter().zip(self.0);
        all.filter(|(_, frames)| *frames > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnstap::proto;

    #[test]
    fn numbers_and_names_are_those_of_the_schema() {
        assert_eq!(MessageType::of(0), MessageType::Unknown);
        for (number, of) in (0..).zip(MessageType::ALL).skip(1) {
            assert_eq!(MessageType::of(number), of);
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

    #[test]
    fn only_what_came_is_counted() {
        let mut types = MessageTypes::default();
        types.count(MessageType::ClientQuery);
        types.count(MessageType::ClientQuery);
        types.count(MessageType::Unknown);
        let counted: Vec<_> = types.counted().collect();
        assert_eq!(
            counted,
            [(MessageType::Unknown, 1), (MessageType::ClientQuery, 2)]
        );
    }
}
