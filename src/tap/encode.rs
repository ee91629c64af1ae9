//! The encoding of a message as a data frame. All lengths are computed first, so one pass writes the frame directly
//! into the bytes of a chunk.
//!
//! The fields are in the order of their numbers, as protobuf's libraries write them.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{MessageType, message::Message, policy::Policy};
use crate::dnstap::schema;

/// The longest payload of a frame, in bytes. A DNS message has at most 65,535 bytes, and a frame may contain two DNS
/// messages.
const LONGEST: usize = 256 << 10;

/// A message whose frame has a known length.
pub(super) struct Encoding<'a> {
    message: &'a Message<'a>,
    addresses: Addresses,
    /// True if the frame contains the wire bytes of the DNS messages.
    wire: bool,
    /// The length of the encoded `Message`, in bytes.
    length: usize,
    /// The length of the payload, in bytes.
    payload: usize,
}

/// The addresses of a message, both of the same family.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    query: Option<(IpAddr, u16)>,
    response: Option<(IpAddr, u16)>,
}

/// The encoded fields `identity` and `version`. Every payload begins with them.
#[derive(Debug)]
pub(super) struct Head(Box<[u8]>);

/// A destination for fields. One implementation writes their bytes; the other only counts the bytes.
trait Fields {
    fn number(&mut self, field: u32, value: u64);
    fn fixed(&mut self, field: u32, value: u32);
    fn bytes(&mut self, field: u32, value: &[u8]);
    /// Adds a nested message of `length` bytes. `fill` adds its fields.
    fn nested(&mut self, field: u32, length: usize, fill: impl FnOnce(&mut Self));
}

/// A counter of the bytes of the fields.
#[derive(Default)]
struct Length(usize);

const VARINT: u32 = 0;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

// === impl Head ===

impl Head {
    pub(super) fn new(identity: &[u8], version: &[u8]) -> Self {
        let mut bytes = Vec::new();
        bytes.bytes(schema::IDENTITY, identity);
        bytes.bytes(schema::VERSION, version);
        Self(bytes.into())
    }
}

// === impl Encoding ===

impl<'a> Encoding<'a> {
    /// Computes the lengths of the encoded message. Returns `None` if the message has no type, or if it is longer than
    /// any DNS message can be.
    #[inline]
    pub(super) fn new(head: &Head, message: &'a Message<'a>, wire: bool) -> Option<Self> {
        if message.kind == MessageType::Unknown {
            return None;
        }
        let mut encoding = Self {
            message,
            addresses: Addresses::of(message),
            wire,
            length: 0,
            payload: 0,
        };
        let mut length = Length::default();
        encoding.fields(&mut length);
        encoding.length = length.0;
        let mut rest = Length::default();
        rest.number(schema::TYPE, schema::TYPE_MESSAGE);
        encoding.payload = head
            .0
            .len()
            .saturating_add(bytes_length(schema::MESSAGE, length.0))
            .saturating_add(rest.0);
        (encoding.payload <= LONGEST).then_some(encoding)
    }

    /// Returns the length of the frame in bytes, including the length field before the payload.
    #[inline]
    pub(super) fn frame_length(&self) -> usize {
        4 + self.payload
    }

