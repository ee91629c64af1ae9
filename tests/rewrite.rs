//! Tests of `dnstap::validate` and `dnstap::Rewrite` with arbitrary dnstap messages and with recorded traffic.
//!
//! The results are checked in two ways. prost decodes the rewritten frames, and the tests compare the fields. A model,
//! in which a frame is a list of fields, predicts every byte of the rewritten frame.

mod model;

use bytes::{Bytes, BytesMut};
use model::{Body, Piece, encode, fragile, top_level};
use proptest::{prelude::*, sample::Index};
use prost::Message as _;
use tapfan::{
    internals::{FieldValues, IdentityField, Malformed, OwnFields, Rewrite, outline, validate},
    proto::Dnstap,
};

const IDENTITY: u32 = 1;
const EXTRA: u32 = 3;
const MESSAGE: u32 = 14;
const TYPE: u32 = 15;

fn edits() -> impl Strategy<Value = FieldValues> {
    let value =
        || prop::option::of(prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from));
    (value(), value(), value()).prop_map(|(identity, version, extra)| FieldValues {
        identity,
        version,
        extra,
    })
}

/// Rewrites a frame and returns the result. If the frame is valid, also rewrites it with the help of its `outline`, and
/// asserts that the result is the same.
fn apply(full: bool, edits: &FieldValues, frame: &[u8]) -> Result<Vec<u8>, Malformed> {
    let rewrite = Rewrite::new(full, edits);
    let mut out = BytesMut::new();
    let result = rewrite.apply(frame, &mut out);
    if let Ok(outline) = outline(frame) {
        let mut outlined = BytesMut::new();
        rewrite.edit(frame, outline, OwnFields::default(), &mut outlined)?;
        assert_eq!(outlined, out);
    }
    result.map(|()| out.into())
}

/// Returns whether a frame has all the fields that the dnstap schema requires.
fn is_complete(pieces: &[Piece]) -> bool {
    let kind = pieces.iter().rev().find_map(|piece| match piece.body {
        Body::Varint(number, _) if piece.number == TYPE => Some(number & 0xffff_ffff),
        _ => None,
    });
    let messages: Vec<_> = pieces.iter().filter_map(Piece::message).collect();
    let typed = messages
        .iter()
        .any(|message| message.iter().any(|piece| piece.number == 1));
    match kind {
        None => false,
        Some(1) => typed,
        Some(_) => typed || messages.is_empty(),
    }
}

/// Returns the bytes that the rewritten frame must have, according to the model.
fn rewritten(full: bool, edits: &FieldValues, pieces: &[Piece]) -> Vec<u8> {
    let mut values = [&edits.identity, &edits.version, &edits.extra].map(Clone::clone);
    let set = values.clone();
    let is_set = |piece: &Piece| {
        (IDENTITY..=EXTRA).contains(&piece.number) && set[piece.number as usize - 1].is_some()
    };
    let piece = |number, value: Bytes| Piece::plain(number, Body::Bytes(value.to_vec(), 0));
    let mut front = Vec::new();
    let mut out = Vec::new();
    for number in IDENTITY..=EXTRA {
        if !pieces.iter().any(|piece| piece.number == number) {
            front.extend(
                values[number as usize - 1]
                    .take()
                    .map(|value| piece(number, value)),
            );
        }
    }
    for old in pieces {
        if is_set(old) {
            out.extend(
                values[old.number as usize - 1]
                    .take()
                    .map(|value| piece(old.number, value)),
            );
        } else if let (Body::Message(fields, padding), false) = (&old.body, full) {
            let kept: Vec<_> = (fields
                .iter()
                .filter(|field| !matches!(field.number, 10 | 14)))
            .cloned()
            .collect();
            let padding = if kept.len() == fields.len() {
                *padding
            } else {
                0
            };
            out.push(Piece {
                body: Body::Message(kept, padding),
                ..old.clone()
            });
        } else {
            out.push(old.clone());
        }
    }
    front.extend(out);
    encode(&front)
}

/// Returns the content that the rewritten frame must have, according to prost.
fn rewritten_by_prost(full: bool, edits: &FieldValues, frame: &[u8]) -> Dnstap {
    let mut tap = Dnstap::decode(frame).expect("prost accepts it");
    if let (Some(message), false) = (&mut tap.message, full) {
        message.query_message = None;
        message.response_message = None;
    }
    for (field, edit) in [
        (&mut tap.identity, &edits.identity),
        (&mut tap.version, &edits.version),
        (&mut tap.extra, &edits.extra),
    ] {
        if let Some(value) = edit {
            *field = Some(value.to_vec());
        }
    }
    tap
}

/// Returns whether [`validate`] returns this error also for some frames that prost accepts. The documentation of
/// `validate` explains why it does so.
fn is_stricter_than_prost(error: Malformed) -> bool {
    use Malformed as M;
    matches!(
        error,
        M::Missing { .. } | M::Tag { .. } | M::Length { .. } | M::Nesting { .. }
    )
}

/// A way to damage a frame.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), 0..8).prop_map(|(at, bit)| Damage::Flip(at, 1_u8 << bit)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..4))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..4_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        any::<Index>().prop_map(Damage::Cut),
    ]
}

