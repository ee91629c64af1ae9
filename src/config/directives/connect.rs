//! `connect SOCKET { … }`: DNS servers to which tapfan connects to get their dnstap.

use std::{path::PathBuf, time::Duration};

use super::{
    super::{
        Listen, ListenAddress, Refresh, Remote,
        diagnostics::Diagnostic,
        lexer::Token,
        needs::{Need, What},
        parser::Statement,
        quantity::Time,
    },
    Findings, dnstap, endpoint, guesses,
    listen::{IDENTITY, MAX_FRAME, NAME},
    only_argument, options, placeholder,
    row::{Row, Scope, Value},
    server_name::server_name,
};
use crate::net::{ClientTls, Endpoint};

pub(super) const OPTIONS: &[Row<Listen>] = &[
    Row {
        name: "name",
        value: NAME,
        default: "the SOCKET as written",
        doc: "the name of the line in logs, metrics, status and `from`",
        scope: None,
        describe: |listen| Some(listen.name.to_string()),
    },
    IDENTITY,
    Row {
        name: "max_connections",
        value: Value::Number(1..=1_000_000, |listen, number| {
            listen.limits.connections = number;
        }),
        default: "1024",
        doc: "the largest number of servers of a name to which tapfan connects",
        scope: Some(&NAMED),
        describe: |listen| Some(listen.limits.connections.to_string()),
    },
    MAX_FRAME,
    Row {
        name: "skipverify",
        value: Value::Flag(|listen| tls_mut(listen, |tls| tls.skip_verify = true)),
        default: "off",
        doc: "uses TLS without verifying the certificate of the server",
        scope: Some(&TLS),
        describe: |listen| {
            let skip_verify = tls(listen)?.skip_verify;
            skip_verify.then(|| "on: the certificate is NOT VERIFIED".to_owned())
        },
    },
    Row {
        name: "ca",
        value: Value::File(|listen, file| tls_mut(listen, |tls| tls.ca = Some(file))),
        default: "the system's",
        doc: "the authorities that may sign the certificate of the server, in PEM",
        scope: Some(&TLS),
        describe: |listen| {
            let tls = tls(listen)?;
            let unused = tls.skip_verify.then(|| "unused (skipverify)".to_owned());
            unused.or_else(|| file(tls.ca.as_ref()))
        },
    },
    Row {
        name: "cert",
        value: Value::File(|listen, file| client_mut(listen, |(cert, _)| *cert = file)),
        default: "none",
        doc: "the certificate that tapfan shows to the server, in PEM",
        scope: Some(&TLS),
        describe: |listen| file(tls(listen)?.client.as_ref().map(|(cert, _)| cert)),
    },
    Row {
        name: "key",
        value: Value::File(|listen, file| client_mut(listen, |(_, key)| *key = file)),
        default: "none",
        doc: "the private key of that certificate, in PEM",
        scope: Some(&TLS),
        describe: |listen| file(tls(listen)?.client.as_ref().map(|(_, key)| key)),
    },
    Row {
        name: "server_name",
        value: Value::One("NAME", |listen, given, findings| {
            let name = server_name(given, findings)?;
            tls_mut(listen, |tls| tls.server_name = Some(name));
            Some(())
        }),
        default: "the host or domain of the SOCKET",
        doc: "the name to send in the TLS handshake and to expect in the certificate",
        scope: Some(&TLS),
        describe: |listen| {
            let Remote { endpoint, .. } = listen.remote()?;
            match endpoint {
                Endpoint::TlsSrv(name) if tls(listen)?.server_name.is_none() => {
                    Some(name.domain().trim_end_matches('.').to_owned())
                }
                _ => tls(listen)?.server_name.clone(),
            }
        },
    },
    Row {
        name: "refresh",
        value: Value::Times(
            Duration::from_secs(1)..=Duration::from_secs(60 * 60),
            |listen, min, max| {
                if let Some(remote) = remote_mut(listen) {
                    remote.refresh = Refresh { min, max };
                }
            },
        ),
        default: "5s 1m",
        doc: "the shortest and the longest TTL that tapfan uses for the name",
        scope: Some(&NAMED),
        describe: |listen| {
            let Refresh { min, max } = listen.remote()?.refresh;
            Some(format!("{} {}", Time(min), Time(max)))
        },
    },
];

const USAGE: &str = "write the address of a DNS server that waits for collectors, as in `connect tcp://dns.example:6000`";

/// A `connect` line, and the place of its address in the file.
pub(super) struct Found<'a> {
    pub(super) listen: Listen,
    pub(super) socket: &'a Token,
}

pub(super) fn read<'a>(statement: &'a Statement, findings: &mut Findings<'_>) -> Option<Found<'a>> {
    let options = options::read(statement, OPTIONS, findings);
    let socket = only_argument(statement, USAGE, findings)?;
    if let Some(problem) = guesses::server(socket) {
        findings.report(problem);
        return None;
    }
    let endpoint = endpoint(socket, findings);
    if let Some(problem) = endpoint.as_ref().and_then(|it| not_a_server(it, socket)) {
        findings.report(problem);
        return None;
    }
    let known = endpoint.is_some();
    let endpoint = endpoint.unwrap_or_else(placeholder);
    let mut listen = Listen::to(socket.text.as_str(), endpoint);
    options.apply(&mut listen, known.then_some(socket), findings);
    if let Some(tls) = tls(&listen) {
        dnstap::check_pair(&options, findings);
        findings.needs.push(Need {
            what: What::ClientTls(tls.clone()),
            span: socket.span,
        });
    }
    known.then_some(Found { listen, socket })
}

