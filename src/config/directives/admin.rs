//! `admin ADDR { … }` or `admin off`, `probes ADDR { … }` and `ready_when WORD`: where the router answers, and what.

use std::net::SocketAddr;

use super::{
    super::{
        AdminAddress, ReadyWhen,
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
        parser::Statement,
    },
    Findings, Read, bad_address, only_argument,
    options::{self, Options, Spec, Value},
};
use crate::net::{AddressError, Host, socket_address};

pub(super) const OPTIONS: &[Spec] = &[Spec {
    name: "host",
    value: Value::Several("NAME …"),
}];

/// An address to serve at, and the hosts that clients may ask for there.
#[derive(Debug, Clone, Default)]
pub(super) struct Served<A> {
    pub(super) address: A,
    pub(super) hosts: Vec<Host>,
}

/// Reads an `admin` line: an address, or `off`.
pub(super) fn read<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, Served<AdminAddress>> {
    let options = options::read(statement, OPTIONS, findings);
    let hosts = hosts(&options, findings);
    let argument = only_argument(statement, "admin 127.0.0.1:9180", findings);
    let meaning = argument.and_then(|argument| match argument.text.as_str() {
        "off" => Some(AdminAddress::Off),
        _ => address(argument, findings).map(AdminAddress::At),
    });
    if let (Some(AdminAddress::At(address)), Some(argument)) = (meaning, argument)
        && !address.ip().is_loopback()
    {
        findings.report(
            argument
                .warning(
                    "the admin endpoint can be reached from other machines",
                    "this is no loopback address",
                )
                .note("without a password, it shows names, addresses and errors, and takes a log level")
                .help("write `admin 127.0.0.1:9180`, and `probes` with this address for probes and metrics"),
        );
    }
    if let (Some(AdminAddress::Off), Some(given)) = (meaning, options.get("host")) {
        findings.report(
            given
                .name
                .warning("`admin off` answers to no host", "this has no effect")
                .help("remove it, or give `admin` an address"),
        );
    }
    Read {
        statement,
        meaning: meaning.map(|address| Served { address, hosts }),
    }
}

/// Reads a `probes` line.
pub(super) fn probes<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, Served<SocketAddr>> {
    let options = options::read(statement, OPTIONS, findings);
    let hosts = hosts(&options, findings);
    let argument = only_argument(statement, "probes 0.0.0.0:9181", findings);
    let meaning = argument.and_then(|argument| address(argument, findings));
    Read {
        statement,
        meaning: meaning.map(|address| Served { address, hosts }),
    }
}

/// Reads the values of `host`: names and addresses, without a port.
fn hosts(options: &Options<'_>, findings: &mut Findings<'_>) -> Vec<Host> {
    let mut hosts = Vec::new();
    for value in options.all("host") {
        match value.text.parse::<Host>() {
            Ok(host) if hosts.contains(&host) => findings.report(
                value
                    .warning("this host is given twice", "again here")
                    .help("remove it"),
            ),
            Ok(host) => hosts.push(host),
            Err(error) => findings.report(bad_host(value, &error)),
        }
    }
    hosts
}

fn bad_host(value: &Token, error: &AddressError) -> Diagnostic {
    let text = value.text.as_str();
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split_once('/').map_or(bare, |(host, _)| host);
    let without_port = match bare.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => bare,
    };
    if without_port != text && without_port.parse::<Host>().is_ok() {
        let problem = value.error(
            "`host` takes a name or an IP address, and nothing around it",
            "more than a host",
        );
        return value.propose(problem, "write only the host".to_owned(), without_port);
    }
    let problem = value.error(error.to_string(), "a value of `host`");
    problem.help("write a name or an IP address, as in `edge-1.example.net`")
}

/// What a `ready_when` line says.
pub(super) fn ready_when<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, ReadyWhen> {
    options::read(statement, &[], findings);
    let argument = only_argument(statement, "ready_when any", findings);
    let meaning = argument.and_then(|argument| {
        let word = argument.text.as_str();
        let known = ReadyWhen::ALL.into_iter().find(|when| when.word() == word);
        if known.is_none() {
            let words = ReadyWhen::ALL.map(ReadyWhen::word);
            let problem = argument.error(
                format!("`ready_when` knows no `{}`", shown(word)),
                "what readiness asks of the sinks",
            );
            findings.report(match nearest(word, words) {
                Some(meant) => argument.propose(problem, format!("did you mean `{meant}`?"), meant),
                None => problem.help("write `always`, `any` or `all`"),
            });
        }
        known
    });
    Read { statement, meaning }
}

fn address(argument: &Token, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    socket_address(&argument.text)
        .map_err(|error| findings.report(bad_address(argument, &error)))
        .ok()
}
