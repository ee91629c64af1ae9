//! The fields of a frame as they are in its bytes, for code that only reads frames. Unlike prost, this module does not
//! copy the fields, and it finds them in one pass without allocating.

use std::{net::IpAddr, time::Duration};

use super::{
    malformed::Malformed,
    message_type::MessageType,
    protocol::Protocol,
    schema::{self, DNSTAP_FIELDS, MESSAGE_FIELDS},
    validate::validate,
    wire::{Field, Fields},
};

/// The fields of a frame, borrowed from its bytes. If a field occurs several times, its last value counts. If a nested
/// message occurs several times, the occurrences are merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawFrame<'a> {
    /// `Dnstap.identity`.
    pub identity: Option<&'a [u8]>,
    /// `Dnstap.version`.
    pub version: Option<&'a [u8]>,
    /// `Dnstap.extra`.
    pub extra: Option<&'a [u8]>,
    /// The number of `Dnstap.type`; 1 is `MESSAGE`.
    pub kind: u32,
    /// `Dnstap.message`; always present if the type is `MESSAGE`.
    pub message: Option<RawMessage<'a>>,
}

/// The fields of a `Message`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawMessage<'a> {
    /// The number of `Message.type`.
    pub kind: u32,
    /// The number of `Message.socket_family`: 1 is IPv4, 2 is IPv6.
    pub socket_family: Option<u32>,
    /// The number of `Message.socket_protocol`.
    pub socket_protocol: Option<u32>,
    /// `Message.query_address`, of any length.
    pub query_address: Option<&'a [u8]>,
    /// `Message.response_address`, of any length.
    pub response_address: Option<&'a [u8]>,
    /// `Message.query_port`.
    pub query_port: Option<u32>,
    /// `Message.response_port`.
    pub response_port: Option<u32>,
    /// The time of the query.
    pub query_time: Moment,
    /// The time of the response.
    pub response_time: Moment,
    /// `Message.query_message`: the query, normally in DNS wire format. The bytes are not checked.
    pub query_message: Option<&'a [u8]>,
    /// `Message.response_message`: the response, in the same format as `query_message`.
    pub response_message: Option<&'a [u8]>,
    /// `Message.query_zone`: a name in wire format.
    pub query_zone: Option<&'a [u8]>,
    /// The number of `Message.http_protocol`.
    pub http_protocol: Option<u32>,
    /// `Message.policy`, encoded.
    pub policy: Option<&'a [u8]>,
}

/// A time of a message. Its seconds and its nanoseconds are separate fields, and a sender may leave out either of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970.
    pub seconds: Option<u64>,
    /// Nanoseconds to add to the seconds. The value may be a whole second or more, because the schema does not limit
    /// it.
    pub nanoseconds: Option<u32>,
}

/// `HttpProtocol.HTTP3`, which is HTTP over QUIC.
const HTTP3: u32 = 3;

// === impl RawFrame ===

impl<'a> RawFrame<'a> {
    /// Reads a frame that has passed [`validate`].
    ///
    /// In a frame that has not passed, a field with a wrong wire type is absent. If the encoding of tags, lengths or
    /// groups is malformed, all fields are absent.
    pub fn of_valid(frame: &'a [u8]) -> Self {
        Self::decode(frame).unwrap_or_default()
    }

    /// Reads `frame`, which must pass [`validate`].
    ///
    /// ```
    /// use tapfan::{internals::RawFrame, supervisor::MessageType};
    ///
    /// let raw = RawFrame::read(b"\x0a\x02ns\x72\x02\x08\x05\x78\x01")?;
    /// assert_eq!(raw.identity, Some(b"ns".as_slice()));
    /// assert_eq!(raw.message.map(|it| it.message_type()), Some(MessageType::ClientQuery));
    /// # Ok::<(), tapfan::internals::Malformed>(())
    /// ```
    ///
    /// # Errors
    /// As for [`validate`].
    pub fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        validate(frame)?;
        Self::decode(frame)
    }

    fn decode(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut raw = Self::default();
        for field in Fields::new(frame) {
            let field = field?;
            if DNSTAP_FIELDS.check(&field).is_err() {
                continue;
            }
            match field.number {
                schema::IDENTITY => raw.identity = Some(field.value),
                schema::VERSION => raw.version = Some(field.value),
                schema::EXTRA => raw.extra = Some(field.value),
                schema::TYPE => raw.kind = number(&field),
                schema::MESSAGE => raw.message.get_or_insert_default().merge(&field)?,
                _ => {}
            }
        }
        Ok(raw)
    }
}

// === impl RawMessage ===

