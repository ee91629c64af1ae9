//! Control frames, which open and close a stream.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::CONTENT_TYPE;
use crate::closed_set::closed_set;

/// The longest control frame, in bytes, without its escape and length (`FSTRM_CONTROL_FRAME_LENGTH_MAX`).
pub const MAX_CONTROL_LENGTH: usize = 512;

/// The longest content type, in bytes (`FSTRM_CONTROL_FIELD_CONTENT_TYPE_LENGTH_MAX`).
pub(super) const MAX_CONTENT_TYPE_LENGTH: usize = 256;

closed_set! {
    /// The type of a control frame. The labels are the names in the specification. The variants are in the order of
    /// their numbers on the wire, from 1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum ControlKind {
        /// The reader accepts one of the content types that READY offered.
        Accept => "ACCEPT",
        /// Data frames follow.
        Start => "START",
        /// No more data frames follow.
        Stop => "STOP",
        /// The writer offers content types.
        Ready => "READY",
        /// The reader has read everything up to STOP.
        Finish => "FINISH",
    }
}

/// A control frame within the limits of the protocol.
///
/// ```
/// use tapfan::internals::{CONTENT_TYPE, Control, ControlKind};
///
/// let frame = Control::ready().encode();
/// let (header, body) = frame.split_at(8);
/// assert_eq!(header, [0, 0, 0, 0, 0, 0, 0, 34]);
/// let control = Control::parse(body)?;
/// assert_eq!(control.kind(), ControlKind::Ready);
/// assert!(control.accepts(CONTENT_TYPE));
/// # Ok::<(), tapfan::internals::ControlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    kind: ControlKind,
    content_types: Vec<Bytes>,
}

/// The reason why bytes are not a usable control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ControlError {
    /// A data frame of this length in a place where only a control frame is allowed.
    #[error("a data frame of {0} bytes in a place where only a control frame is allowed")]
    NotControl(u32),
    /// Longer than [`MAX_CONTROL_LENGTH`].
    #[error(
        "a control frame of {0} bytes, more than the {MAX_CONTROL_LENGTH} that Frame Streams allows"
    )]
    TooLong(u32),
    /// The control frame ends in the middle of its type or of a field.
    #[error("a control frame that ends in the middle of its type or of a field")]
    Truncated,
    /// An unknown type. In mid-stream such a frame must be skipped (`control.h`).
    #[error("a control frame of unknown type {0}")]
    UnknownKind(u32),
    /// An unknown field.
    #[error("a control frame with a field of unknown type {0}")]
    UnknownField(u32),
    /// A content type longer than `MAX_CONTENT_TYPE_LENGTH`.
    #[error(
        "a content type of {0} bytes, more than the {MAX_CONTENT_TYPE_LENGTH} that Frame Streams allows"
    )]
    ContentTypeTooLong(usize),
    /// More content types than allowed. START may have one; STOP and FINISH may have none.
    #[error("{kind} with {count} content types, more than allowed")]
    TooManyContentTypes {
        /// The type of the frame.
        kind: ControlKind,
        /// The number of its content types.
        count: usize,
    },
    /// A control frame that is not allowed at this point.
    #[error("{0} is not allowed at this point")]
    OutOfPlace(ControlKind),
    /// More than this many control frames in a row that have no meaning in mid-stream.
    #[error(
        "more than {0} control frames that have no meaning in mid-stream (a second START, unknown types), with almost no data frames between them"
    )]
    TooMany(u32),
}

const FIELD_CONTENT_TYPE: u32 = 1;

/// The type of the control frame with which a collector asks a sender to end its stream with STOP. Frame Streams has no
/// frame for this, so tapfan adds its own, and sends it only to senders that [understand it](Control::understands_end_request).
/// The number is "tapf" in ASCII.
pub(super) const END_REQUEST: u32 = u32::from_be_bytes(*b"tapf");

// === impl ControlKind ===

impl ControlKind {
    /// Returns the type with this number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// Returns the number on the wire.
    pub const fn number(self) -> u32 {
        self as u32 + 1
    }
}

