//! The control frames that a collector sends back in an open stream. Only FINISH has a meaning there.

use std::time::Instant;

use super::{
    Allowance,
    control::{ControlError, ControlKind, END_REQUEST, MAX_CONTROL_LENGTH},
};

/// An incremental parser for the collector's side of an open stream. It accepts the bytes in pieces of any size and
/// never allocates.
///
/// Control frames of unknown types are skipped, as `control.h` requires, up to a [limit](ControlError::TooMany). Fields
/// are also skipped. Data frames, and control frames that a collector must not send here, are errors. After an error
/// the connection should be closed. Bytes after FINISH are ignored.
///
/// ```
/// use tapfan::internals::{BackChannel, Control};
///
/// let finish = Control::finish().encode();
/// let mut back = BackChannel::new();
/// assert!(!back.feed(&finish[..5])?);
/// assert!(back.feed(&finish[5..])?);
/// # Ok::<(), tapfan::internals::ControlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BackChannel {
    state: State,
    /// The bytes read so far of the next number.
    number: [u8; 4],
    filled: usize,
    unknown: Allowance,
    is_asked_to_end: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Escape,
    Length,
    Kind {
        length: usize,
    },
    /// The parser is within the fields of a control frame. `left` bytes of these fields have not arrived yet.
    Fields {
        kind: Option<ControlKind>,
        left: usize,
    },
    Finished,
    Failed(ControlError),
}

// === impl BackChannel ===

impl BackChannel {
    /// Creates a parser for the bytes after ACCEPT.
    pub const fn new() -> Self {
        Self {
            state: State::Escape,
            number: [0; 4],
            filled: 0,
            unknown: Allowance::new(),
            is_asked_to_end: false,
        }
    }

    /// Returns whether the collector has asked for the end of the stream with [`end_request`](super::end_request). The
    /// collector answers STOP with FINISH after that, as usual.
    pub const fn is_asked_to_end(&self) -> bool {
        self.is_asked_to_end
    }

    /// Parses all of `bytes`. Returns whether FINISH was among them. After STOP, FINISH means that the collector has
    /// read everything. Before STOP, it means that the collector wants no more frames.
    ///
    /// # Errors
    /// If the collector violates the protocol. All later calls return the same error.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, ControlError> {
        loop {
            match self.state {
                State::Escape => {
                    let Some(first) = self.take_number(&mut bytes) else {
                        return Ok(false);
                    };
                    self.state = if first == 0 {
                        State::Length
                    } else {
                        State::Failed(ControlError::NotControl(first))
                    };
                }
                State::Length => {
                    let Some(length) = self.take_number(&mut bytes) else {
                        return Ok(false);
                    };
                    self.state = match length as usize {
                        0..4 => State::Failed(ControlError::Truncated),
                        length @ 4..=MAX_CONTROL_LENGTH => State::Kind { length },
                        _ => State::Failed(ControlError::TooLong(length)),
                    };
                }
                State::Kind { length } => {
                    let Some(number) = self.take_number(&mut bytes) else {
                        return Ok(false);
                    };
                    self.is_asked_to_end |= number == END_REQUEST;
                    self.state = State::Fields {
                        kind: ControlKind::from_number(number),
                        left: length - 4,
                    };
                }
                State::Fields { kind, left } => {
                    let Some(rest) = bytes.get(left..) else {
                        let left = left - bytes.len();
                        self.state = State::Fields { kind, left };
                        return Ok(false);
                    };
                    bytes = rest;
                    self.state = match kind {
                        None => match self.unknown.spend(Instant::now()) {
                            Ok(()) => State::Escape,
                            Err(error) => State::Failed(error),
                        },
                        Some(ControlKind::Finish) => {
                            self.state = State::Finished;
                            return Ok(true);
                        }
                        Some(kind) => State::Failed(ControlError::OutOfPlace(kind)),
                    };
                }
                State::Finished => return Ok(false),
                State::Failed(error) => return Err(error),
            }
        }
    }

    fn take_number(&mut self, bytes: &mut &[u8]) -> Option<u32> {
        while self.filled < self.number.len() {
            let (byte, rest) = bytes.split_first()?;
            self.number[self.filled] = *byte;
            self.filled += 1;
            *bytes = rest;
        }
        self.filled = 0;
        Some(u32::from_be_bytes(self.number))
    }
}

