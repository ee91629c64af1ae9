//! `refresh MIN MAX`: when a sink's name is looked up anew.

use std::{ops::RangeInclusive, time::Duration};

use super::super::{
    Findings,
    options::{self, Options},
};
use crate::{
    config::{Refresh, lexer::Token, quantity},
    net::Endpoint,
};

const BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

pub(super) fn read(
    socket: &Token,
    endpoint: &Endpoint,
    options: &Options<'_>,
    findings: &mut Findings<'_>,
) -> Refresh {
    let default = Refresh::default();
    let Some(given) = options.get("refresh") else {
        return default;
    };
    let [min, max] = given.values else {
        return default;
    };
    if !endpoint.is_named() {
        findings.report(
            given
                .name
                .warning("`refresh` has no effect here", "nothing is looked up")
                .at(socket.span, "this is no name")
                .help("remove it"),
        );
    }
    let mut time = |value: &Token| {
        quantity::time(&value.text, &BOUNDS)
            .map_err(|error| findings.report(options::bad_quantity(value, "refresh", &error)))
            .ok()
    };
    let (Some(from), Some(to)) = (time(min), time(max)) else {
        return default;
    };
    if from > to {
        let right = format!("{} {}", max.text, min.text);
        let problem = min
            .error("MIN is larger than MAX", "this is MIN")
            .at(max.span, "this is MAX");
        findings.report(
            problem
                .help(format!("write `refresh {right}`"))
                .replace(min.span.to(max.span), right),
        );
    }
    Refresh { min: from, max: to }
}