// === impl Control ===

impl Control {
    /// Creates a control frame.
    ///
    /// # Errors
    /// If a content type, their number or the whole frame exceeds the limits of the protocol.
    pub fn new(kind: ControlKind, content_types: Vec<Bytes>) -> Result<Self, ControlError> {
        check_count(kind, content_types.len())?;
        if let Some(long) = content_types
            .iter()
            .find(|content_type| content_type.len() > MAX_CONTENT_TYPE_LENGTH)
        {
            return Err(ControlError::ContentTypeTooLong(long.len()));
        }
        let control = Self {
            kind,
            content_types,
        };
        let length = control.body_length();
        if length > MAX_CONTROL_LENGTH {
            return Err(ControlError::TooLong(
                u32::try_from(length).unwrap_or(u32::MAX),
            ));
        }
        Ok(control)
    }

    /// Creates a READY frame that offers dnstap.
    pub fn ready() -> Self {
        Self::dnstap(ControlKind::Ready)
    }

    /// Creates a READY frame that offers dnstap, and says that the sender understands [`end_request`]. To say so, it
    /// offers dnstap twice: the protocol allows any number of content types, and every collector looks for its own
    /// among them.
    pub fn ready_for_end_request() -> Self {
        let dnstap = Bytes::from_static(CONTENT_TYPE);
        Self {
            kind: ControlKind::Ready,
            content_types: vec![dnstap.clone(), dnstap],
        }
    }

    /// Returns whether this frame is [`ready_for_end_request`](Self::ready_for_end_request).
    pub(super) fn understands_end_request(&self) -> bool {
        *self == Self::ready_for_end_request()
    }

    /// Creates an ACCEPT frame that accepts dnstap.
    pub fn accept() -> Self {
        Self::dnstap(ControlKind::Accept)
    }

    /// Creates the START frame of a dnstap stream.
    pub fn start() -> Self {
        Self::dnstap(ControlKind::Start)
    }

    /// Creates a STOP frame.
    pub fn stop() -> Self {
        Self::bare(ControlKind::Stop)
    }

    /// Creates a FINISH frame.
    pub fn finish() -> Self {
        Self::bare(ControlKind::Finish)
    }

    fn bare(kind: ControlKind) -> Self {
        Self {
            kind,
            content_types: Vec::new(),
        }
    }

    fn dnstap(kind: ControlKind) -> Self {
        Self {
            kind,
            content_types: vec![Bytes::from_static(CONTENT_TYPE)],
        }
    }

    /// Parses the type and the fields of a control frame: the part after its escape and length.
    ///
    /// This function accepts exactly the frames that libfstrm's `fstrm_control_decode` accepts. These are errors: an
    /// unknown field, more than one content type in START, any content type in STOP or FINISH. The type is checked
    /// first, so an unknown type is always [`ControlError::UnknownKind`], even if the fields are malformed.
    ///
    /// # Errors
    /// See [`ControlError`]. Never returns [`ControlError::NotControl`] or [`ControlError::OutOfPlace`], because these
    /// errors depend on the surrounding stream.
    pub fn parse(body: &[u8]) -> Result<Self, ControlError> {
        if body.len() > MAX_CONTROL_LENGTH {
            return Err(ControlError::TooLong(
                u32::try_from(body.len()).unwrap_or(u32::MAX),
            ));
        }
        let (number, mut rest) = split_u32(body)?;
        let kind = ControlKind::from_number(number).ok_or(ControlError::UnknownKind(number))?;
        let mut content_types = Vec::new();
        while !rest.is_empty() {
            let (field, after) = split_u32(rest)?;
            if field != FIELD_CONTENT_TYPE {
                return Err(ControlError::UnknownField(field));
            }
            let (length, after) = split_u32(after)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let (content_type, after) = after
                .split_at_checked(length)
                .ok_or(ControlError::Truncated)?;
            if length > MAX_CONTENT_TYPE_LENGTH {
                return Err(ControlError::ContentTypeTooLong(length));
            }
            content_types.push(Bytes::copy_from_slice(content_type));
            rest = after;
        }
        check_count(kind, content_types.len())?;
        Ok(Self {
            kind,
            content_types,
        })
    }

