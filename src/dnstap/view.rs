//! A view of a frame: its fields in place, found in one pass without decoding or allocating.

use std::net::IpAddr;

use super::{
    dns::DnsMessage,
    malformed::{Malformed, WireType},
    message_type::MessageType,
    protocol::Protocol,
    schema,
    wire::{Field, Fields},
};

/// The fields of a frame that edits and filters read. `None` means that the field is absent, or that the schema does
/// not define its value.
///
/// As in all of protobuf, the last value of a repeated field counts, and repeated messages are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameView<'a> {
    /// The type of the message.
    pub message_type: MessageType,
    /// The identity of the sender.
    pub identity: Option<&'a [u8]>,
    /// The version of the sender.
    pub version: Option<&'a [u8]>,
    /// The text that the sender added.
    pub extra: Option<&'a [u8]>,
    /// The transport protocol of the DNS messages.
    pub protocol: Option<Protocol>,
    /// True if that protocol runs over UDP, as DNS over QUIC and DNS over HTTP/3 do; false if it runs over TCP.
    pub is_over_udp: Option<bool>,
    /// The address of the initiator. This is the client or, for resolver and forwarder messages, the resolver itself.
    /// An IPv4-mapped address becomes IPv4.
    pub query_address: Option<IpAddr>,
    /// The port of the initiator.
    pub query_port: Option<u16>,
    /// The address of the responder. An IPv4-mapped address becomes IPv4.
    pub response_address: Option<IpAddr>,
    /// The port of the responder.
    pub response_port: Option<u16>,
    /// The time of the query, in nanoseconds since 1970.
    pub query_time: Option<u128>,
    /// The time of the response, in nanoseconds since 1970.
    pub response_time: Option<u128>,
    /// The query, as it was on the wire.
    pub query: Option<DnsMessage<'a>>,
    /// The response, as it was on the wire.
    pub response: Option<DnsMessage<'a>>,
    /// The zone or bailiwick: a name in DNS wire format.
    pub query_zone: Option<&'a [u8]>,
}

/// The fields of a message as they are in the frame. Some values of a [`FrameView`] are made from several of these
/// fields.
#[derive(Debug, Default)]
struct Raw<'a> {
    kind: Option<u64>,
    message_type: Option<u64>,
    protocol: Option<u64>,
    http: Option<u64>,
    addresses: [Option<&'a [u8]>; 2],
    ports: [Option<u64>; 2],
    seconds: [Option<u64>; 2],
    nanoseconds: [Option<u32>; 2],
    messages: [Option<&'a [u8]>; 2],
    zone: Option<&'a [u8]>,
    identity: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    extra: Option<&'a [u8]>,
}

const NANOSECONDS: u32 = 1_000_000_000;

// === impl FrameView ===

impl<'a> FrameView<'a> {
    /// Reads `frame`, the payload of one data frame.
    ///
    /// A frame that passed [`validate`](super::validate()) is never refused. In other frames, a field with a wrong wire
    /// type counts as absent.
    ///
    /// # Errors
    /// If the encoding of tags, lengths or groups is malformed.
    pub fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut raw = Raw::default();
        for field in Fields::new(frame) {
            let field = field?;
            match (field.number, field.wire_type) {
                (schema::IDENTITY, WireType::Bytes) => raw.identity = Some(field.value),
                (schema::VERSION, WireType::Bytes) => raw.version = Some(field.value),
                (schema::EXTRA, WireType::Bytes) => raw.extra = Some(field.value),
                (schema::TYPE, WireType::Varint) => raw.kind = Some(enum_number(&field)),
                (schema::MESSAGE, WireType::Bytes) => raw.read_message(&field)?,
                _ => {}
            }
        }
        Ok(raw.view())
    }

    /// The time from the query to the response, in nanoseconds. `None` if a time is unknown or the response is earlier
    /// than the query.
    pub fn duration(&self) -> Option<u128> {
        self.response_time?.checked_sub(self.query_time?)
    }
}

// === impl Raw ===

