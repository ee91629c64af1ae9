//! `admin ADDR`: where the admin endpoint is, or `admin off`.

use std::net::SocketAddr;

use super::{super::parser::Statement, Findings, Read, bad_address, only_argument, options};
use crate::net::socket_address;

/// What an `admin` line says: an address, or that there is to be none.
pub(super) fn read<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, Option<SocketAddr>> {
    options::read(statement, &[], findings);
    let argument = only_argument(statement, "admin 127.0.0.1:9180", findings);
    let meaning = argument.and_then(|argument| match argument.text.as_str() {
        "off" => Some(None),
        text => socket_address(text)
            .map_err(|error| findings.report(bad_address(argument, &error)))
            .ok()
            .map(Some),
    });
    Read { statement, meaning }
}