fn harm(frame: &mut Vec<u8>, damage: &Damage) {
    match damage {
        _ if frame.is_empty() => {}
        Damage::Set(at, byte) => {
            let at = at.index(frame.len());
            frame[at] = *byte;
        }
        Damage::Flip(at, bit) => {
            let at = at.index(frame.len());
            frame[at] ^= bit;
        }
        Damage::Insert(at, bytes) => {
            let at = at.index(frame.len());
            frame.splice(at..at, bytes.iter().copied());
        }
        Damage::Remove(at, count) => {
            let at = at.index(frame.len());
            frame.drain(at..frame.len().min(at + count));
        }
        Damage::Cut(at) => frame.truncate(at.index(frame.len())),
    }
}

/// Checks the properties that must hold for any bytes, even if they are not a valid frame.
fn check_any_bytes(bytes: &[u8], full: bool, edits: &FieldValues) -> Result<(), TestCaseError> {
    let rewritten = apply(full, edits, bytes);
    match validate(bytes) {
        Ok(()) => {
            let tap = Dnstap::decode(bytes);
            prop_assert!(tap.is_ok(), "prost refuses a valid frame: {tap:?}");
            prop_assert!(tap.is_ok_and(|tap| tap.r#type != 1 || tap.message.is_some()));
            prop_assert!(
                rewritten.is_ok(),
                "the rewrite refuses a valid frame: {rewritten:?}"
            );
            let rewritten = rewritten.unwrap_or_default();
            prop_assert_eq!(validate(&rewritten), Ok(()));
            let tap = Dnstap::decode(rewritten.as_slice()).ok();
            prop_assert_eq!(tap, Some(rewritten_by_prost(full, edits, bytes)));
        }
        Err(error) if !is_stricter_than_prost(error) => {
            prop_assert!(Dnstap::decode(bytes).is_err(), "prost accepts it: {error}");
        }
        Err(_) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_frame_is_valid_if_its_required_fields_are_present(pieces in top_level()) {
        let frame = encode(&pieces);
        prop_assert!(Dnstap::decode(frame.as_slice()).is_ok());
        match validate(&frame) {
            Ok(()) => prop_assert!(is_complete(&pieces)),
            Err(error) => {
                prop_assert!(matches!(error, Malformed::Missing { .. }), "{error}");
                prop_assert!(!is_complete(&pieces), "{error}");
            }
        }
    }

    #[test]
    fn a_rewrite_changes_only_what_was_asked_for(
        pieces in top_level(), full: bool, edits in edits()
    ) {
        let frame = encode(&pieces);
        let out = apply(full, &edits, &frame).expect("well formed");
        prop_assert_eq!(&out, &rewritten(full, &edits, &pieces));
        let tap = Dnstap::decode(out.as_slice()).expect("prost accepts it");
        prop_assert_eq!(tap, rewritten_by_prost(full, &edits, &frame));
        prop_assert_eq!(apply(full, &edits, &out), Ok(out), "a second rewrite changes it again");
    }

    /// For any frame, a rewrite with an identity prefix must equal a rewrite that sets the whole identity.
    #[test]
    fn a_prefix_changes_only_the_identity(
        pieces in top_level(),
        full: bool,
        version in prop::option::of("[a-z]{0,3}"),
        prefix in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let frame = encode(&pieces);
        let identity = Dnstap::decode(frame.as_slice()).expect("prost accepts it").identity;
        let expected = FieldValues {
            identity: Some([prefix.as_slice(), &identity.unwrap_or_default()].concat().into()),
            version: version.map(Bytes::from),
            extra: None,
        };
        let edits = FieldValues { identity: None, ..expected.clone() };
        let mut field = IdentityField::default();
        field.set_prefixed(&prefix, &frame);
        let own = OwnFields { identity: Some(&field), ..OwnFields::default() };
        let mut out = BytesMut::new();
        let outline = outline(&frame).unwrap_or_default();
        let edited = Rewrite::new(full, &edits).edit(&frame, outline, own, &mut out);
        prop_assert_eq!(edited, Ok(()));
        prop_assert_eq!(&out, &rewritten(full, &expected, &pieces));
        let tap = Dnstap::decode(&*out).expect("prost accepts it");
        prop_assert_eq!(tap, rewritten_by_prost(full, &expected, &frame));
    }

    #[test]
    fn a_rewrite_that_changes_nothing_gives_the_same_bytes(pieces in top_level()) {
        let frame = encode(&pieces);
        prop_assert!(Rewrite::new(true, &FieldValues::default()).is_noop());
        prop_assert_eq!(apply(true, &FieldValues::default(), &frame), Ok(frame));
    }

    #[test]
    fn a_damaged_frame_is_judged_as_by_prost(
        pieces in prop_oneof![1 => top_level(), 3 => fragile()],
        damage in prop::collection::vec(damage(), 0..3),
        full: bool,
        edits in edits(),
    ) {
        let mut frame = encode(&pieces);
        for damage in &damage {
            harm(&mut frame, damage);
        }
        check_any_bytes(&frame, full, &edits)?;
    }

    #[test]
    fn any_bytes_are_judged_as_by_prost(bytes: Vec<u8>, full: bool, edits in edits()) {
        check_any_bytes(&bytes, full, &edits)?;
    }
}

/// Returns three complete frames. They contain `fields` in the message `Dnstap`, in the message `Message`, and in the
/// message `Policy`.
fn at_each_level(fields: &[Piece]) -> [Vec<u8>; 3] {
    let typed = |fields: &[Piece]| {
        let kind = Piece::plain(1, Body::Varint(5, 0));
        Piece::plain(MESSAGE, Body::Message([&[kind], fields].concat(), 0))
    };
    let kind = Piece::plain(TYPE, Body::Varint(1, 0));
    let policy = Piece::plain(15, Body::Message(fields.to_vec(), 0));
    [
        encode(&[&[kind.clone(), typed(&[])], fields].concat()),
        encode(&[kind.clone(), typed(fields)]),
        encode(&[kind, typed(&[policy])]),
    ]
}

fn assert_judged_as_prost_does(frame: &[u8]) {
    match (validate(frame), Dnstap::decode(frame)) {
        (Ok(()), Ok(_)) | (Err(_), Err(_)) => {}
        (ours, prost) => panic!("{ours:?}, but prost says {prost:?}: {frame:02x?}"),
    }
}

#[test]
fn every_field_of_every_wire_type_is_judged_as_by_prost() {
    for number in 1..20 {
        for body in [
            Body::Varint(1, 0),
            Body::Fixed64([1; 8]),
            Body::Bytes(vec![], 0),
            Body::Group(vec![]),
            Body::Fixed32([1; 4]),
        ] {
            for frame in at_each_level(&[Piece::plain(number, body)]) {
                assert_judged_as_prost_does(&frame);
            }
        }
    }
}

#[test]
fn every_end_of_a_long_varint_is_judged_as_by_prost() {
    for last in 0..=u8::MAX {
        let number = [[0x80; 9].as_slice(), &[last, 0]].concat();
        for frame in at_each_level(&[]) {
            assert_judged_as_prost_does(&[&frame, b"\xa0\x06".as_slice(), &number[..10]].concat());
            assert_judged_as_prost_does(&[&frame, b"\xa0\x06".as_slice(), &number].concat());
        }
    }
}

#[test]
fn every_text_is_judged_as_by_prost() {
    for text in 0..=u16::MAX {
        let text = Body::Bytes(text.to_be_bytes().to_vec(), 0);
        let [_, _, frame] = at_each_level(&[Piece::plain(1, text)]);
        assert_judged_as_prost_does(&frame);
    }
}

/// Returns the payloads of all data frames in a recorded Frame Streams file.
fn recorded(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/data/{name}.fstrm", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).expect("a recording");
    let mut frames = Vec::new();
    let mut rest = file.as_slice();
    while let Some((length, after)) = rest.split_first_chunk() {
        if *length == [0; 4] {
            // This is a control frame. The next four bytes are its length.
            let (length, after) = after.split_first_chunk().expect("a control frame");
            rest = &after[u32::from_be_bytes(*length) as usize..];
        } else {
            let (payload, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            frames.push(payload.to_vec());
            rest = after;
        }
    }
    assert!(frames.len() >= 3000, "{path}");
    frames
}

#[test]
fn recorded_frames_pass_and_are_rewritten_as_prost_would() {
    let edits = FieldValues {
        identity: Some("edge-1".into()),
        version: Some(Bytes::new()),
        extra: Some("rack 7".into()),
    };
    for name in ["bind", "unbound", "dnsdist"] {
        let mut shorter = 0;
        for frame in recorded(name) {
            assert_eq!(validate(&frame), Ok(()), "{name}: {frame:02x?}");
            for (full, edits) in [
                (true, &FieldValues::default()),
                (false, &FieldValues::default()),
                (true, &edits),
                (false, &edits),
            ] {
                let out = apply(full, edits, &frame).expect("well formed");
                assert_eq!(validate(&out), Ok(()), "{name}: {out:02x?}");
                let tap = Dnstap::decode(out.as_slice()).expect("prost accepts it");
                assert_eq!(tap, rewritten_by_prost(full, edits, &frame), "{name}");
                assert_eq!(
                    apply(full, edits, &out).as_ref(),
                    Ok(&out),
                    "{name}: a second rewrite changes it again"
                );
            }
            let stripped = apply(false, &FieldValues::default(), &frame).expect("well formed");
            shorter += usize::from(stripped.len() < frame.len());
            assert_eq!(
                apply(true, &FieldValues::default(), &frame),
                Ok(frame),
                "{name}"
            );
        }
        assert!(
            shorter >= 3000,
            "{name}: every recorded frame has its DNS message"
        );
    }
}

#[test]
fn no_prefix_of_a_recorded_frame_is_valid() {
    for name in ["bind", "unbound", "dnsdist"] {
        for frame in recorded(name).iter().step_by(97) {
            for end in 0..frame.len() {
                assert!(
                    validate(&frame[..end]).is_err(),
                    "{name}, {end} of {frame:02x?}"
                );
            }
        }
    }
}
