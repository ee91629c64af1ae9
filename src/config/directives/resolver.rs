//! `resolver { … }`: the name servers for sinks whose address is a host or domain name.

use std::{sync::Arc, time::Duration};

use super::{
    super::{lexer::Token, parser::Statement, quantity::Time},
    Findings, bad_address, left_over, options,
    row::{Row, Value},
};
use crate::net::{Host, ResolverSettings, name_server_address};

pub(super) const OPTIONS: &[Row<ResolverSettings>] = &[
    Row {
        name: "nameserver",
        value: Value::Several("IP[:PORT] …", |settings, given, findings| {
            for value in given.values {
                match name_server_address(&value.text) {
                    Ok(address) if settings.name_servers.contains(&address) => findings.report(
                        value
                            .warning("this name server is given twice", "again here")
                            .help("remove it"),
                    ),
                    Ok(address) => settings.name_servers.push(address),
                    Err(error) => findings.report(bad_address(value, &error)),
                }
            }
            Some(())
        }),
        default: "as in /etc/resolv.conf",
        doc: "the name servers, at port 53 by default",
        scope: None,
        describe: |settings| joined(&settings.name_servers),
    },
    Row {
        name: "search",
        value: Value::Several("DOMAIN …", |settings, given, findings| {
            let domains = given.values.iter();
            let domains = domains.filter_map(|value| domain(value, findings));
            settings.search.extend(domains);
            Some(())
        }),
        default: "as in /etc/resolv.conf",
        doc: "the search domains, which are appended to a relative name",
        scope: None,
        describe: |settings| joined(&settings.search).or_else(|| without_system(settings, "none")),
    },
    Row {
        name: "ndots",
        value: Value::Number(0..=15, |settings, dots| settings.ndots = Some(dots)),
        default: "as in /etc/resolv.conf",
        doc: "a name with at least this many dots is first looked up as it is, and then with the search domains",
        scope: None,
        describe: |settings| {
            let dots = settings.ndots.map(|dots| dots.to_string());
            dots.or_else(|| without_system(settings, "1"))
        },
    },
    Row {
        name: "timeout",
        value: Value::Time(
            Duration::from_millis(100)..=Duration::from_secs(60),
            |settings, time| settings.timeout = time,
        ),
        default: "6s",
        doc: "the time limit of one lookup, including all its queries and retries",
        scope: None,
        describe: |settings| Some(Time(settings.timeout).to_string()),
    },
];

const USAGE: &str = "write the options in its block, as in `resolver { nameserver 10.96.0.10 }`";

pub(super) fn read(statement: &Statement, findings: &mut Findings<'_>) -> ResolverSettings {
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
    let mut settings = ResolverSettings::default();
    options.apply(&mut settings, None, findings);
    settings
}

fn domain(value: &Token, findings: &mut Findings<'_>) -> Option<Arc<str>> {
    let (message, advice) = match value.text.parse::<Host>() {
        Ok(Host::Name(name)) => return Some(name),
        Ok(Host::Ip { .. }) => (
            "an address is not a search domain".to_owned(),
            "write a name, as in `svc.cluster.local`".to_owned(),
        ),
        Err(error) => (error.to_string(), error.advice()),
    };
    let problem = value.error(message, "a value of `search`");
    findings.report(problem.help(advice));
    None
}

fn joined(items: &[impl ToString]) -> Option<String> {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    (!items.is_empty()).then(|| items.join(" "))
}

/// Returns the text for a setting that was not given, or `None` if no name servers are given. With name servers, tapfan
/// does not use /etc/resolv.conf.
fn without_system(settings: &ResolverSettings, value: &str) -> Option<String> {
    (!settings.name_servers.is_empty()).then(|| value.to_owned())
}