impl<'a> RawMessage<'a> {
    fn merge(&mut self, message: &Field<'a>) -> Result<(), Malformed> {
        for field in message.fields() {
            let field = field?;
            if MESSAGE_FIELDS.check(&field).is_err() {
                continue;
            }
            match field.number {
                schema::MESSAGE_TYPE => self.kind = number(&field),
                schema::SOCKET_FAMILY => self.socket_family = Some(number(&field)),
                schema::SOCKET_PROTOCOL => self.socket_protocol = Some(number(&field)),
                schema::QUERY_ADDRESS => self.query_address = Some(field.value),
                schema::RESPONSE_ADDRESS => self.response_address = Some(field.value),
                schema::QUERY_PORT => self.query_port = Some(number(&field)),
                schema::RESPONSE_PORT => self.response_port = Some(number(&field)),
                schema::QUERY_TIME_SEC => self.query_time.seconds = Some(field.varint()),
                schema::QUERY_TIME_NSEC => self.query_time.nanoseconds = fixed(&field),
                schema::QUERY_MESSAGE => self.query_message = Some(field.value),
                schema::QUERY_ZONE => self.query_zone = Some(field.value),
                schema::RESPONSE_TIME_SEC => self.response_time.seconds = Some(field.varint()),
                schema::RESPONSE_TIME_NSEC => self.response_time.nanoseconds = fixed(&field),
                schema::RESPONSE_MESSAGE => self.response_message = Some(field.value),
                schema::POLICY => self.policy = Some(field.value),
                schema::HTTP_PROTOCOL => self.http_protocol = Some(number(&field)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the type of the message.
    pub fn message_type(&self) -> MessageType {
        MessageType::of(self.kind.into())
    }

    /// Returns the transport protocol of the DNS messages, or `None` if it is absent or the schema does not define it.
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::of(self.socket_protocol?)
    }

    /// Returns true if the transport protocol runs over UDP, as DNS over QUIC and DNS over HTTP/3 do, and false if it
    /// runs over TCP. `None` if the protocol is unknown.
    pub fn is_over_udp(&self) -> Option<bool> {
        Some(match self.protocol()? {
            Protocol::Udp | Protocol::DnsCryptUdp | Protocol::Doq => true,
            Protocol::Doh => self.http_protocol == Some(HTTP3),
            Protocol::Tcp | Protocol::Dot | Protocol::DnsCryptTcp => false,
        })
    }

    /// Returns whether the type is a query. In the schema, queries have odd numbers and responses even numbers. The
    /// number of an unknown type is treated in the same way.
    pub fn is_query(&self) -> bool {
        self.kind % 2 == 1
    }

    /// Returns the kind of exchange that the message belongs to. A query and its response have the same kind.
    /// Authoritative and client messages count as one kind, because BIND 9.18 taps a query for one of its own zones as
    /// `AUTH_QUERY` and the response as `CLIENT_RESPONSE`.
    pub fn exchange(&self) -> u32 {
        match self.kind.wrapping_sub(1) / 2 {
            2 => 0,
            other => other,
        }
    }

    /// Returns the DNS message that the type refers to: `query_message` for a query, `response_message` for a response.
    pub fn dns(&self) -> Option<&'a [u8]> {
        if self.is_query() {
            self.query_message
        } else {
            self.response_message
        }
    }

    /// Returns the time from the query to the response. It is `None` if the frame lacks a time, or if the clock was set
    /// back between query and response.
    pub fn latency(&self) -> Option<Duration> {
        self.response_time.since(self.query_time)
    }

    /// Returns the time of the message that [`dns`](Self::dns) returns.
    pub fn time(&self) -> Moment {
        if self.is_query() {
            self.query_time
        } else {
            self.response_time
        }
    }
}

// === impl Moment ===

impl Moment {
    /// Returns the time as seconds and less than 10^9 nanoseconds, or `None` if a field is missing. Whole seconds in
    /// the nanoseconds are moved to the seconds.
    pub fn normal(self) -> Option<(u64, u32)> {
        let (seconds, nanoseconds) = (self.seconds?, self.nanoseconds?);
        let carried = u64::from(nanoseconds / 1_000_000_000);
        Some((seconds.saturating_add(carried), nanoseconds % 1_000_000_000))
    }

    /// Returns the time since `earlier`, or `None` if a field is missing or `earlier` is later.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let duration = |moment: Self| {
            let (seconds, nanoseconds) = moment.normal()?;
            Some(Duration::new(seconds, nanoseconds))
        };
        duration(self)?.checked_sub(duration(earlier)?)
    }
}