impl<'a> Raw<'a> {
    fn read_message(&mut self, message: &Field<'a>) -> Result<(), Malformed> {
        for field in message.fields() {
            let field = field?;
            let number = || Some(field.varint());
            match (field.number, field.wire_type) {
                (schema::MESSAGE_TYPE, WireType::Varint) => {
                    self.message_type = Some(enum_number(&field));
                }
                (schema::SOCKET_PROTOCOL, WireType::Varint) => {
                    self.protocol = Some(enum_number(&field));
                }
                (schema::HTTP_PROTOCOL, WireType::Varint) => self.http = Some(enum_number(&field)),
                (schema::QUERY_ADDRESS, WireType::Bytes) => self.addresses[0] = Some(field.value),
                (schema::RESPONSE_ADDRESS, WireType::Bytes) => {
                    self.addresses[1] = Some(field.value);
                }
                (schema::QUERY_PORT, WireType::Varint) => self.ports[0] = number(),
                (schema::RESPONSE_PORT, WireType::Varint) => self.ports[1] = number(),
                (schema::QUERY_TIME_SEC, WireType::Varint) => self.seconds[0] = number(),
                (schema::RESPONSE_TIME_SEC, WireType::Varint) => self.seconds[1] = number(),
                (schema::QUERY_TIME_NSEC, WireType::Fixed32) => {
                    self.nanoseconds[0] = fixed32(&field);
                }
                (schema::RESPONSE_TIME_NSEC, WireType::Fixed32) => {
                    self.nanoseconds[1] = fixed32(&field);
                }
                (schema::QUERY_MESSAGE, WireType::Bytes) => self.messages[0] = Some(field.value),
                (schema::RESPONSE_MESSAGE, WireType::Bytes) => self.messages[1] = Some(field.value),
                (schema::QUERY_ZONE, WireType::Bytes) => self.zone = Some(field.value),
                _ => {}
            }
        }
        Ok(())
    }

    fn view(self) -> FrameView<'a> {
        let is_message = self.kind == Some(schema::TYPE_MESSAGE);
        let message_type = self.message_type.filter(|_| is_message);
        let protocol = self.protocol.and_then(Protocol::of);
        let [query_address, response_address] = self.addresses.map(|bytes| address(bytes?));
        let [query_port, response_port] = self.ports.map(|port| u16::try_from(port?).ok());
        let time = |at: usize| time(self.seconds[at]?, self.nanoseconds[at]);
        let [query, response] = self.messages.map(|message| message.map(DnsMessage::new));
        FrameView {
            message_type: message_type.map_or(MessageType::Unknown, MessageType::of),
            identity: self.identity,
            version: self.version,
            extra: self.extra,
            protocol,
            is_over_udp: protocol.map(|protocol| protocol.is_over_udp(self.http)),
            query_address,
            query_port,
            response_address,
            response_port,
            query_time: time(0),
            response_time: time(1),
            query,
            response,
            query_zone: self.zone,
        }
    }
}

/// The number of an enum. It is an int32, and decoders drop the higher bits.
fn enum_number(field: &Field<'_>) -> u64 {
    field.varint() & u64::from(u32::MAX)
}

fn fixed32(field: &Field<'_>) -> Option<u32> {
    Some(u32::from_le_bytes(*field.value.first_chunk()?))
}

/// Reads an address. Its length determines its family, so `socket_family` is not needed.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(octets).to_canonical())
}

