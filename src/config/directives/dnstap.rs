//! `dnstap SOCKET [full] [writebuffer] [queue] { … }`: where dnstap goes, as `CoreDNS` writes it.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{
    super::{
        Edits, QueueLimits, Sink,
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        nearest::nearest,
        parser::Statement,
        quantity,
    },
    Findings, Read, bad_address, check_relative, file, left_over,
    options::{self, Options, Spec},
};
use crate::net::{ClientTls, Endpoint, Host};

pub(super) const OPTIONS: &[Spec] = &[
    spec("identity", Some("IDENTITY")),
    spec("version", Some("VERSION")),
    spec("extra", Some("EXTRA")),
    spec("skipverify", None),
    spec("name", Some("NAME")),
    spec("ca", Some("FILE")),
    spec("cert", Some("FILE")),
    spec("key", Some("FILE")),
    spec("server_name", Some("NAME")),
    spec("queue_bytes", Some("SIZE")),
];

const TLS_OPTIONS: [&str; 5] = ["skipverify", "ca", "cert", "key", "server_name"];

/// In MiB.
const WRITE_BUFFER: RangeInclusive<u64> = 1..=1024;
/// In units of [`QUEUE_FRAMES`] and [`QUEUE_BYTES`].
const QUEUE: RangeInclusive<u64> = 1..=4096;
const QUEUE_FRAMES: u64 = 10_000;
const QUEUE_BYTES: u64 = 32 << 20;
/// Bounds of `queue_bytes`.
const BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
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

/// What may follow the SOCKET.
#[derive(Debug)]
struct Arguments {
    full: bool,
    write_buffer: u64,
    queue: u64,
}

const fn spec(name: &'static str, value: Option<&'static str>) -> Spec {
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
            let arguments = read_arguments(&statement.name, rest, findings);
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
    let endpoint: Endpoint = socket
        .text
        .parse()
        .map_err(|error| findings.report(bad_address(socket, &error)))
        .ok()?;
    let tls = match &endpoint {
        Endpoint::Tls(_) => Some(client_tls(options, findings)),
        Endpoint::Tcp(_) => None,
        Endpoint::Unix(address) => {
            check_relative(socket, address, findings);
            None
        }
    };
    if tls.is_none() {
        refuse_tls(socket, options, findings);
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
        },
        socket,
        name,
        queue_bytes: options.get("queue_bytes").map(|given| given.value),
    })
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Reads what follows the SOCKET by its meaning, where CoreDNS goes by the position alone.
fn read_arguments(directive: &Token, rest: &[Token], findings: &mut Findings<'_>) -> Arguments {
    let mut values = [("writebuffer", WRITE_BUFFER, 1), ("queue", QUEUE, 1)];
    // A variable that holds `full` or nothing keeps the place, here and there.
    let in_place = |token: &Token| token.text == "full" || token.filled_in && token.text.is_empty();
    let (full, rest) = match rest.split_first() {
        Some((first, rest)) if in_place(first) => (Some(first), rest),
        _ => (None, rest),
    };
    let mut numbers: Vec<&Token> = Vec::new();
    let mut problems = Vec::new();
    for token in rest {
        let digits = token.text.trim_start_matches(['+', '-']);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            problems.push(unknown(directive, full, token));
            continue;
        }
        let Some((name, bounds, value)) = values.get_mut(numbers.len()) else {
            let problem = left_over(directive, token).help(USAGE);
            problems.push(match full {
                Some(_) => problem,
                None => problem.note("CoreDNS ignores what stands in the place of `full`"),
            });
            continue;
        };
        numbers.push(token);
        match quantity::number(&token.text, bounds) {
            Ok(number) => *value = number,
            Err(error) => problems.push(options::bad_quantity(token, name, &error)),
        }
    }
    let arguments = Arguments {
        full: full.is_some_and(|full| full.text == "full"),
        write_buffer: values[0].2,
        queue: values[1].2,
    };
    if full.is_none() && problems.is_empty() {
        problems.extend(without_full(&numbers, &arguments));
    }
    findings.problems.append(&mut problems);
    arguments
}

