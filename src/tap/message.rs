//! A message as a server describes it. It borrows all its data and is encoded in the call that sends it.

use std::{net::SocketAddr, time::SystemTime};

use super::{MessageType, policy::Policy};

/// A DNS message that a server received or sent, with its protocol, addresses and times.
///
/// [`client_query`](Self::client_query), [`client_response`](Self::client_response),
/// [`forwarder_query`](Self::forwarder_query) and [`forwarder_response`](Self::forwarder_response) fill in the same
/// fields as `CoreDNS`. [`new`](Self::new) and the setters are for all other types and fields.
///
/// - IPv4-mapped addresses (`::ffff:192.0.2.1`) are written as IPv4.
/// - Wire bytes are written as they are, and only if a sink [wants](super::Handle::wants_wire) them. Empty wire bytes
///   count as absent.
/// - Times before 1970 are written as 1970.
///
/// ```
/// use std::time::SystemTime;
/// use tapfan::tap::{HttpVersion, Message, MessageType, Protocol};
///
/// # let (query, answer) = ([0; 12], [0; 12]);
/// let client = "192.0.2.7:5353".parse()?;
/// let received = SystemTime::now();
/// let asked = Message::client_query(Protocol::Udp, client, received, &query);
/// let answered = Message::client_response(Protocol::Udp, client, received, SystemTime::now(), &answer);
///
/// // CoreDNS leaves out this field, and does not tap messages of this type.
/// let asked = asked.response_address("192.0.2.1:53".parse()?);
/// let update = Message::new(MessageType::UpdateQuery)
///     .protocol(Protocol::Doh(HttpVersion::Http2))
///     .query_address(client)
///     .query_time(received)
///     .query_zone(b"\x07example\x00");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Message<'a> {
    pub(super) kind: MessageType,
    pub(super) protocol: Option<Protocol>,
    pub(super) query_address: Option<SocketAddr>,
    pub(super) response_address: Option<SocketAddr>,
    pub(super) query_time: Option<SystemTime>,
    pub(super) response_time: Option<SystemTime>,
    pub(super) query: &'a [u8],
    pub(super) response: &'a [u8],
    pub(super) query_zone: Option<&'a [u8]>,
    pub(super) policy: Option<&'a Policy<'a>>,
}

/// The transport of a DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// DNS over UDP.
    Udp,
    /// DNS over TCP.
    Tcp,
    /// DNS over TLS.
    Dot,
    /// DNS over HTTPS, with the version of HTTP.
    Doh(HttpVersion),
    /// `DNSCrypt` over UDP.
    DnsCryptUdp,
    /// `DNSCrypt` over TCP.
    DnsCryptTcp,
    /// DNS over QUIC.
    Doq,
}

/// The version of HTTP below DNS over HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

// === impl Message ===

impl<'a> Message<'a> {
    /// Creates a message of this type, without any other field. A message of type [`Unknown`](MessageType::Unknown) is
    /// never sent; it counts as lost.
    pub const fn new(message_type: MessageType) -> Self {
        Self {
            kind: message_type,
            protocol: None,
            query_address: None,
            response_address: None,
            query_time: None,
            response_time: None,
            query: &[],
            response: &[],
            query_zone: None,
            policy: None,
        }
    }

    /// Creates a message for a query that came from `client`.
    pub const fn client_query(
        protocol: Protocol,
        client: SocketAddr,
        query_time: SystemTime,
        query: &'a [u8],
    ) -> Self {
        Self::new(MessageType::ClientQuery)
            .protocol(protocol)
            .query_address(client)
            .query_time(query_time)
            .query(query)
    }

    /// Creates a message for a response that was sent to `client`.
    pub const fn client_response(
        protocol: Protocol,
        client: SocketAddr,
        query_time: SystemTime,
        response_time: SystemTime,
        response: &'a [u8],
    ) -> Self {
        Self::new(MessageType::ClientResponse)
            .protocol(protocol)
            .query_address(client)
            .query_time(query_time)
            .response_time(response_time)
            .response(response)
    }

    /// Creates a message for a query that was sent from the socket `own` to an upstream.
    pub const fn forwarder_query(
        protocol: Protocol,
        own: SocketAddr,
        upstream: SocketAddr,
        query_time: SystemTime,
        query: &'a [u8],
    ) -> Self {
        Self::new(MessageType::ForwarderQuery)
            .protocol(protocol)
            .query_address(own)
            .response_address(upstream)
            .query_time(query_time)
            .query(query)
    }

    /// Creates a message for a response that an upstream sent to the socket `own`.
    pub const fn forwarder_response(
        protocol: Protocol,
        own: SocketAddr,
        upstream: SocketAddr,
        query_time: SystemTime,
        response_time: SystemTime,
        response: &'a [u8],
    ) -> Self {
        Self::new(MessageType::ForwarderResponse)
            .protocol(protocol)
            .query_address(own)
            .response_address(upstream)
            .query_time(query_time)
            .response_time(response_time)
            .response(response)
    }

    /// Sets `socket_protocol`, and `http_protocol` for DNS over HTTPS.
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Sets `query_address` and `query_port`: the address of the side that asks.
    pub const fn query_address(mut self, address: SocketAddr) -> Self {
        self.query_address = Some(address);
        self
    }

    /// Sets `response_address` and `response_port`: the address of the side that answers.
    pub const fn response_address(mut self, address: SocketAddr) -> Self {
        self.response_address = Some(address);
        self
    }

    /// Sets `query_time`: the time at which the query was received or sent.
    pub const fn query_time(mut self, time: SystemTime) -> Self {
        self.query_time = Some(time);
        self
    }

    /// Sets `response_time`: the time at which the response was received or sent.
    pub const fn response_time(mut self, time: SystemTime) -> Self {
        self.response_time = Some(time);
        self
    }

    /// Sets `query_message`: the query in wire format.
    pub const fn query(mut self, wire: &'a [u8]) -> Self {
        self.query = wire;
        self
    }

    /// Sets `response_message`: the response in wire format.
    pub const fn response(mut self, wire: &'a [u8]) -> Self {
        self.response = wire;
        self
    }

    /// Sets `query_zone`: the zone or bailiwick of the query, a name in wire format.
    pub const fn query_zone(mut self, name: &'a [u8]) -> Self {
        self.query_zone = Some(name);
        self
    }

    /// Sets `policy`: the operator's policy that was applied.
    pub const fn policy(mut self, policy: &'a Policy<'a>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Returns the type of the message.
    pub const fn message_type(&self) -> MessageType {
        self.kind
    }
}

// === impl Protocol ===

impl Protocol {
    /// Returns the number in the schema.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Udp => 1,
            Self::Tcp => 2,
            Self::Dot => 3,
            Self::Doh(_) => 4,
            Self::DnsCryptUdp => 5,
            Self::DnsCryptTcp => 6,
            Self::Doq => 7,
        }
    }

    /// Returns the number of the HTTP version in the schema, or `None` without HTTP.
    pub(super) const fn http_number(self) -> Option<u64> {
        match self {
            Self::Doh(HttpVersion::Http1) => Some(1),
            Self::Doh(HttpVersion::Http2) => Some(2),
            Self::Doh(HttpVersion::Http3) => Some(3),
            _ => None,
        }
    }
}