/// Returns the error for an address at which no DNS server can wait. Returns `None` for other addresses.
fn not_a_server(endpoint: &Endpoint, socket: &Token) -> Option<Diagnostic> {
    match endpoint {
        Endpoint::File(_) => {
            let problem = socket.error("no DNS server waits at a file", "this is a file");
            Some(problem.help("to send the frames of a file, run `tapfan replay`"))
        }
        Endpoint::Kafka(_) => {
            let problem = socket.error("no DNS server waits at Kafka", "this is a topic");
            Some(problem.help("to write to this topic, make it a sink: `dnstap kafka://…`"))
        }
        _ => None,
    }
}

// === scopes ===

const TLS: Scope<Listen> = Scope {
    name: "`tls://` servers",
    applies: |listen| tls(listen).is_some(),
    misplaced: |_, given, socket| {
        let name = given.name.text.as_str();
        let problem = given
            .name
            .error(
                format!("`{name}` is for {}", TLS.name),
                "it has no meaning here",
            )
            .at(socket.span, "this connection does not use TLS");
        problem.help("remove it, or write `tls://`")
    },
};

const NAMED: Scope<Listen> = Scope {
    name: "names",
    applies: |listen| listen.remote().is_some_and(|it| it.endpoint.is_named()),
    misplaced: |_, given, socket| {
        let message = format!("`{}` has no effect here", given.name.text);
        let problem = given.name.warning(message, "there is no name to look up");
        problem
            .at(socket.span, "this is a single address")
            .help("remove it")
    },
};

// === values ===

fn remote_mut(listen: &mut Listen) -> Option<&mut Remote> {
    match &mut listen.address {
        ListenAddress::Remote(remote) => Some(remote),
        _ => None,
    }
}

fn tls(listen: &Listen) -> Option<&ClientTls> {
    listen.remote()?.tls.as_ref()
}

fn tls_mut(listen: &mut Listen, set: impl FnOnce(&mut ClientTls)) {
    if let Some(Remote { tls: Some(tls), .. }) = remote_mut(listen) {
        set(tls);
    }
}

/// Sets the certificate or the key. If one of the two is missing, [`check_pair`](dnstap::check_pair) reports it.
fn client_mut(listen: &mut Listen, set: impl FnOnce(&mut (PathBuf, PathBuf))) {
    tls_mut(listen, |tls| set(tls.client.get_or_insert_default()));
}

fn file(path: Option<&PathBuf>) -> Option<String> {
    Some(path?.display().to_string())
}

#[cfg(all(test, feature = "resolver", feature = "tls"))]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    /// Returns the plain text of the problems with these lines.
    fn problems(lines: &[&str]) -> String {
        let each = lines.iter().map(|line| {
            let text = format!("{line}\ndnstap @out");
            let loaded = parse(Path::new("Tapfile"), &text, &|_| None);
            loaded.diagnostics.to_string()
        });
        each.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn mistakes_are_named() {
        insta::assert_snapshot!(problems(&[
            "connect",
            "connect 6000",
            "connect file:///tmp/taps.fstrm",
            "connect tcp://dns.example",
            "connect tcp://192.0.2.1:6000 { max_connections 4 }",
            "connect tcp://192.0.2.1:6000 { skipverify }",
            "connect tls://dns.example:6443 { cert a }",
            "connect tls://dns.example:6443 { tls_ca a }",
            "connect tls://dns.example:6443 {\n sni b\n label c\n}",
            "connect @in\nconnect unix://@in",
            "connect tcp://192.0.2.1:6000\nconnect tcp://192.0.2.1:6000",
            "listen tcp://0.0.0.0:6000\nconnect tcp://localhost:6000",
            "connect tcp://192.0.2.1:6000 { mode 0600 }",
        ]));
    }

    #[test]
    fn a_good_line_has_no_problems_and_all_settings() {
        let text = "connect tls+srv://_dnstap._tcp.dns.example { ca a refresh 1s 2s max_frame 2KiB }\ndnstap @out";
        let loaded = parse(Path::new("Tapfile"), text, &|_| None);
        assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
        let described = loaded.config.expect("a configuration").describe();
        let (connect, _) = described.split_once("\n\n").expect("sections");
        insta::assert_snapshot!(connect, @r"
        connect tls+srv://_dnstap._tcp.dns.example
            address            tls+srv://_dnstap._tcp.dns.example
            name               tls+srv://_dnstap._tcp.dns.example
            identity           none
            max_connections    1024
            max_frame          2KiB
            skipverify         off
            ca                 a
            cert               none
            key                none
            server_name        dns.example
            refresh            1s 2s
        ");
    }
}