/// Returns the address in an address field. Its length determines its family, so `socket_family` is not needed. An
/// IPv4-mapped IPv6 address becomes IPv4. `None` if the field has neither 4 nor 16 bytes.
pub(crate) fn address(field: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(field) {
        return Some(octets.into());
    }
    let octets = <[u8; 16]>::try_from(field).ok()?;
    Some(IpAddr::from(octets).to_canonical())
}

/// Returns the number that decoders read. Decoders keep only the lower 32 bits of an enum and of a `uint32`.
#[allow(clippy::cast_possible_truncation)]
fn number(field: &Field<'_>) -> u32 {
    field.varint() as u32
}

fn fixed(field: &Field<'_>) -> Option<u32> {
    field.value.first_chunk().map(|it| u32::from_le_bytes(*it))
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        capture::FileReader,
        dnstap::proto::{Dnstap, HttpProtocol},
    };

    #[test]
    fn the_fields_of_recorded_frames_has_what_prost_reads() {
        for recording in [
            include_bytes!("../../tests/data/bind.fstrm").as_slice(),
            include_bytes!("../../tests/data/unbound.fstrm"),
            include_bytes!("../../tests/data/dnsdist.fstrm"),
        ] {
            for frame in FileReader::new(recording).expect("a capture") {
                let frame = frame.expect("whole");
                let raw = RawFrame::read(&frame).expect("dnstap");
                let prost = Dnstap::decode(frame.as_ref()).expect("dnstap");
                assert_eq!(raw.identity, prost.identity.as_deref());
                assert_eq!(raw.version, prost.version.as_deref());
                assert_eq!(raw.extra, prost.extra.as_deref());
                let (raw, prost) = (raw.message.expect("one"), prost.message.expect("one"));
                let enumeration = |it: Option<i32>| it.map(i32::cast_unsigned);
                assert_eq!(raw.kind, prost.r#type.cast_unsigned());
                assert_eq!(raw.socket_family, enumeration(prost.socket_family));
                assert_eq!(raw.socket_protocol, enumeration(prost.socket_protocol));
                assert_eq!(raw.query_address, prost.query_address.as_deref());
                assert_eq!(raw.response_address, prost.response_address.as_deref());
                assert_eq!(raw.query_port, prost.query_port);
                assert_eq!(raw.response_port, prost.response_port);
                assert_eq!(raw.query_time.seconds, prost.query_time_sec);
                assert_eq!(raw.query_time.nanoseconds, prost.query_time_nsec);
                assert_eq!(raw.response_time.seconds, prost.response_time_sec);
                assert_eq!(raw.response_time.nanoseconds, prost.response_time_nsec);
                assert_eq!(raw.query_message, prost.query_message.as_deref());
                assert_eq!(raw.response_message, prost.response_message.as_deref());
                assert_eq!(raw.query_zone, prost.query_zone.as_deref());
                assert_eq!(raw.http_protocol, enumeration(prost.http_protocol));
            }
        }
    }

    #[test]
    fn repeated_messages_are_merged_and_the_last_value_counts() {
        let frame = b"\x72\x04\x08\x05\x30\x07\x72\x02\x30\x09\x78\x01\x0a\x01a\x0a\x01b";
        let raw = RawFrame::read(frame).expect("dnstap");
        assert_eq!(raw.identity, Some(b"b".as_slice()));
        let message = raw.message.expect("one");
        assert_eq!((message.kind, message.query_port), (5, Some(9)));
    }

    #[test]
    fn a_broken_encoding_has_no_fields_and_another_wire_type_is_absent() {
        assert_eq!(
            RawFrame::of_valid(b"\x0a\x01a\x0a\x05a"),
            RawFrame::default()
        );
        let raw = RawFrame::of_valid(b"\x08\x01\x72\x04\x32\x00\x38\x09\x78\x01");
        assert_eq!((raw.identity, raw.kind), (None, 1));
        let message = raw.message.expect("one");
        assert_eq!((message.query_port, message.response_port), (None, Some(9)));
    }

    #[test]
    fn an_address_that_is_mapped_to_ipv6_is_ipv4() {
        let mapped = std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        assert_eq!(address(&mapped.octets()), Some([192, 0, 2, 7].into()));
        assert_eq!(address(&[1, 2, 3]), None);
        assert_eq!(address(&[]), None);
    }

    #[test]
    fn http_3_is_the_number_of_the_schema() {
        assert_eq!(HttpProtocol::Http3 as u32, HTTP3);
    }

    #[test]
    fn a_frame_that_does_not_pass_is_refused() {
        assert_eq!(
            RawFrame::read(b"\x78\x01").err(),
            validate(b"\x78\x01").err()
        );
    }
}
