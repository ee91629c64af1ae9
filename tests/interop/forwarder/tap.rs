//! The dnstap messages of a DNS transaction, as the tests compare them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    dnstap_fields::{Dnstap, EXTRA, QUERY_MESSAGE, RESPONSE_MESSAGE},
    scripted_upstream::Seen,
};

/// The address and the protocol of a client of the forwarder.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) protocol: Protocol,
}

/// A dnstap message without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tap {
    pub(super) kind: Kind,
    pub(super) protocol: Protocol,
    pub(super) query: Option<SocketAddr>,
    pub(super) response: Option<SocketAddr>,
    pub(super) extra: String,
    pub(super) wire: Vec<u8>,
}

/// `Message.Type` in dnstap.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ClientQuery = 5,
    ClientResponse = 6,
    ForwarderQuery = 7,
    ForwarderResponse = 8,
}

/// `SocketProtocol` in dnstap.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp = 1,
    Tcp = 2,
    Dot = 3,
}

/// Field numbers of `Message` in dnstap.proto.
const SOCKET_FAMILY: u64 = 2;
const SOCKET_PROTOCOL: u64 = 3;
const QUERY_ADDRESS: u64 = 4;
const RESPONSE_ADDRESS: u64 = 5;
const QUERY_PORT: u64 = 6;
const RESPONSE_PORT: u64 = 7;
/// The field numbers of the seconds and of the nanoseconds.
const QUERY_TIME: [u64; 2] = [8, 9];
const RESPONSE_TIME: [u64; 2] = [12, 13];

/// `SocketFamily.INET`.
const INET: u64 = 1;

/// The content of the field `extra` in messages that do not belong to an upstream.
const NO_UPSTREAM: &str = "upstream: -";

// === impl Tap ===

impl Tap {
    pub(super) fn of(frame: &Dnstap) -> Self {
        let kinds = [
            Kind::ClientQuery,
            Kind::ClientResponse,
            Kind::ForwarderQuery,
            Kind::ForwarderResponse,
        ];
        let kind = kinds
            .into_iter()
            .find(|kind| *kind as u64 == frame.message_type());
        let kind = kind.expect("a type that a forwarder taps");
        let protocols = [Protocol::Udp, Protocol::Tcp, Protocol::Dot];
        let protocol = frame.message_number(SOCKET_PROTOCOL);
        let protocol = protocols
            .into_iter()
            .find(|it| Some(*it as u64) == protocol);
        let address = |address, port| {
            let address = <[u8; 4]>::try_from(frame.message_field(address)?).expect("IPv4");
            let port = frame.message_number(port).expect("a port");
            let port = u16::try_from(port).expect("16 bits");
            Some(SocketAddr::from((Ipv4Addr::from(address), port)))
        };
        // The address family must be IPv4. The tap of a query must not contain a response message, and the tap of a
        // response must not contain a query message.
        assert_eq!(frame.message_number(SOCKET_FAMILY), Some(INET));
        let (wire, other) = match kind {
            Kind::ClientQuery | Kind::ForwarderQuery => (QUERY_MESSAGE, RESPONSE_MESSAGE),
            Kind::ClientResponse | Kind::ForwarderResponse => (RESPONSE_MESSAGE, QUERY_MESSAGE),
        };
        assert_eq!(frame.message_field(other), None);
        let extra = frame.outer_field(EXTRA).expect("the sink has `extra`");
        Self {
            kind,
            protocol: protocol.expect("a protocol that the forwarder speaks"),
            query: address(QUERY_ADDRESS, QUERY_PORT),
            response: address(RESPONSE_ADDRESS, RESPONSE_PORT),
            extra: String::from_utf8(extra.to_vec()).expect("text"),
            wire: frame.message_field(wire).expect("the sink is `full`"),
        }
    }

    pub(super) fn client_query(client: Client, wire: &[u8]) -> Self {
        Self {
            kind: Kind::ClientQuery,
            protocol: client.protocol,
            query: Some(client.address),
            response: None,
            extra: NO_UPSTREAM.to_owned(),
            wire: wire.to_vec(),
        }
    }

    pub(super) fn client_response(
        client: Client,
        upstream: Option<SocketAddr>,
        wire: &[u8],
    ) -> Self {
        Self {
            kind: Kind::ClientResponse,
            extra: upstream.map_or_else(|| NO_UPSTREAM.to_owned(), extra),
            ..Self::client_query(client, wire)
        }
    }

    /// Returns the messages that the forwarder must tap when it sends a query to an upstream. They are computed from
    /// what the upstream received and sent.
    pub(super) fn attempt(client: Client, upstream: SocketAddr, seen: &Seen) -> Vec<Self> {
        let query = Self {
            kind: Kind::ForwarderQuery,
            protocol: client.upstream_protocol(),
            query: Some(seen.client),
            response: Some(upstream),
            extra: extra(upstream),
            wire: seen.query.clone(),
        };
        let response = seen.response.clone().map(|wire| Self {
            kind: Kind::ForwarderResponse,
            wire,
            ..query.clone()
        });
        [query].into_iter().chain(response).collect()
    }
}

pub(super) fn extra(upstream: SocketAddr) -> String {
    format!("upstream: {upstream}")
}

// === impl Client ===

impl Client {
    /// Returns the protocol of the forwarder's queries to upstreams: UDP if the client used UDP, and TCP if the client
    /// used TCP or TLS.
    pub(super) fn upstream_protocol(self) -> Protocol {
        match self.protocol {
            Protocol::Udp => Protocol::Udp,
            Protocol::Tcp | Protocol::Dot => Protocol::Tcp,
        }
    }
}

/// Asserts that all messages of a transaction have the same `query_time`, and that no response is earlier than its
/// query.
pub(super) fn check_times(frames: &[Dnstap]) {
    let time = |frame: &Dnstap, [seconds, nanoseconds]: [u64; 2]| {
        let seconds = frame.message_number(seconds)?;
        Some((seconds, frame.message_number(nanoseconds)?))
    };
    for frame in frames {
        let (asked, answered) = (time(frame, QUERY_TIME), time(frame, RESPONSE_TIME));
        assert!(asked.is_some_and(|(seconds, _)| seconds > 1_700_000_000));
        let is_response = frame.message_type() % 2 == 0;
        assert_eq!(answered.is_some(), is_response);
        if is_response {
            assert!(asked <= answered);
            let query = frames.iter().rev().find(|query| {
                query.message_type() == frame.message_type() - 1 && time(query, QUERY_TIME) == asked
            });
            assert!(query.is_some(), "the query of {frame:?}");
        }
    }
}