impl Default for BackChannel {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame_stream::{Control, end_request};

    type Outcome = Result<bool, ControlError>;

    fn whole(bytes: &[u8]) -> Outcome {
        BackChannel::new().feed(bytes)
    }

    /// Feeds the bytes one by one. Returns the first event, and checks that no other event follows.
    fn bytewise(bytes: &[u8]) -> Outcome {
        let mut back = BackChannel::new();
        let mut outcome = Ok(false);
        for byte in bytes {
            let now = back.feed(std::slice::from_ref(byte));
            match (outcome, now) {
                (Ok(false), _) => outcome = now,
                (Ok(true), _) => assert_eq!(now, Ok(false), "silent after FINISH"),
                (Err(_), _) => assert_eq!(now, outcome, "an error stays"),
            }
        }
        outcome
    }

    fn unknown(kind: u32, fields: usize) -> Vec<u8> {
        let mut frame = vec![0; 4];
        frame.extend_from_slice(&u32::try_from(4 + fields).expect("small").to_be_bytes());
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.resize(frame.len() + fields, 0xaa);
        frame
    }

    #[test]
    fn finish_is_found_after_unknown_frames() {
        let stream = [
            unknown(6, 0),
            unknown(77, 508),
            Control::finish().encode().to_vec(),
            b"whatever".to_vec(),
        ]
        .concat();
        assert_eq!(whole(&stream), Ok(true));
        assert_eq!(bytewise(&stream), Ok(true));
    }

    #[test]
    fn a_request_to_end_is_found_and_finish_still_follows() {
        let mut back = BackChannel::new();
        assert_eq!(back.feed(&unknown(6, 0)), Ok(false));
        assert!(!back.is_asked_to_end());
        assert_eq!(back.feed(&end_request()), Ok(false));
        assert!(back.is_asked_to_end());
        assert_eq!(back.feed(&Control::finish().encode()), Ok(true));
    }

    #[test]
    fn forbidden_frames_are_errors() {
        for (bytes, error) in [
            (b"HTTP".to_vec(), ControlError::NotControl(0x4854_5450)),
            (unknown(6, 509), ControlError::TooLong(513)),
            (b"\0\0\0\0\0\0\0\x03".to_vec(), ControlError::Truncated),
            (
                Control::accept().encode().to_vec(),
                ControlError::OutOfPlace(ControlKind::Accept),
            ),
            (
                Control::stop().encode().to_vec(),
                ControlError::OutOfPlace(ControlKind::Stop),
            ),
        ] {
            assert_eq!(whole(&bytes), Err(error));
            assert_eq!(bytewise(&bytes), Err(error));
        }
    }

    #[test]
    fn unknown_frames_are_skipped_up_to_a_limit() {
        assert_eq!(whole(&unknown(6, 0).repeat(64)), Ok(false));
        let flood = unknown(6, 0).repeat(65);
        assert_eq!(whole(&flood), Err(ControlError::TooMany(64)));
        assert_eq!(bytewise(&flood), Err(ControlError::TooMany(64)));
    }

    #[test]
    fn an_incomplete_frame_is_not_an_event() {
        let finish = Control::finish().encode();
        for length in 0..finish.len() {
            assert_eq!(whole(&finish[..length]), Ok(false));
        }
    }

    proptest! {
        #[test]
        fn the_outcome_does_not_depend_on_the_pieces(
            frames in prop::collection::vec(
                prop_oneof![
                    4 => (6_u32..9, 0_usize..30).prop_map(|(kind, fields)| unknown(kind, fields)),
                    1 => Just(Control::finish().encode().to_vec()),
                    1 => Just(Control::start().encode().to_vec()),
                    1 => prop::collection::vec(any::<u8>(), 0..12),
                ],
                0..6,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let stream = frames.concat();
            let expected = whole(&stream);
            prop_assert_eq!(bytewise(&stream), expected);
            let mut back = BackChannel::new();
            let (head, tail) = stream.split_at(cut.index(stream.len() + 1));
            let outcome = match back.feed(head) {
                Ok(false) => back.feed(tail),
                early => early,
            };
            prop_assert_eq!(outcome, expected);
        }
    }
}