    /// Appends the frame.
    #[inline]
    pub(super) fn write(&self, head: &Head, out: &mut Vec<u8>) {
        // The payload has at most `LONGEST` bytes.
        #[allow(clippy::cast_possible_truncation)]
        let length = self.payload as u32;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&head.0);
        out.nested(schema::MESSAGE, self.length, |out| self.fields(out));
        out.number(schema::TYPE, schema::TYPE_MESSAGE);
    }

    #[inline]
    fn fields(&self, out: &mut impl Fields) {
        let Message {
            kind,
            protocol,
            query_time,
            response_time,
            query,
            response,
            query_zone,
            policy,
            ..
        } = *self.message;
        out.number(schema::MESSAGE_TYPE, kind.number().into());
        let Addresses {
            query: from,
            response: to,
        } = self.addresses;
        if let Some((address, _)) = from.or(to) {
            let family = if address.is_ipv4() { 1 } else { 2 };
            out.number(schema::SOCKET_FAMILY, family);
        }
        if let Some(protocol) = protocol {
            out.number(schema::SOCKET_PROTOCOL, protocol.number());
        }
        address(out, schema::QUERY_ADDRESS, from);
        address(out, schema::RESPONSE_ADDRESS, to);
        if let Some((_, port)) = from {
            out.number(schema::QUERY_PORT, port.into());
        }
        if let Some((_, port)) = to {
            out.number(schema::RESPONSE_PORT, port.into());
        }
        let time = [schema::QUERY_TIME_SEC, schema::QUERY_TIME_NSEC];
        time_of(out, time, query_time);
        if self.wire && !query.is_empty() {
            out.bytes(schema::QUERY_MESSAGE, query);
        }
        if let Some(name) = query_zone {
            out.bytes(schema::QUERY_ZONE, name);
        }
        let time = [schema::RESPONSE_TIME_SEC, schema::RESPONSE_TIME_NSEC];
        time_of(out, time, response_time);
        if self.wire && !response.is_empty() {
            out.bytes(schema::RESPONSE_MESSAGE, response);
        }
        if let Some(applied) = policy {
            policy_of(out, applied);
        }
        if let Some(version) = protocol.and_then(super::Protocol::http_number) {
            out.number(schema::HTTP_PROTOCOL, version);
        }
    }
}

#[inline]
fn address(out: &mut impl Fields, field: u32, address: Option<(IpAddr, u16)>) {
    match address {
        Some((IpAddr::V4(address), _)) => out.bytes(field, &address.octets()),
        Some((IpAddr::V6(address), _)) => out.bytes(field, &address.octets()),
        None => {}
    }
}

#[inline]
fn time_of(out: &mut impl Fields, [seconds, nanoseconds]: [u32; 2], time: Option<SystemTime>) {
    if let Some(time) = time {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        out.number(seconds, since.as_secs());
        out.fixed(nanoseconds, since.subsec_nanos());
    }
}

#[cold]
fn policy_of(out: &mut impl Fields, policy: &Policy<'_>) {
    let mut length = Length::default();
    policy_fields(&mut length, policy);
    out.nested(schema::POLICY, length.0, |out| policy_fields(out, policy));
}

fn policy_fields(out: &mut impl Fields, policy: &Policy<'_>) {
    if let Some(kind) = policy.kind {
        out.bytes(schema::POLICY_TYPE, kind.as_bytes());
    }
    if let Some(rule) = policy.rule {
        out.bytes(schema::POLICY_RULE, rule);
    }
    if let Some(action) = policy.action {
        out.number(schema::POLICY_ACTION, action as u64);
    }
    if let Some(matched) = policy.matched {
        out.number(schema::POLICY_MATCH, matched as u64);
    }
    if let Some(value) = policy.value {
        out.bytes(schema::POLICY_VALUE, value);
    }
}

// === impl Addresses ===

impl Addresses {
    /// Returns the addresses of a message. A message has only one address family, so if one address is IPv6, an IPv4
    /// address is written as an IPv4-mapped IPv6 address.
    #[inline]
    fn of(message: &Message<'_>) -> Self {
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let addresses = Self {
            query: message.query_address.map(canonical),
            response: message.response_address.map(canonical),
        };
        match (addresses.query, addresses.response) {
            (Some((from, _)), Some((to, _))) if from.is_ipv4() != to.is_ipv4() => Self {
                query: addresses.query.map(as_ipv6),
                response: addresses.response.map(as_ipv6),
            },
            _ => addresses,
        }
    }
}

fn as_ipv6((address, port): (IpAddr, u16)) -> (IpAddr, u16) {
    match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped().into(), port),
        IpAddr::V6(_) => (address, port),
    }
}

// === impl Fields ===

impl Fields for Length {
    #[inline]
    fn number(&mut self, field: u32, value: u64) {
        self.0 += varint_length(tag(field, VARINT)) + varint_length(value);
    }

    #[inline]
    fn fixed(&mut self, field: u32, _: u32) {
        self.0 += varint_length(tag(field, FIXED32)) + 4;
    }

    #[inline]
    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.0 = self.0.saturating_add(bytes_length(field, value.len()));
    }

    fn nested(&mut self, field: u32, length: usize, _: impl FnOnce(&mut Self)) {
        self.0 = self.0.saturating_add(bytes_length(field, length));
    }
}

