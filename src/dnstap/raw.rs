//! The fields of a frame as they are in its bytes, for code that only reads frames. Unlike prost, it does not copy
//! them.

use std::{net::IpAddr, time::Duration};

use super::{
    malformed::Malformed,
    message_type::MessageType,
    schema,
    validate::validate,
    wire::{Field, Fields},
};

/// The fields of a frame, borrowed from its bytes. The last value of a repeated field counts, and repeated messages are merged.
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
    /// `Message.query_message`: DNS in wire format, if the sender wrote DNS.
    pub query_message: Option<&'a [u8]>,
    /// `Message.response_message`: the response, in the same format as the query.
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
    /// Nanoseconds to add to the seconds. A sender may also write a whole second or more.
    pub nanoseconds: Option<u32>,
}

// === impl RawFrame ===

impl<'a> RawFrame<'a> {
    /// Reads a frame that has passed [`validate`]. If the frame has not passed, the fields after the first violation
    /// are left out.
    pub fn of_valid(frame: &'a [u8]) -> Self {
        let mut raw = Self::default();
        for field in Fields::new(frame).map_while(Result::ok) {
            match field.number {
                schema::IDENTITY => raw.identity = Some(field.value),
                schema::VERSION => raw.version = Some(field.value),
                schema::EXTRA => raw.extra = Some(field.value),
                schema::TYPE => raw.kind = number(&field),
                schema::MESSAGE => raw.message.get_or_insert_default().merge(&field),
                _ => {}
            }
        }
        raw
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
        Ok(Self::of_valid(frame))
    }
}

// === impl RawMessage ===

impl<'a> RawMessage<'a> {
    fn merge(&mut self, message: &Field<'a>) {
        for field in message.fields().map_while(Result::ok) {
            match field.number {
                schema::MESSAGE_TYPE => self.kind = number(&field),
                2 => self.socket_family = Some(number(&field)),
                3 => self.socket_protocol = Some(number(&field)),
                4 => self.query_address = Some(field.value),
                5 => self.response_address = Some(field.value),
                6 => self.query_port = Some(number(&field)),
                7 => self.response_port = Some(number(&field)),
                8 => self.query_time.seconds = Some(field.varint()),
                9 => self.query_time.nanoseconds = fixed(&field),
                schema::QUERY_MESSAGE => self.query_message = Some(field.value),
                11 => self.query_zone = Some(field.value),
                12 => self.response_time.seconds = Some(field.varint()),
                13 => self.response_time.nanoseconds = fixed(&field),
                schema::RESPONSE_MESSAGE => self.response_message = Some(field.value),
                schema::POLICY => self.policy = Some(field.value),
                16 => self.http_protocol = Some(number(&field)),
                _ => {}
            }
        }
    }

    /// The type of the message.
    pub fn message_type(&self) -> MessageType {
        MessageType::of(self.kind.into())
    }

    /// Returns whether the type is a query. In the schema, queries have odd numbers and responses even numbers. An
    /// unknown type is treated in the same way.
    pub fn is_query(&self) -> bool {
        self.kind % 2 == 1
    }

    /// The kind of exchange that the message belongs to. A query and its response have the same kind. Authoritative and
    /// client messages count as one kind, because BIND 9.18 taps a query for one of its own zones as `AUTH_QUERY` and
    /// the response as `CLIENT_RESPONSE`.
    pub fn exchange(&self) -> u32 {
        match self.kind.wrapping_sub(1) / 2 {
            2 => 0,
            other => other,
        }
    }

    /// The DNS message that the type refers to: `query_message` for a query, `response_message` for a response.
    pub fn dns(&self) -> Option<&'a [u8]> {
        if self.is_query() {
            self.query_message
        } else {
            self.response_message
        }
    }

    /// The time from the query to the response; `None` if the frame lacks a time or the clock was set back in between.
    pub fn latency(&self) -> Option<Duration> {
        self.response_time.since(self.query_time)
    }

    /// The time of the message that [`dns`](Self::dns) returns.
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
    /// The seconds, and less than 10^9 nanoseconds: whole seconds in the nanoseconds are added to the seconds. `None`
    /// if a field is missing.
    pub fn normal(self) -> Option<(u64, u32)> {
        let (seconds, nanoseconds) = (self.seconds?, self.nanoseconds?);
        let carried = u64::from(nanoseconds / 1_000_000_000);
        Some((seconds.saturating_add(carried), nanoseconds % 1_000_000_000))
    }

    /// The time since `earlier`; `None` if a field is missing or `earlier` is later.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let duration = |moment: Self| {
            let (seconds, nanoseconds) = moment.normal()?;
            Some(Duration::new(seconds, nanoseconds))
        };
        duration(self)?.checked_sub(duration(earlier)?)
    }
}

/// Returns the address in an address field. An IPv4-mapped IPv6 address becomes IPv4. `None` if the field has neither 4
/// nor 16 bytes.
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "only `dump` shows addresses")
)]
pub(crate) fn address(field: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(field) {
        return Some(octets.into());
    }
    let octets = <[u8; 16]>::try_from(field).ok()?;
    Some(IpAddr::from(octets).to_canonical())
}

/// Returns the number as decoders see it: they keep only the lower 32 bits of an enum and of a `uint32`.
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
    use crate::{capture::FileReader, dnstap::proto::Dnstap};

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
    fn a_frame_that_does_not_pass_is_refused() {
        assert_eq!(
            RawFrame::read(b"\x78\x01").err(),
            validate(b"\x78\x01").err()
        );
    }
}
