//! `drain DURATION`: how long the way out may take.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    super::{parser::Statement, quantity},
    Findings, Read, only_argument, options,
};

/// When there is no such line.
pub(super) const DEFAULT: Duration = Duration::from_secs(10);

const BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);

pub(super) fn read<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, Duration> {
    options::read(statement, &[], findings);
    let argument = only_argument(statement, "drain 10s", findings);
    let meaning = argument.and_then(|argument| {
        quantity::time(&argument.text, &BOUNDS)
            .map_err(|error| findings.report(options::bad_quantity(argument, "drain", &error)))
            .ok()
    });
    Read { statement, meaning }
}
