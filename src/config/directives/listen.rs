//! `listen URL { … }`: where dnstap comes in.

use std::ops::RangeInclusive;

use super::{
    super::{
        Listen, ListenAddress, ListenLimits,
        diagnostics::shown,
        lexer::Token,
        needs::{Need, What},
        parser::Statement,
    },
    Findings, Read, bad_address, check_relative, file, only_argument,
    options::{self, Options, Spec, Value},
};
use crate::net::{BindAddress, ServerTls, UnixAddress, UnixPermissions};

pub(super) const OPTIONS: &[Spec] = &[
    spec("max_connections", "N"),
    spec("max_frame", "SIZE"),
    spec("mode", "0660"),
    spec("owner", "USER"),
    spec("group", "GROUP"),
    spec("cert", "FILE"),
    spec("key", "FILE"),
    spec("client_ca", "FILE"),
];

const UNIX_OPTIONS: [&str; 3] = ["mode", "owner", "group"];
const TLS_OPTIONS: [&str; 3] = ["cert", "key", "client_ca"];

const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
const CONNECTIONS_DEFAULT: u64 = 1024;

const FRAME: RangeInclusive<u64> = 1 << 10..=16 << 20;
const FRAME_DEFAULT: u64 = 1 << 20;

const fn spec(name: &'static str, value: &'static str) -> Spec {
    Spec {
        name,
        value: Value::One(value),
    }
}

pub(super) fn read<'a>(statement: &'a Statement, findings: &mut Findings<'_>) -> Read<'a, Listen> {
    let options = options::read(statement, OPTIONS, findings);
    let limits = limits(&options, findings);
    let meaning = only_argument(statement, "listen tcp://0.0.0.0:6000", findings)
        .and_then(|url| Some((url, address(url, &options, findings)?)))
        .map(|(url, address)| Listen {
            name: url.text.as_str().into(),
            address,
            limits,
        });
    Read { statement, meaning }
}

fn limits(options: &Options<'_>, findings: &mut Findings<'_>) -> ListenLimits {
    let connections = options.number(
        "max_connections",
        &CONNECTIONS,
        CONNECTIONS_DEFAULT,
        findings,
    );
    let frame = options.size("max_frame", &FRAME, FRAME_DEFAULT, findings);
    ListenLimits {
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        frame: u32::try_from(frame).unwrap_or(u32::MAX),
    }
}

fn address(
    url: &Token,
    options: &Options<'_>,
    findings: &mut Findings<'_>,
) -> Option<ListenAddress> {
    let address = url
        .text
        .parse()
        .map_err(|error| findings.report(bad_address(url, &error)))
        .ok()?;
    if !matches!(address, BindAddress::Unix(_)) {
        refuse(url, options, &UNIX_OPTIONS, "unix sockets", findings);
    }
    if !matches!(address, BindAddress::Tls(_)) {
        refuse(url, options, &TLS_OPTIONS, "`tls://` listeners", findings);
    }
    match address {
        BindAddress::Unix(address) => {
            check_relative(url, &address, findings);
            let permissions = permissions(url, &address, options, findings);
            Some(ListenAddress::Unix(address, permissions))
        }
        BindAddress::Tcp(address) => Some(ListenAddress::Tcp(address)),
        BindAddress::Tls(address) => {
            let tls = server_tls(url, options, findings)?;
            Some(ListenAddress::Tls(address, tls))
        }
    }
}

/// Reports options that this kind of listener does not have.
fn refuse(
    url: &Token,
    options: &Options<'_>,
    names: &[&str],
    kind: &str,
    findings: &mut Findings<'_>,
) {
    for given in options.of(names) {
        findings.report(
            given
                .name
                .error(
                    format!("`{}` is for {kind}", given.name.text),
                    "it has no meaning here",
                )
                .at(url.span, "this listener is of another kind")
                .help("remove it"),
        );
    }
}

fn permissions(
    url: &Token,
    address: &UnixAddress,
    options: &Options<'_>,
    findings: &mut Findings<'_>,
) -> UnixPermissions {
    if matches!(address, UnixAddress::Abstract(_)) {
        for given in options.of(&UNIX_OPTIONS) {
            findings.report(
                given
                    .name
                    .warning(
                        format!("`{}` has no effect here", given.name.text),
                        "everybody may connect to an abstract socket",
                    )
                    .at(url.span, "this has no file"),
            );
        }
    }
    let mode = options.get("mode").map(|given| given.value);
    UnixPermissions {
        mode: mode
            .and_then(|mode| read_mode(mode, findings))
            .unwrap_or(UnixPermissions::default().mode),
        owner: account(options, "owner", What::User, findings),
        group: account(options, "group", What::Group, findings),
    }
}

/// A user or group, which the machine must know at the start.
fn account(
    options: &Options<'_>,
    name: &str,
    what: impl FnOnce(String) -> What,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let value = options.word(name, findings)?.value;
    findings.needs.push(Need {
        what: what(value.text.clone()),
        span: value.span,
    });
    Some(value.text.clone())
}

fn read_mode(value: &Token, findings: &mut Findings<'_>) -> Option<u32> {
    let octal = value.text.bytes().all(|b| b.is_ascii_digit());
    match u32::from_str_radix(&value.text, 8) {
        Ok(mode) if octal && mode <= 0o777 => Some(mode),
        _ => {
            findings.report(
                value
                    .error(
                        format!("`{}` is no mode of a socket", shown(&value.text)),
                        "the value of `mode`",
                    )
                    .help("write permission bits in octal, from `0` to `0777`"),
            );
            None
        }
    }
}

fn server_tls(
    url: &Token,
    options: &Options<'_>,
    findings: &mut Findings<'_>,
) -> Option<ServerTls> {
    for name in ["cert", "key"] {
        if options.get(name).is_none() {
            findings.report(
                url.error(
                    format!("a `tls://` listener needs `{name}`"),
                    "this listener has none",
                )
                .help(format!("add `{name} FILE` to its block")),
            );
        }
    }
    let cert = file(options, "cert", findings);
    let key = file(options, "key", findings);
    let client_ca = file(options, "client_ca", findings);
    let tls = ServerTls {
        cert: cert?,
        key: key?,
        client_ca,
    };
    findings.needs.push(Need {
        what: What::ServerTls(tls.clone()),
        span: url.span,
    });
    Some(tls)
}
