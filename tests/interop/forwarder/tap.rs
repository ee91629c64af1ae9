//! The messages of a transaction, as the collector receives them and as the tests expect them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    dnstap_fields::{Dnstap, EXTRA, QUERY_MESSAGE, RESPONSE_MESSAGE},
    scripted_upstream::Seen,
};

/// A client that the test knows.
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

/// Fields of `Message`.
const SOCKET_FAMILY: u64 = 2;
const SOCKET_PROTOCOL: u64 = 3;
const QUERY_ADDRESS: u64 = 4;
const RESPONSE_ADDRESS: u64 = 5;
const QUERY_PORT: u64 = 6;
const RESPONSE_PORT: u64 = 7;
/// Seconds and nanoseconds.
const QUERY_TIME: [u64; 2] = [8, 9];
const RESPONSE_TIME: [u64; 2] = [12, 13];

/// `SocketFamily.INET`.
const INET: u64 = 1;

/// The value of `extra` before an upstream is known.
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
        // The family is IPv4, and the other message is absent.
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

    /// The messages of an attempt, from what the upstream saw.
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
    /// The forwarder asks over UDP if its client does, else over TCP.
    pub(super) fn upstream_protocol(self) -> Protocol {
        match self.protocol {
            Protocol::Udp => Protocol::Udp,
            Protocol::Tcp | Protocol::Dot => Protocol::Tcp,
        }
    }
}

/// Messages of one transaction have the same `query_time`, and each response is later than its query.
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
