//! `memory SIZE`: what the router may hold for frames, all in all.

use std::ops::RangeInclusive;

use super::{
    super::{parser::Statement, quantity},
    Findings, Read, only_argument, options,
};

const BOUNDS: RangeInclusive<u64> = 8 << 20..=1 << 50;

pub(super) fn read<'a>(statement: &'a Statement, findings: &mut Findings<'_>) -> Read<'a, usize> {
    options::read(statement, &[], findings);
    let argument = only_argument(statement, "memory 192MiB", findings);
    let meaning = argument.and_then(|argument| {
        quantity::size(&argument.text, &BOUNDS)
            .map_err(|error| findings.report(options::bad_quantity(argument, "memory", &error)))
            .ok()
    });
    Read {
        statement,
        meaning: meaning.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    }
}
