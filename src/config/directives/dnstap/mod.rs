//! `dnstap SOCKET [full] [writebuffer] [queue] { … }`: where dnstap goes, as `CoreDNS` writes it.

mod arguments;
mod endpoints;
mod refresh;
mod tls;

use std::{ops::RangeInclusive, time::Duration};

use bytes::Bytes;

use super::{
    super::{Edits, QueueLimits, Sink, diagnostics::shown, lexer::Token, parser::Statement},
    Findings, Read, bad_address, check_relative,
    options::{self, Options, Spec, Value},
};
use crate::net::Endpoint;
use arguments::Arguments;

pub(super) const OPTIONS: &[Spec] = &[
    spec("identity", Value::One("IDENTITY")),
    spec("version", Value::One("VERSION")),
    spec("extra", Value::One("EXTRA")),
    spec("skipverify", Value::None),
    spec("name", Value::One("NAME")),
    spec("ca", Value::One("FILE")),
    spec("cert", Value::One("FILE")),
    spec("key", Value::One("FILE")),
    spec("server_name", Value::One("NAME")),
    spec("queue_bytes", Value::One("SIZE")),
    spec("endpoints", Value::One("failover|balance|all")),
    spec("refresh", Value::Two("MIN MAX")),
    spec("write_timeout", Value::One("TIME")),
    spec("max_age", Value::One("TIME")),
];

/// What one unit of the queue holds.
const QUEUE_FRAMES: u64 = 10_000;
const QUEUE_BYTES: u64 = 32 << 20;
/// Bounds of `queue_bytes`.
const BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
/// Bounds of `write_timeout`.
const WRITE_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
/// Bounds of `max_age`: up to a week.
const MAX_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(7 * 24);
/// In bytes.
const NAME_LIMIT: usize = 256;

const USAGE: &str = "the line is `dnstap SOCKET [full] [writebuffer] [queue]`";

/// A sink and where its settings stand.
pub(super) struct Found<'a> {
    /// Its name is the SOCKET as written, whether or not there is a better one.
    pub(super) sink: Sink,
    pub(super) socket: &'a Token,
    /// The name it was given.
    pub(super) name: Option<&'a Token>,
    pub(super) queue_bytes: Option<&'a Token>,
}

const fn spec(name: &'static str, value: Value) -> Spec {
    Spec { name, value }
}

pub(super) fn read<'a>(
    statement: &'a Statement,
    findings: &mut Findings<'_>,
) -> Read<'a, Found<'a>> {
    let options = options::read(statement, OPTIONS, findings);
    let meaning = match statement.arguments.split_first() {
        None => {
            findings.report(
                statement
                    .name
                    .error("`dnstap` needs a SOCKET", "nothing follows it on its line")
                    .help(USAGE),
            );
            None
        }
        Some((socket, _)) if socket.is_word("listen") => {
            findings.report(
                socket
                    .error(
                        "`dnstap listen` is for collectors that dial, and tapfan dials them",
                        "this is no SOCKET",
                    )
                    .help(
                        "to take dnstap in, write `listen URL`; a unix socket of that name is `./listen`",
                    ),
            );
            None
        }
        Some((socket, rest)) => {
            let arguments = arguments::read(&statement.name, rest, findings);
            found(socket, &arguments, &options, findings)
        }
    };
    Read { statement, meaning }
}

fn found<'a>(
    socket: &'a Token,
    arguments: &Arguments,
    options: &Options<'a>,
    findings: &mut Findings<'_>,
) -> Option<Found<'a>> {
    let edits = edits(options, findings);
    let name = name(options, findings);
    let queue_bytes = QUEUE_BYTES * arguments.queue;
    let queue_bytes = options.size("queue_bytes", &BYTES, queue_bytes, findings);
    let default = Sink::WRITE_TIMEOUT;
    let write_timeout = options.time("write_timeout", &WRITE_TIMEOUT, default, findings);
    let max_age = options.get("max_age");
    let max_age = max_age.map(|_| options.time("max_age", &MAX_AGE, *MAX_AGE.end(), findings));
    let endpoint: Endpoint = socket
        .text
        .parse()
        .map_err(|error| findings.report(bad_address(socket, &error)))
        .ok()?;
    let mode = endpoints::read(socket, &endpoint, options, findings);
    let refresh = refresh::read(socket, &endpoint, options, findings);
    let tls = match &endpoint {
        Endpoint::Tls(_) | Endpoint::TlsSrv(_) => Some(tls::read(socket, options, findings)),
        Endpoint::Tcp(_) | Endpoint::TcpSrv(_) => None,
        Endpoint::Unix(address) => {
            check_relative(socket, address, findings);
            None
        }
    };
    if tls.is_none() {
        tls::refuse(socket, options, findings);
    }
    Some(Found {
        sink: Sink {
            name: socket.text.as_str().into(),
            endpoint,
            tls,
            full: arguments.full,
            write_buffer: size(arguments.write_buffer << 20),
            queue: QueueLimits {
                frames: size(arguments.queue * QUEUE_FRAMES),
                bytes: size(queue_bytes),
            },
            edits,
            endpoints: mode,
            refresh,
            write_timeout,
            max_age,
        },
        socket,
        name,
        queue_bytes: options.get("queue_bytes").map(|given| given.value),
    })
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn edits(options: &Options<'_>, findings: &mut Findings<'_>) -> Edits {
    let mut text = |name| {
        let given = options.text(name, findings)?;
        Some((
            given.value,
            Bytes::copy_from_slice(given.value.text.as_bytes()),
        ))
    };
    let identity = text("identity").map(|(_, text)| text);
    let version = text("version").map(|(_, text)| text);
    let extra = text("extra");
    if let Some((token, _)) = &extra
        && let Some(placeholder) = placeholder(&token.text)
    {
        findings.report(
            token
                .warning(
                    format!("`{}` is sent as it stands", shown(placeholder)),
                    "this is literal text",
                )
                .note("placeholders are not replaced in `extra`"),
        );
    }
    Edits {
        identity,
        version,
        extra: extra.map(|(_, text)| text),
    }
}

/// The first part of a text that CoreDNS would replace: `{name}`, `{>id}`, `{/label/name}`.
fn placeholder(text: &str) -> Option<&str> {
    let mut start = 0;
    while let Some(length) = text.get(start..)?.find('}') {
        let end = start + length;
        if let Some(open) = text.get(start..end)?.rfind('{') {
            let name = text.get(start + open + 1..end)?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '>' | '/' | '_' | '-');
            if !name.is_empty() && name.chars().all(is_name) {
                return text.get(start + open..=end);
            }
        }
        start = end + 1;
    }
    None
}

fn name<'a>(options: &Options<'a>, findings: &mut Findings<'_>) -> Option<&'a Token> {
    let value = options.word("name", findings)?.value;
    if value.text.len() > NAME_LIMIT {
        let length = value.text.len();
        findings.report(
            value
                .error("`name` is too long", format!("this has {length} bytes"))
                .help(format!("{NAME_LIMIT} bytes are the limit")),
        );
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_found_as_its_parser_would() {
        for (text, found) in [
            ("{type}", Some("{type}")),
            ("a {>id} b", Some("{>id}")),
            ("{{remote}}", Some("{remote}")),
            ("} {x{/zone/name}", Some("{/zone/name}")),
            ("{a b} {c}", Some("{c}")),
            ("", None),
            ("{}", None),
            ("}{", None),
            ("{\"site\":\"ber\"}", None),
            ("ß}ß", None),
        ] {
            assert_eq!(placeholder(text), found, "{text}");
        }
    }
}