/// Numbers right after the SOCKET mean something else to CoreDNS than to its manual and to tapfan.
fn without_full(numbers: &[&Token], arguments: &Arguments) -> Option<Diagnostic> {
    let (first, rest) = numbers.split_first()?;
    let ignored = shown(&first.text);
    let theirs = rest
        .first()
        .map_or("1".into(), |second| shown(&second.text));
    let problem = first
        .warning(
            "CoreDNS reads these numbers otherwise",
            "in the place of `full`",
        )
        .note(format!(
            "tapfan reads writebuffer {}, queue {}",
            arguments.write_buffer, arguments.queue
        ))
        .note(format!(
            "CoreDNS ignores the `{ignored}` and reads writebuffer {theirs}, queue 1"
        ));
    Some(problem)
}

/// A word after the SOCKET that is neither `full` in its place nor a number.
fn unknown(directive: &Token, full: Option<&Token>, word: &Token) -> Diagnostic {
    if word.text == "full" {
        let problem = match full {
            Some(first) => word
                .error("`full` is given twice", "for the second time here")
                .at(first.span, "first here"),
            None => word.error(
                "`full` is not in its place",
                "it comes right after the SOCKET",
            ),
        };
        return problem.help(USAGE);
    }
    let problem = left_over(directive, word);
    if OPTIONS.iter().any(|spec| spec.name == word.text) {
        return problem.help(format!(
            "`{}` is an option and belongs in a block: `{{`, a line for each option, and `}}`",
            word.text
        ));
    }
    if word.text.starts_with('{') {
        return problem.help("a `{` that opens a block has white space on both sides");
    }
    if word.text.starts_with('\'') || word.text.ends_with('\'') {
        return problem.help("only double quotes are quotes");
    }
    match nearest(&word.text, ["full"]) {
        Some(meant) if full.is_none() => {
            word.propose(problem, format!("did you mean `{meant}`?"), meant)
        }
        _ => problem.help(USAGE),
    }
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

fn refuse_tls(socket: &Token, options: &Options<'_>, findings: &mut Findings<'_>) {
    for given in options.of(&TLS_OPTIONS) {
        let problem = given
            .name
            .error(
                format!("`{}` is for `tls://` sinks", given.name.text),
                "it has no meaning here",
            )
            .at(socket.span, "this sink does not speak TLS")
            .help("remove it, or make the SOCKET `tls://host:port`");
        findings.report(if given.name.text == "skipverify" {
            problem.note("CoreDNS ignores it here")
        } else {
            problem
        });
    }
}

fn client_tls(options: &Options<'_>, findings: &mut Findings<'_>) -> ClientTls {
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let Some(given) = options.get(one)
            && options.get(other).is_none()
        {
            findings.report(
                given
                    .name
                    .error(format!("`{one}` needs `{other}`"), "this is half of a pair")
                    .help(format!("add `{other} FILE`, or remove `{one}`")),
            );
        }
    }
    let skip_verify = options.get("skipverify");
    if let (Some(skip), Some(ca)) = (skip_verify, options.get("ca")) {
        findings.report(
            ca.name
                .warning("`ca` has no effect here", "nothing is verified against it")
                .at(skip.name.span, "this turns verification off")
                .help("remove one of them"),
        );
    }
    let ca = file(options, "ca", findings);
    let cert = file(options, "cert", findings);
    let key = file(options, "key", findings);
    ClientTls {
        skip_verify: skip_verify.is_some(),
        ca,
        client: cert.zip(key),
        server_name: server_name(options, findings),
    }
}

fn server_name(options: &Options<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let value = options.word("server_name", findings)?.value;
    match value.text.parse::<Host>() {
        Ok(Host::Name(name)) => Some(name.to_string()),
        Ok(Host::Ip {
            address,
            zone: None,
        }) => Some(address.to_string()),
        Ok(Host::Ip { zone: Some(_), .. }) => {
            findings.report(
                value
                    .error("a certificate names no zone", "the value of `server_name`")
                    .help("write the address without its zone"),
            );
            None
        }
        Err(error) => {
            findings.report(
                value
                    .error(error.to_string(), "the value of `server_name`")
                    .help(error.advice()),
            );
            None
        }
    }
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
