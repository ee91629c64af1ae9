//! The option `server_name` of sinks and `connect` lines.

use super::{Findings, row::Given};
use crate::net::Host;

/// Reads the value of `server_name`.
pub(super) fn server_name(given: &Given<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let (message, advice) = match given.word(findings)?.parse::<Host>() {
        Ok(Host::Name(name)) => return Some(name.to_string()),
        Ok(Host::Ip {
            address,
            zone: None,
        }) => return Some(address.to_string()),
        Ok(Host::Ip { zone: Some(_), .. }) => (
            "a certificate cannot contain a zone".to_owned(),
            "write the address without its zone".to_owned(),
        ),
        Err(error) => (error.to_string(), error.advice()),
    };
    let problem = given.value.error(message, "the value of `server_name`");
    findings.report(problem.help(advice));
    None
}
