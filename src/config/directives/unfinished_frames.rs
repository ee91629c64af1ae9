//! `unfinished_frames SIZE`: the memory of frames that have begun and not ended.

use std::ops::RangeInclusive;

use super::{
    super::{parser::Statement, quantity},
    Findings, Read, only_argument, options,
};

/// The size if there is no such line.
pub(super) const DEFAULT: usize = 64 << 20;

const BOUNDS: RangeInclusive<u64> = 1 << 20..=1 << 40;

pub(super) fn read<'a>(statement: &'a Statement, findings: &mut Findings<'_>) -> Read<'a, usize> {
    options::read(statement, &[], findings);
    let argument = only_argument(statement, "unfinished_frames 64MiB", findings);
    let meaning = argument.and_then(|argument| {
        quantity::size(&argument.text, &BOUNDS)
            .map_err(|error| {
                findings.report(options::bad_quantity(argument, "unfinished_frames", &error));
            })
            .ok()
    });
    Read {
        statement,
        meaning: meaning.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    }
}
