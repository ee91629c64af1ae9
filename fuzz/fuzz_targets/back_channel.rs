//! Fuzzes the parser for the control frames that a collector sends back to tapfan. However the input is split, the
//! outcome must equal that of an independent parser.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tapfan::internals::{BackChannel, ControlError, ControlKind};
use tapfan_fuzz::Dice;

type Said = Result<bool, ControlError>;

fn in_parts(mut data: &[u8], dice: &mut Dice) -> Said {
    let mut back = BackChannel::new();
    let mut said = Ok(false);
    while !data.is_empty() {
        let (part, rest) = data.split_at(dice.part(data.len()));
        data = rest;
        let now = back.feed(part);
        match said {
            Ok(false) => said = now,
            Ok(true) => assert_eq!(
                now,
                Ok(false),
                "FINISH is reported once, and nothing after it"
            ),
            Err(_) => assert_eq!(now, said, "an error stays"),
        }
    }
    said
}

/// The number of unknown control frames that the parser skips, one after another, before it fails. For each second that
/// passes, the parser may skip one more.
const SKIPPED: u32 = 64;

/// Returns the outcome of an independent parser, which reads whole frames.
fn expected(mut data: &[u8]) -> Said {
    let mut skipped = 0;
    loop {
        let Some((escape, rest)) = data.split_first_chunk::<4>() else {
            return Ok(false);
        };
        if *escape != [0; 4] {
            return Err(ControlError::NotControl(u32::from_be_bytes(*escape)));
        }
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(false);
        };
        let length = match u32::from_be_bytes(*length) {
            0..4 => return Err(ControlError::Truncated),
            length @ 4..=512 => length as usize,
            length => return Err(ControlError::TooLong(length)),
        };
        let Some((body, rest)) = rest.split_at_checked(length) else {
            return Ok(false);
        };
        let kind = body.first_chunk().map(|kind| u32::from_be_bytes(*kind));
        match kind.and_then(ControlKind::from_number) {
            None if skipped == SKIPPED => return Err(ControlError::TooMany(SKIPPED)),
            None => {
                skipped += 1;
                data = rest;
            }
            Some(ControlKind::Finish) => return Ok(true),
            Some(kind) => return Err(ControlError::OutOfPlace(kind)),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((data, mut dice)) = Dice::split(data) else {
        return;
    };
    let begun = Instant::now();
    let at_once = BackChannel::new().feed(data);
    let parts = in_parts(data, &mut dice);
    // The outcome depends on time, because the parser may skip one more unknown control frame for each second that
    // passes. So the outcomes are compared only if the run was fast.
    if begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(at_once, expected(data));
        assert_eq!(parts, at_once);
    }
});
