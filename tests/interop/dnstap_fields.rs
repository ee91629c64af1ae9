//! dnstap messages as lists of protobuf fields. With these lists, the tests compute the frames that
//! a sink with edits must send.
//!
//! This module knows only the wire format of protobuf and a few field numbers of `dnstap.proto`. So
//! a comparison also covers fields that tapfan does not know.

/// Fields of `Dnstap`.
pub(crate) const IDENTITY: u64 = 1;
pub(crate) const VERSION: u64 = 2;
pub(crate) const EXTRA: u64 = 3;
const MESSAGE: u64 = 14;
/// Fields of `Message`.
const TYPE: u64 = 1;
pub(crate) const QUERY_MESSAGE: u64 = 10;
pub(crate) const RESPONSE_MESSAGE: u64 = 14;

/// The protobuf wire type of numbers that always have four bytes.
const FIXED32: u64 = 5;

/// One protobuf field: its number, its wire type, and the bytes of its value without a length
/// prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Field {
    number: u64,
    wire_type: u64,
    value: Vec<u8>,
}

/// A `Dnstap` message, split into its own fields and the fields of the `Message` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dnstap {
    outer: Vec<Field>,
    message: Vec<Field>,
}

// === impl Dnstap ===

impl Dnstap {
    /// Splits a frame's payload into fields.
    pub(crate) fn parse(payload: &[u8]) -> Self {
        let mut outer = fields(payload);
        let at = outer
            .iter()
            .position(|field| field.number == MESSAGE)
            .expect("a dnstap frame has a message");
        let message = fields(&outer.remove(at).value);
        assert!(outer.iter().all(|field| field.number != MESSAGE));
        Self { outer, message }.in_order()
    }

    /// Removes the fields `query_message` and `response_message` from the message.
    pub(crate) fn without_wire(mut self) -> Self {
        self.message
            .retain(|field| field.number != QUERY_MESSAGE && field.number != RESPONSE_MESSAGE);
        self
    }

    /// Sets the field with this number of the outer message `Dnstap` to `value`.
    pub(crate) fn with(mut self, number: u64, value: &str) -> Self {
        self.outer.retain(|field| field.number != number);
        self.outer.push(Field {
            number,
            wire_type: 2,
            value: value.as_bytes().to_vec(),
        });
        self.in_order()
    }

    /// Returns the field `Message.type`.
    pub(crate) fn message_type(&self) -> u64 {
        let field = self.message_field(TYPE).expect("a message has a type");
        varint(&mut &*field)
    }

    /// Returns the value of a field of the inner message `Message`, if the value is a number.
    pub(crate) fn message_number(&self, number: u64) -> Option<u64> {
        let field = self.message.iter().find(|field| field.number == number)?;
        Some(match field.value.first_chunk::<4>() {
            Some(fixed) if field.wire_type == FIXED32 => u32::from_le_bytes(*fixed).into(),
            _ => varint(&mut field.value.as_slice()),
        })
    }

    /// Returns the value of a field of the inner message `Message`.
    pub(crate) fn message_field(&self, number: u64) -> Option<Vec<u8>> {
        self.message
            .iter()
            .find(|field| field.number == number)
            .map(|field| field.value.clone())
    }

    /// Returns the value of a field of the outer message `Dnstap`.
    pub(crate) fn outer_field(&self, number: u64) -> Option<&[u8]> {
        self.outer
            .iter()
            .find(|field| field.number == number)
            .map(|field| field.value.as_slice())
    }

    /// Sorts the fields by number. Fields with the same number keep their order, because protobuf
    /// gives only this order a meaning.
    fn in_order(mut self) -> Self {
        self.outer.sort_by_key(|field| field.number);
        self.message.sort_by_key(|field| field.number);
        self
    }
}

fn fields(mut bytes: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let wire_type = tag & 7;
        let length = match wire_type {
            0 => 1 + bytes.iter().take_while(|byte| **byte >= 0x80).count(),
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).expect("a length"),
            5 => 4,
            other => panic!("a field of wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        bytes = rest;
        fields.push(Field {
            number: tag >> 3,
            wire_type,
            value: value.to_vec(),
        });
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint goes on");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return number;
        }
    }
    panic!("a varint of more than ten bytes");
}

#[test]
fn recorded_frames_are_split_into_their_fields() {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/unbound.fstrm");
    let recorded = std::fs::read(recorded).expect("a recording");
    let (frames, whole) = crate::frame_streams::parse(&recorded);
    assert!(whole);
    let frames = crate::frame_streams::data(frames);
    assert_eq!(frames.len(), 4000);
    for frame in frames {
        let frame = Dnstap::parse(&frame);
        assert!((5..=8).contains(&frame.message_type()));
        // Message types of queries, such as CLIENT_QUERY, have odd numbers. A frame with a query
        // must not contain a response message.
        let query = frame.message_type() % 2 == 1;
        assert_eq!(frame.message_field(RESPONSE_MESSAGE).is_none(), query);
        let bare = frame.clone().without_wire();
        assert_ne!(bare, frame);
        assert_eq!(bare.message_field(QUERY_MESSAGE), None);
        assert_eq!(bare.message_field(RESPONSE_MESSAGE), None);
        let named = bare.clone().with(IDENTITY, "elsewhere");
        assert_ne!(named, bare);
        assert_eq!(named.outer_field(IDENTITY), Some(b"elsewhere".as_slice()));
    }
}
