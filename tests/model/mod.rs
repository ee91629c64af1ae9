//! Arbitrary dnstap messages as lists of fields. Known fields occur in any order and number. Unknown fields have every
//! wire type, and occur in `Dnstap` and in the message within it. Varints can be padded beyond their minimal length.

use proptest::{prelude::*, strategy::Union};

/// One protobuf field.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) number: u32,
    /// The number of bytes by which the tag of the field exceeds its minimal length. A tag has at most 5 bytes in
    /// total.
    pub(crate) padding: usize,
    pub(crate) body: Body,
}

/// The value of a protobuf field. The last number of `Varint`, `Bytes` and `Message` is the padding: the number of
/// bytes by which the varint exceeds its minimal length.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Varint(u64, usize),
    Fixed64([u8; 8]),
    Bytes(Vec<u8>, usize),
    Group(Vec<Piece>),
    Fixed32([u8; 4]),
    Message(Vec<Piece>, usize),
}

impl Piece {
    pub(crate) fn plain(number: u32, body: Body) -> Self {
        Self {
            number,
            padding: 0,
            body,
        }
    }

    /// Returns the fields of a nested message.
    pub(crate) fn message(&self) -> Option<&[Piece]> {
        match &self.body {
            Body::Message(fields, _) => Some(fields),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let tag = |wire_type| u64::from(self.number) << 3 | wire_type;
        let short = |out: &mut Vec<u8>, number, padding| varint(out, number, padding, 5);
        match &self.body {
            Body::Varint(number, padding) => {
                short(out, tag(0), self.padding);
                varint(out, *number, *padding, 10);
            }
            Body::Fixed64(value) => {
                short(out, tag(1), self.padding);
                out.extend(value);
            }
            Body::Bytes(value, padding) => {
                short(out, tag(2), self.padding);
                short(out, value.len() as u64, *padding);
                out.extend(value);
            }
            Body::Group(fields) => {
                short(out, tag(3), self.padding);
                out.extend(encode(fields));
                short(out, tag(4), self.padding);
            }
            Body::Fixed32(value) => {
                short(out, tag(5), self.padding);
                out.extend(value);
            }
            Body::Message(fields, padding) => {
                let fields = encode(fields);
                short(out, tag(2), self.padding);
                short(out, fields.len() as u64, *padding);
                out.extend(fields);
            }
        }
    }
}

/// Encodes the fields as the payload of a frame, or as the content of a nested message.
pub(crate) fn encode(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        piece.write(&mut out);
    }
    out
}

/// Generates the fields of a `Dnstap`. In most cases all required fields are present.
pub(crate) fn top_level() -> impl Strategy<Value = Vec<Piece>> {
    let kind = prop_oneof![8 => Just(1), 1 => any::<u64>(), 1 => Just(1 << 32 | 1)];
    prop::collection::vec(
        prop_oneof![
            3 => piece(1..=3, bytes()),
            3 => piece(15..=15, number_of(kind)),
            4 => piece(14..=14, (message(), padding()).prop_map(|(fields, padding)| Body::Message(fields, padding))),
            2 => unknown(16),
        ],
        0..10,
    )
}

/// Returns a short, complete `Dnstap` that consists mostly of a policy and unknown fields. In such a frame, damage to
/// any single byte changes the result of parsing.
pub(crate) fn fragile() -> impl Strategy<Value = Vec<Piece>> {
    let policy = prop::collection::vec(policy_field(), 1..3);
    let unknown = || prop::collection::vec(unknown(17), 0..2);
    (policy, unknown(), unknown()).prop_map(|(policy, inside, outside)| {
        let mut message = vec![Piece::plain(1, Body::Varint(5, 0))];
        message.push(Piece::plain(15, Body::Message(policy, 0)));
        message.extend(inside);
        let mut pieces = vec![Piece::plain(15, Body::Varint(1, 0))];
        pieces.push(Piece::plain(14, Body::Message(message, 0)));
        pieces.extend(outside);
        pieces
    })
}