/// The nanoseconds since 1970. Absent nanoseconds count as 0. `None` if a sender wrote a whole second or more as
/// nanoseconds, as some do.
fn time(seconds: u64, nanoseconds: Option<u32>) -> Option<u128> {
    let nanoseconds = nanoseconds.unwrap_or(0);
    let whole = u128::from(seconds) * u128::from(NANOSECONDS);
    (nanoseconds < NANOSECONDS).then(|| whole + u128::from(nanoseconds))
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::dnstap::proto::{Dnstap, Message};

    fn tap(message: Message) -> Dnstap {
        Dnstap {
            identity: Some(b"ns1".to_vec()),
            version: Some(Vec::new()),
            extra: None,
            r#type: 1,
            message: Some(message),
        }
    }

    fn message() -> Message {
        Message {
            r#type: 6,
            socket_family: Some(2),
            socket_protocol: Some(4),
            query_address: Some(vec![192, 0, 2, 1]),
            response_address: Some(vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            query_port: Some(40_000),
            response_port: Some(53),
            query_time_sec: Some(1_700_000_000),
            query_time_nsec: Some(999_999_999),
            query_message: Some(b"query".to_vec()),
            query_zone: Some(vec![0]),
            response_time_sec: Some(1_700_000_001),
            response_time_nsec: Some(1),
            response_message: Some(b"response".to_vec()),
            policy: None,
            http_protocol: Some(3),
        }
    }

    #[test]
    fn every_field_is_found() {
        let frame = tap(message()).encode_to_vec();
        let view = FrameView::read(&frame).expect("well formed");
        let expected = FrameView {
            message_type: MessageType::ClientResponse,
            identity: Some(b"ns1"),
            version: Some(b""),
            extra: None,
            protocol: Some(Protocol::Doh),
            is_over_udp: Some(true),
            query_address: Some([192, 0, 2, 1].into()),
            query_port: Some(40_000),
            response_address: Some("2001:db8::1".parse().expect("an address")),
            response_port: Some(53),
            query_time: Some(1_700_000_000_999_999_999),
            response_time: Some(1_700_000_001_000_000_001),
            query: Some(DnsMessage::new(b"query")),
            response: Some(DnsMessage::new(b"response")),
            query_zone: Some(&[0]),
        };
        assert_eq!(view, expected);
        assert_eq!(view.duration(), Some(2));
    }

    #[test]
    fn values_that_the_schema_does_not_have_are_absent() {
        let odd = Message {
            socket_protocol: Some(9),
            query_address: Some(vec![1, 2, 3]),
            response_address: Some(Vec::new()),
            query_port: Some(65_536),
            query_time_nsec: Some(NANOSECONDS),
            response_time_nsec: None,
            ..message()
        };
        let frame = tap(odd).encode_to_vec();
        let view = FrameView::read(&frame).expect("well formed");
        assert_eq!((view.protocol, view.is_over_udp), (None, None));
        assert_eq!((view.query_address, view.response_address), (None, None));
        assert_eq!(view.query_port, None);
        assert_eq!(view.query_time, None);
        assert_eq!(view.response_time, Some(1_700_000_001_000_000_000));
        assert_eq!(view.duration(), None);
    }

    #[test]
    fn a_response_before_its_query_has_no_duration() {
        let early = Message {
            response_time_sec: Some(1),
            ..message()
        };
        let frame = tap(early).encode_to_vec();
        assert_eq!(
            FrameView::read(&frame).expect("well formed").duration(),
            None
        );
    }

    #[test]
    fn an_address_that_is_mapped_to_ipv6_is_ipv4() {
        let mapped = "::ffff:192.0.2.7"
            .parse::<std::net::Ipv6Addr>()
            .expect("an address");
        let mapped = Message {
            query_address: Some(mapped.octets().to_vec()),
            ..message()
        };
        let frame = tap(mapped).encode_to_vec();
        let view = FrameView::read(&frame).expect("well formed");
        assert_eq!(view.query_address, Some([192, 0, 2, 7].into()));
    }

    #[test]
    fn the_last_value_counts_and_messages_are_merged() {
        let frame = b"\x0a\x01a\x72\x02\x08\x05\x0a\x01b\x72\x04\x30\x01\x30\x02\x78\x01";
        let view = FrameView::read(frame).expect("well formed");
        assert_eq!(view.message_type, MessageType::ClientQuery);
        assert_eq!(view.identity, Some(b"b".as_slice()));
        assert_eq!(view.query_port, Some(2));
    }

    #[test]
    fn a_broken_encoding_is_refused_and_another_wire_type_is_absent() {
        assert!(FrameView::read(b"\x0a\x05a").is_err());
        let view = FrameView::read(b"\x08\x01\x78\x01").expect("an encoding");
        assert_eq!(view.identity, None);
    }
}