    /// Returns the type.
    pub fn kind(&self) -> ControlKind {
        self.kind
    }

    /// Returns the content types, in order.
    pub fn content_types(&self) -> &[Bytes] {
        &self.content_types
    }

    /// Returns whether `wanted` is among the content types. A frame without content types accepts any.
    pub fn accepts(&self, wanted: &[u8]) -> bool {
        self.content_types.is_empty() || self.content_types.iter().any(|offered| offered == wanted)
    }

    /// Returns the whole frame in its wire form: escape, length, type, fields.
    pub fn encode(&self) -> Bytes {
        let mut wire = BytesMut::with_capacity(8 + self.body_length());
        self.encode_into(&mut wire);
        wire.freeze()
    }

    /// Appends the whole frame to `wire`.
    ///
    /// # Panics
    /// If `wire` has too little space and cannot grow. A control frame has at most 8 + [`MAX_CONTROL_LENGTH`]
    /// bytes.
    pub fn encode_into(&self, wire: &mut impl BufMut) {
        wire.put_u32(0);
        put_length(wire, self.body_length());
        wire.put_u32(self.kind.number());
        for content_type in &self.content_types {
            wire.put_u32(FIELD_CONTENT_TYPE);
            put_length(wire, content_type.len());
            wire.put_slice(content_type);
        }
    }

    fn body_length(&self) -> usize {
        let fields = self.content_types.iter().map(|field| 8 + field.len());
        4 + fields.sum::<usize>()
    }
}

/// Returns the whole control frame with which a collector asks a sender to end its stream with STOP. The collector answers
/// that STOP with FINISH. If the collector closed its side of the connection instead, it could no longer send FINISH, and
/// the sender would not know which frames the collector has read.
pub fn end_request() -> [u8; 12] {
    let mut wire = [0; 12];
    wire[7] = 4;
    wire[8..].copy_from_slice(&END_REQUEST.to_be_bytes());
    wire
}

fn check_count(kind: ControlKind, count: usize) -> Result<(), ControlError> {
    let allowed = match kind {
        ControlKind::Ready | ControlKind::Accept => usize::MAX,
        ControlKind::Start => 1,
        ControlKind::Stop | ControlKind::Finish => 0,
    };
    if count > allowed {
        return Err(ControlError::TooManyContentTypes { kind, count });
    }
    Ok(())
}

fn split_u32(bytes: &[u8]) -> Result<(u32, &[u8]), ControlError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(ControlError::Truncated)?;
    Ok((u32::from_be_bytes(*number), rest))
}

