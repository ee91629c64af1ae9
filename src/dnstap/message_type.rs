//! What kind of message a frame holds.

/// The type of a dnstap message, as `proto/dnstap.proto` has them. A closed set: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// A number that the schema does not know, or a frame that is no `MESSAGE`.
    Unknown,
    /// An authoritative server got a query.
    AuthQuery,
    /// An authoritative server answered.
    AuthResponse,
    /// A resolver asked an authoritative server.
    ResolverQuery,
    /// A resolver got its answer.
    ResolverResponse,
    /// A client asked a server.
    ClientQuery,
    /// A server answered a client.
    ClientResponse,
    /// A forwarder asked its upstream.
    ForwarderQuery,
    /// A forwarder got its answer.
    ForwarderResponse,
    /// A stub resolver asked.
    StubQuery,
    /// A stub resolver got its answer.
    StubResponse,
    /// A tool asked.
    ToolQuery,
    /// A tool got its answer.
    ToolResponse,
    /// A server got an update (RFC 2136).
    UpdateQuery,
    /// A server answered an update.
    UpdateResponse,
}

/// Frames by message type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageTypes([u32; MessageType::ALL.len()]);

// === impl MessageType ===

impl MessageType {
    /// Every type, each at the place of its number.
    pub const ALL: [Self; 15] = [
        Self::Unknown,
        Self::AuthQuery,
        Self::AuthResponse,
        Self::ResolverQuery,
        Self::ResolverResponse,
        Self::ClientQuery,
        Self::ClientResponse,
        Self::ForwarderQuery,
        Self::ForwarderResponse,
        Self::StubQuery,
        Self::StubResponse,
        Self::ToolQuery,
        Self::ToolResponse,
        Self::UpdateQuery,
        Self::UpdateResponse,
    ];

    /// The schema's own word for it, and the metric label; `unknown` for what has none.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AuthQuery => "AUTH_QUERY",
            Self::AuthResponse => "AUTH_RESPONSE",
            Self::ResolverQuery => "RESOLVER_QUERY",
            Self::ResolverResponse => "RESOLVER_RESPONSE",
            Self::ClientQuery => "CLIENT_QUERY",
            Self::ClientResponse => "CLIENT_RESPONSE",
            Self::ForwarderQuery => "FORWARDER_QUERY",
            Self::ForwarderResponse => "FORWARDER_RESPONSE",
            Self::StubQuery => "STUB_QUERY",
            Self::StubResponse => "STUB_RESPONSE",
            Self::ToolQuery => "TOOL_QUERY",
            Self::ToolResponse => "TOOL_RESPONSE",
            Self::UpdateQuery => "UPDATE_QUERY",
            Self::UpdateResponse => "UPDATE_RESPONSE",
        }
    }

    /// The type of that number.
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