impl Fields for Vec<u8> {
    #[inline]
    fn number(&mut self, field: u32, value: u64) {
        varint(self, tag(field, VARINT));
        varint(self, value);
    }

    #[inline]
    fn fixed(&mut self, field: u32, value: u32) {
        varint(self, tag(field, FIXED32));
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn bytes(&mut self, field: u32, value: &[u8]) {
        varint(self, tag(field, BYTES));
        varint(self, value.len() as u64);
        self.extend_from_slice(value);
    }

    fn nested(&mut self, field: u32, length: usize, fill: impl FnOnce(&mut Self)) {
        varint(self, tag(field, BYTES));
        varint(self, length as u64);
        fill(self);
    }
}

/// Returns the size of a field whose value has `length` bytes, including its tag and length.
#[inline]
fn bytes_length(field: u32, length: usize) -> usize {
    let before = varint_length(tag(field, BYTES)) + varint_length(length as u64);
    length.saturating_add(before)
}

#[inline]
const fn tag(field: u32, wire_type: u32) -> u64 {
    ((field << 3) | wire_type) as u64
}

#[inline]
const fn varint_length(value: u64) -> usize {
    // Each byte holds seven bits. The value 0 takes one byte.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
fn varint(out: &mut Vec<u8>, mut value: u64) {
    let low = |value: u64| (value & 0x7f) as u8;
    while value >= 0x80 {
        // More bytes follow.
        out.push(low(value) | 0x80);
        value >>= 7;
    }
    out.push(low(value));
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::{
        dnstap::{
            proto::{self, message::Type},
            validate,
        },
        tap::{HttpVersion, PolicyAction, PolicyMatch, Protocol},
    };

    fn payload(message: &Message<'_>, wire: bool) -> Option<Vec<u8>> {
        let head = Head::new(b"ns1", b"server-1");
        let encoding = Encoding::new(&head, message, wire)?;
        let mut bytes = Vec::new();
        encoding.write(&head, &mut bytes);
        assert_eq!(bytes.len(), encoding.frame_length());
        let (length, payload) = bytes.split_first_chunk::<4>().expect("a length");
        assert_eq!(u32::from_be_bytes(*length) as usize, payload.len());
        Some(payload.to_vec())
    }

    fn decoded(message: &Message<'_>, wire: bool) -> proto::Message {
        let payload = payload(message, wire).expect("can be sent");
        assert_eq!(validate(&payload), Ok(()));
        let dnstap = proto::Dnstap::decode(payload.as_slice()).expect("a frame");
        assert_eq!(dnstap.identity.as_deref(), Some(b"ns1".as_slice()));
        assert_eq!(dnstap.version.as_deref(), Some(b"server-1".as_slice()));
        assert_eq!(dnstap.r#type(), proto::dnstap::Type::Message);
        dnstap.message.expect("a message")
    }

    fn at(seconds: u64, nanoseconds: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanoseconds)
    }

    /// The parts of a message that a test chooses.
    #[derive(Debug, Clone)]
    struct Parts {
        kind: usize,
        protocol: Option<usize>,
        addresses: [Option<SocketAddr>; 2],
        times: [Option<(u32, u32)>; 2],
        wires: [Vec<u8>; 2],
        zone: Option<Vec<u8>>,
        policy: Option<(Option<String>, Vec<u8>, usize)>,
    }

    const PROTOCOLS: [Protocol; 9] = [
        Protocol::Udp,
        Protocol::Tcp,
        Protocol::Dot,
        Protocol::Doh(HttpVersion::Http1),
        Protocol::Doh(HttpVersion::Http2),
        Protocol::Doh(HttpVersion::Http3),
        Protocol::DnsCryptUdp,
        Protocol::DnsCryptTcp,
        Protocol::Doq,
    ];

    const ACTIONS: [PolicyAction; 6] = [
        PolicyAction::NxDomain,
        PolicyAction::NoData,
        PolicyAction::Pass,
        PolicyAction::Drop,
        PolicyAction::Truncate,
        PolicyAction::LocalData,
    ];

    fn parts() -> impl Strategy<Value = Parts> {
        let times = || prop::option::of((any::<u32>(), 0_u32..1_000_000_000));
        let wire = || prop::collection::vec(any::<u8>(), 0..300);
        let policy = (
            prop::option::of(".{0,20}"),
            prop::collection::vec(any::<u8>(), 0..20),
            0..ACTIONS.len(),
        );
        (
            1..MessageType::ALL.len(),
            prop::option::of(0..PROTOCOLS.len()),
            any::<[Option<SocketAddr>; 2]>(),
            [times(), times()],
            [wire(), wire()],
            prop::option::of(wire()),
            prop::option::of(policy),
        )
            .prop_map(
                |(kind, protocol, addresses, times, wires, zone, policy)| Parts {
                    kind,
                    protocol,
                    addresses,
                    times,
                    wires,
                    zone,
                    policy,
                },
            )
    }

    /// Returns the message that prost builds from `parts`, for a comparison.
    fn expected(parts: &Parts, wire: bool) -> proto::Message {
        let protocol = parts.protocol.map(|place| PROTOCOLS[place]);
        let of = |address: SocketAddr| address.ip().to_canonical();
        let [from, to] = parts.addresses.map(|address| address.map(of));
        let is_ipv4 = [from, to].into_iter().flatten().all(|ip| ip.is_ipv4());
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) if is_ipv4 => ip.octets().to_vec(),
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let port = |address: SocketAddr| address.port().into();
        let kept = |bytes: &Vec<u8>| (wire && !bytes.is_empty()).then(|| bytes.clone());
        proto::Message {
            r#type: i32::try_from(parts.kind).expect("small"),
            socket_family: from.or(to).map(|_| if is_ipv4 { 1 } else { 2 }),
            socket_protocol: protocol.map(|it| i32::try_from(it.number()).expect("small")),
            query_address: from.map(octets),
            response_address: to.map(octets),
            query_port: parts.addresses[0].map(port),
            response_port: parts.addresses[1].map(port),
            query_time_sec: parts.times[0].map(|(seconds, _)| seconds.into()),
            query_time_nsec: parts.times[0].map(|(_, nanoseconds)| nanoseconds),
            query_message: kept(&parts.wires[0]),
            query_zone: parts.zone.clone(),
            response_time_sec: parts.times[1].map(|(seconds, _)| seconds.into()),
            response_time_nsec: parts.times[1].map(|(_, nanoseconds)| nanoseconds),
            response_message: kept(&parts.wires[1]),
            policy: parts
                .policy
                .as_ref()
                .map(|(kind, rule, action)| proto::Policy {
                    r#type: kind.clone(),
                    rule: Some(rule.clone()),
                    action: Some(i32::try_from(*action + 1).expect("small")),
                    r#match: Some(proto::policy::Match::ClientIp.into()),
                    value: Some(b"v".to_vec()),
                }),
            http_protocol: protocol
                .and_then(Protocol::http_number)
                .map(|it| i32::try_from(it).expect("small")),
        }
    }

    proptest! {
        #[test]
        fn a_message_is_encoded_as_prost_encodes_it(parts in parts(), wire: bool) {
            let policy = parts.policy.as_ref().map(|(kind, rule, action)| {
                let policy = Policy::new()
                    .rule(rule)
                    .action(ACTIONS[*action])
                    .matched(PolicyMatch::ClientIp)
                    .value(b"v");
                match kind {
                    Some(kind) => policy.kind(kind),
                    None => policy,
                }
            });
            let message = Message {
                kind: MessageType::ALL[parts.kind],
                protocol: parts.protocol.map(|place| PROTOCOLS[place]),
                query_address: parts.addresses[0],
                response_address: parts.addresses[1],
                query_time: parts.times[0].map(|(seconds, nanoseconds)| at(seconds.into(), nanoseconds)),
                response_time: parts.times[1].map(|(seconds, nanoseconds)| at(seconds.into(), nanoseconds)),
                query: &parts.wires[0],
                response: &parts.wires[1],
                query_zone: parts.zone.as_deref(),
                policy: policy.as_ref(),
            };
            let expected = expected(&parts, wire);
            prop_assert_eq!(decoded(&message, wire), expected.clone());
            let whole = proto::Dnstap {
                identity: Some(b"ns1".to_vec()),
                version: Some(b"server-1".to_vec()),
                extra: None,
                r#type: proto::dnstap::Type::Message.into(),
                message: Some(expected),
            };
            prop_assert_eq!(payload(&message, wire), Some(whole.encode_to_vec()));
        }
    }

    /// Compares with the fields that `CoreDNS` fills in, taken from its source at v1.14.7.
    #[test]
    fn the_four_shapes_are_those_of_coredns() {
        let client = "[::ffff:192.0.2.7]:5353".parse().expect("an address");
        let (own, upstream) = ("192.0.2.1:40000", "192.0.2.53:53");
        let [own, upstream] = [own, upstream].map(|text| text.parse().expect("an address"));
        let (asked, answered) = (at(1_700_000_000, 5), at(1_700_000_001, 7));
        let empty = proto::Message {
            socket_family: Some(proto::SocketFamily::Inet.into()),
            socket_protocol: Some(proto::SocketProtocol::Udp.into()),
            query_time_sec: Some(1_700_000_000),
            query_time_nsec: Some(5),
            ..proto::Message::default()
        };
        let of_client = proto::Message {
            query_address: Some(vec![192, 0, 2, 7]),
            query_port: Some(5353),
            ..empty.clone()
        };
        let of_forwarder = proto::Message {
            query_address: Some(vec![192, 0, 2, 1]),
            query_port: Some(40000),
            response_address: Some(vec![192, 0, 2, 53]),
            response_port: Some(53),
            ..empty
        };
        let query = |kind: Type, base: &proto::Message| proto::Message {
            r#type: kind.into(),
            query_message: Some(b"query".to_vec()),
            ..base.clone()
        };
        let response = |kind: Type, base: &proto::Message| proto::Message {
            r#type: kind.into(),
            response_time_sec: Some(1_700_000_001),
            response_time_nsec: Some(7),
            response_message: Some(b"response".to_vec()),
            ..base.clone()
        };
        let udp = Protocol::Udp;
        for (message, expected) in [
            (
                Message::client_query(udp, client, asked, b"query"),
                query(Type::ClientQuery, &of_client),
            ),
            (
                Message::client_response(udp, client, asked, answered, b"response"),
                response(Type::ClientResponse, &of_client),
            ),
            (
                Message::forwarder_query(udp, own, upstream, asked, b"query"),
                query(Type::ForwarderQuery, &of_forwarder),
            ),
            (
                Message::forwarder_response(udp, own, upstream, asked, answered, b"response"),
                response(Type::ForwarderResponse, &of_forwarder),
            ),
        ] {
            assert_eq!(decoded(&message, true), expected);
            let without = proto::Message {
                query_message: None,
                response_message: None,
                ..expected
            };
            assert_eq!(decoded(&message, false), without);
        }
    }

    #[test]
    fn times_before_1970_are_1970() {
        let message =
            Message::new(MessageType::ToolQuery).query_time(UNIX_EPOCH - Duration::from_secs(1));
        let decoded = decoded(&message, true);
        assert_eq!(decoded.query_time_sec, Some(0));
        assert_eq!(decoded.query_time_nsec, Some(0));
    }

    #[test]
    fn a_message_without_a_type_or_too_long_for_dns_is_not_sent() {
        assert_eq!(payload(&Message::new(MessageType::Unknown), true), None);
        let wire = vec![0; LONGEST];
        let message = Message::new(MessageType::ClientQuery).query(&wire);
        assert_eq!(payload(&message, true), None);
        assert!(payload(&message, false).is_some(), "its wire is not sent");
        let message = Message::new(MessageType::ClientQuery).query(&wire[..65_535]);
        assert!(payload(&message.response(&wire[..65_535]), true).is_some());
    }

    #[test]
    fn the_length_of_a_varint_is_known_before_it_is_written() {
        for bits in 0..64 {
            for value in [1 << bits, (1 << bits) - 1, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                varint(&mut bytes, value);
                assert_eq!(varint_length(value), bytes.len(), "{value}");
                let mut other = Vec::new();
                prost::encoding::encode_varint(value, &mut other);
                assert_eq!(bytes, other);
            }
        }
    }
}