/// Writes a length. In a [`Control`] no length exceeds [`MAX_CONTROL_LENGTH`].
fn put_length(wire: &mut impl BufMut, length: usize) {
    wire.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(kind: u32, fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut body = kind.to_be_bytes().to_vec();
        for (field, value) in fields {
            body.put_u32(*field);
            put_length(&mut body, value.len());
            body.extend_from_slice(value);
        }
        body
    }

    /// Compares START with the beginning of a capture that libfstrm wrote.
    #[test]
    fn start_is_what_real_servers_write() {
        let wire = Control::start().encode();
        let recorded = include_bytes!("../../tests/data/unbound.fstrm");
        assert_eq!(recorded[..wire.len()], wire);
        assert_eq!(&wire[..16], b"\0\0\0\0\0\0\0\x22\0\0\0\x02\0\0\0\x01");
    }

    #[test]
    fn stop_and_finish_have_no_fields() {
        assert_eq!(
            &Control::stop().encode()[..],
            b"\0\0\0\0\0\0\0\x04\0\0\0\x03"
        );
        assert_eq!(
            &Control::finish().encode()[..],
            b"\0\0\0\0\0\0\0\x04\0\0\0\x05"
        );
    }

    #[test]
    fn a_frame_without_content_types_accepts_any() {
        let any = Control::parse(&body(4, &[])).expect("READY");
        assert!(any.accepts(CONTENT_TYPE));
        let several = Control::parse(&body(4, &[(1, b"a"), (1, CONTENT_TYPE)])).expect("READY");
        assert!(several.accepts(CONTENT_TYPE));
        assert!(!several.accepts(b"b"));
        let empty = Control::parse(&body(4, &[(1, b"")])).expect("READY");
        assert!(
            !empty.accepts(CONTENT_TYPE),
            "an empty content type counts as one"
        );
    }

    #[test]
    fn what_libfstrm_refuses_is_refused() {
        let long = [b'x'; 257];
        for (body, error) in [
            (vec![], ControlError::Truncated),
            (vec![0, 0, 0], ControlError::Truncated),
            (body(0, &[]), ControlError::UnknownKind(0)),
            (body(6, &[(7, b"")]), ControlError::UnknownKind(6)),
            (body(4, &[(2, b"x")]), ControlError::UnknownField(2)),
            (
                [body(4, &[]), vec![0, 0, 0, 1, 0]].concat(),
                ControlError::Truncated,
            ),
            (
                [body(4, &[]), vec![0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]].concat(),
                ControlError::Truncated,
            ),
            (
                body(4, &[(1, &long)]),
                ControlError::ContentTypeTooLong(257),
            ),
            (
                body(2, &[(1, b"a"), (1, b"b")]),
                ControlError::TooManyContentTypes {
                    kind: ControlKind::Start,
                    count: 2,
                },
            ),
            (
                body(3, &[(1, b"a")]),
                ControlError::TooManyContentTypes {
                    kind: ControlKind::Stop,
                    count: 1,
                },
            ),
            (vec![0; 513], ControlError::TooLong(513)),
        ] {
            assert_eq!(Control::parse(&body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn new_enforces_the_limits_of_parse() {
        let long = Bytes::from_static(&[b'x'; 256]);
        assert!(Control::new(ControlKind::Ready, vec![long.clone()]).is_ok());
        assert_eq!(
            Control::new(ControlKind::Ready, vec![long.clone(), long]),
            Err(ControlError::TooLong(4 + 2 * (8 + 256)))
        );
        assert_eq!(
            Control::new(ControlKind::Finish, vec![Bytes::new()]),
            Err(ControlError::TooManyContentTypes {
                kind: ControlKind::Finish,
                count: 1
            })
        );
    }

    fn kinds() -> impl Strategy<Value = ControlKind> {
        (1_u32..=5).prop_map(|number| ControlKind::from_number(number).expect("one of the five"))
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            kind in kinds(),
            content_types in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4),
        ) {
            let content_types: Vec<Bytes> = content_types.into_iter().map(Bytes::from).collect();
            if let Ok(control) = Control::new(kind, content_types.clone()) {
                let wire = control.encode();
                let length = u32::from_be_bytes(*wire[4..].first_chunk().expect("a length"));
                prop_assert_eq!(&wire[..4], &[0; 4]);
                prop_assert_eq!(length as usize, wire.len() - 8);
                prop_assert_eq!(Control::parse(&wire[8..]), Ok(control));
            } else {
                let mut wire = Vec::new();
                Control { kind, content_types }.encode_into(&mut wire);
                prop_assert!(Control::parse(&wire[8..]).is_err(), "new and parse disagree");
            }
        }

        #[test]
        fn parse_never_panics(body in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Control::parse(&body);
        }

        /// The bodies begin correctly, so they reach more of the parser than random bytes.
        #[test]
        fn accepted_bodies_are_encoded_unchanged(
            kind in 0_u32..8,
            fields in prop::collection::vec((0_u32..3, 0_u32..40, prop::collection::vec(any::<u8>(), 0..40)), 0..4),
        ) {
            let mut body = kind.to_be_bytes().to_vec();
            for (field, length, value) in fields {
                body.put_u32(field);
                body.put_u32(length);
                body.extend_from_slice(&value);
            }
            if let Ok(control) = Control::parse(&body) {
                prop_assert_eq!(&control.encode()[8..], &body[..]);
            }
        }
    }
}