fn message() -> impl Strategy<Value = Vec<Piece>> {
    let policy = (prop::collection::vec(policy_field(), 0..4), padding())
        .prop_map(|(fields, padding)| Body::Message(fields, padding));
    prop::collection::vec(
        prop_oneof![
            4 => piece(1..=1, number_of(prop_oneof![1..15_u64, any::<u64>()])),
            2 => piece(2..=3, number_of(0..9_u64)),
            1 => piece(4..=5, bytes()),
            2 => piece(6..=7, number_of(0..70_000_u64)),
            1 => piece(8..=8, number_of(any::<u64>())),
            1 => piece(12..=12, number_of(1_700_000_000..1_800_000_000_u64)),
            1 => piece(9..=9, any::<[u8; 4]>().prop_map(Body::Fixed32)),
            1 => piece(13..=13, any::<[u8; 4]>().prop_map(Body::Fixed32)),
            1 => piece(11..=11, bytes()),
            3 => piece(10..=10, bytes()),
            3 => piece(14..=14, bytes()),
            1 => piece(15..=15, policy),
            1 => piece(16..=16, number_of(0..4_u64)),
            2 => unknown(17),
        ],
        0..12,
    )
}

fn policy_field() -> impl Strategy<Value = Piece> {
    let text =
        (".{0,8}", padding()).prop_map(|(text, padding)| Body::Bytes(text.into_bytes(), padding));
    prop_oneof![
        piece(1..=1, text),
        piece(2..=2, bytes()),
        piece(3..=4, number_of(0..8_u64)),
        piece(5..=5, bytes()),
        unknown(6),
    ]
}

/// Generates a field that is not in the schema. Its number is `lowest` or higher, and its wire type is arbitrary.
fn unknown(lowest: u32) -> Union<BoxedStrategy<Piece>> {
    let highest = (1 << 29) - 1;
    let number = move || prop_oneof![lowest..40, lowest..=highest, Just(highest)];
    let leaf = move || {
        let body = prop_oneof![
            number_of(any::<u64>()),
            any::<[u8; 8]>().prop_map(Body::Fixed64),
            bytes(),
            any::<[u8; 4]>().prop_map(Body::Fixed32),
        ];
        (number(), padding(), body).prop_map(|(number, padding, body)| Piece {
            number,
            padding,
            body,
        })
    };
    let group = leaf().prop_recursive(4, 8, 3, move |inside| {
        // Fields in a protobuf group may have the numbers of known fields, because these numbers have no meaning in a
        // group.
        let inside = (inside, prop::option::of(1..17_u32)).prop_map(|(piece, number)| Piece {
            number: number.unwrap_or(piece.number),
            ..piece
        });
        (number(), padding(), prop::collection::vec(inside, 0..3)).prop_map(
            |(number, padding, fields)| Piece {
                number,
                padding,
                body: Body::Group(fields),
            },
        )
    });
    Union::new([leaf().boxed(), group.boxed()])
}

fn piece(
    number: std::ops::RangeInclusive<u32>,
    body: impl Strategy<Value = Body>,
) -> impl Strategy<Value = Piece> {
    (number, padding(), body).prop_map(|(number, padding, body)| Piece {
        number,
        padding,
        body,
    })
}

fn bytes() -> impl Strategy<Value = Body> {
    let length = prop_oneof![8 => 0..20_usize, 1 => 100..300_usize, 1 => 16_300..16_500_usize];
    let value = (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length]);
    (value, padding()).prop_map(|(value, padding)| Body::Bytes(value, padding))
}

fn number_of(number: impl Strategy<Value = u64>) -> impl Strategy<Value = Body> {
    let padding = prop_oneof![4 => Just(0), 1 => 1..10_usize];
    (number, padding).prop_map(|(number, padding)| Body::Varint(number, padding))
}

fn padding() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0), 1 => 1..5_usize]
}

/// Writes a varint with `padding` extra bytes, but with at most `most` bytes in total.
fn varint(out: &mut Vec<u8>, mut number: u64, padding: usize, most: usize) {
    let start = out.len();
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
    let end = most.min(out.len() - start + padding);
    while out.len() - start < end {
        if let Some(last) = out.last_mut() {
            *last |= 0x80;
        }
        out.push(0);
    }
}
