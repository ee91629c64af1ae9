//! `admin ADDR` or `admin off`, `probes ADDR` and `ready_when WORD`: who may look, and what they are told.

use std::net::SocketAddr;

use super::{
    super::{
        AdminAddress, ReadyWhen, diagnostics::shown, lexer::Token, nearest::nearest,
        parser::Statement,
    },
    Findings, Read, bad_address, only_argument, options,
};
use crate::net::socket_address;

/// What an `admin` line says: an address, or that there is to be none.
pub(super) fn read<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, AdminAddress> {
    options::read(statement, &[], findings);
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
    Read { statement, meaning }
}

/// What a `probes` line says.
pub(super) fn probes<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, SocketAddr> {
    options::read(statement, &[], findings);
    let argument = only_argument(statement, "probes 0.0.0.0:9181", findings);
    let meaning = argument.and_then(|argument| address(argument, findings));
    Read { statement, meaning }
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
