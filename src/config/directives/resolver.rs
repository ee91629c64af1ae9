//! `resolver { … }`: whom to ask for the addresses of sinks that are given by name.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    super::{lexer::Token, parser::Statement},
    Findings, Read, bad_address, left_over,
    options::{self, Options, Spec, Value},
};
use crate::net::{Host, ResolverSettings, name_server_address};

pub(super) const OPTIONS: &[Spec] = &[
    Spec {
        name: "nameserver",
        value: Value::Several("IP[:PORT] …"),
    },
    Spec {
        name: "search",
        value: Value::Several("DOMAIN …"),
    },
    Spec {
        name: "ndots",
        value: Value::One("N"),
    },
    Spec {
        name: "timeout",
        value: Value::One("TIME"),
    },
];

/// Those of `resolv.conf`.
const NDOTS: RangeInclusive<u64> = 0..=15;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);

const USAGE: &str = "write the options in its block, as in `resolver { nameserver 10.96.0.10 }`";

pub(super) fn read<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, ResolverSettings> {
    let options = options::read(statement, OPTIONS, findings);
    let name = &statement.name;
    if let Some(argument) = statement.arguments.first() {
        findings.report(left_over(name, argument).help(USAGE));
    } else if statement.block.is_none() {
        findings.report(
            name.error("`resolver` needs a block", "no block follows it")
                .help(USAGE),
        );
    }
    Read {
        statement,
        meaning: Some(settings(&options, findings)),
    }
}

fn settings(options: &Options<'_>, findings: &mut Findings<'_>) -> ResolverSettings {
    let default = ResolverSettings::default();
    let mut name_servers = Vec::new();
    for value in options.all("nameserver") {
        match name_server_address(&value.text) {
            Ok(address) if name_servers.contains(&address) => findings.report(
                value
                    .warning("this name server is given twice", "again here")
                    .help("remove it"),
            ),
            Ok(address) => name_servers.push(address),
            Err(error) => findings.report(bad_address(value, &error)),
        }
    }
    let search = options
        .all("search")
        .filter_map(|value| domain(value, findings))
        .collect();
    let ndots = options
        .get("ndots")
        .map(|_| options.number("ndots", &NDOTS, 0, findings));
    ResolverSettings {
        name_servers,
        search,
        ndots: ndots.and_then(|ndots| usize::try_from(ndots).ok()),
        timeout: options.time("timeout", &TIMEOUT, default.timeout, findings),
    }
}

fn domain(value: &Token, findings: &mut Findings<'_>) -> Option<Arc<str>> {
    let (message, advice) = match value.text.parse::<Host>() {
        Ok(Host::Name(name)) => return Some(name),
        Ok(Host::Ip { .. }) => (
            "an address is no domain to search".to_owned(),
            "write a name, as in `svc.cluster.local`".to_owned(),
        ),
        Err(error) => (error.to_string(), error.advice()),
    };
    let problem = value.error(message, "a value of `search`");
    findings.report(problem.help(advice));
    None
}
