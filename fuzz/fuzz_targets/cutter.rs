//! Fuzzes the cutter, which splits the bytes of a stream into frames. If the input arrives in random parts, the outcome
//! must equal that of the whole input, and that of an independent parser.

#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tapfan::internals::{Chunk, Control, ControlError, ControlKind, Cutter, End, validate};
use tapfan_fuzz::Dice;

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    frames: Vec<Vec<u8>>,
    malformed: u64,
    oversize: u64,
    end: Option<End>,
}

fn cut(mut stream: &[u8], limit: u32, mut part: impl FnMut(usize) -> usize) -> Outcome {
    let mut cutter = Cutter::new(limit);
    let mut outcome = Outcome::default();
    let memory = (64 << 10) + 4 * stream.len();
    while !stream.is_empty() && outcome.end.is_none() {
        let buffer = cutter.buffer();
        let room = buffer.capacity() - buffer.len();
        assert!(
            room > 0 && buffer.capacity() <= memory,
            "{}",
            buffer.capacity()
        );
        let (read, rest) = stream.split_at(part(stream.len().min(room)));
        buffer.extend_from_slice(read);
        stream = rest;
        let cut = cutter.cut(Instant::now());
        if let Some(chunk) = cut.chunk {
            let again = Chunk::from_wire(Bytes::copy_from_slice(chunk.wire()));
            assert_eq!(again.expect("whole frames").len(), chunk.len());
            outcome.frames.extend(chunk.frames().map(<[u8]>::to_vec));
        }
        assert_eq!(cut.malformation.is_some(), cut.malformed > 0);
        outcome.malformed += cut.malformed;
        outcome.oversize += cut.oversize;
        outcome.end = cut.end;
    }
    outcome
}

fn expected(mut data: &[u8], limit: u32) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length);
        if length == 0 {
            let Some((length, rest)) = rest.split_first_chunk::<4>() else {
                break;
            };
            let length = u32::from_be_bytes(*length);
            if length > 512 {
                outcome.end = Some(End::Protocol(ControlError::TooLong(length)));
                break;
            }
            let Some((body, rest)) = rest.split_at_checked(length as usize) else {
                break;
            };
            outcome.end = match Control::parse(body) {
                Ok(control) if control.kind() == ControlKind::Stop => Some(End::Stop),
                Ok(_) | Err(ControlError::UnknownKind(_)) => None,
                Err(error) => Some(End::Protocol(error)),
            };
            if outcome.end.is_some() {
                break;
            }
            data = rest;
            continue;
        }
        if length > limit {
            outcome.oversize += 1;
        }
        let Some((frame, rest)) = rest.split_at_checked(length as usize) else {
            break;
        };
        if length <= limit {
            match validate(frame) {
                Ok(()) => outcome.frames.push(frame.to_vec()),
                Err(_) => outcome.malformed += 1,
            }
        }
        data = rest;
    }
    outcome
}

fuzz_target!(|data: &[u8]| {
    let Some((stream, mut dice)) = Dice::split(data) else {
        return;
    };
    let limit = [16, 200, 1 << 16][dice.below(3)];
    let expected = expected(stream, limit);
    assert_eq!(cut(stream, limit, |room| room), expected);
    assert_eq!(cut(stream, limit, |room| dice.part(room)), expected);
});
