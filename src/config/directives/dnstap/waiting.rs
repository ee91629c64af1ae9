//! `dnstap listen SOCKET`: a sink that waits for collectors, in the syntax of CoreDNS.

use std::{borrow::Cow, path::PathBuf};

use super::super::{
    Findings, bad_address, check_relative, features,
    options::Options,
    row::{Given, Row, Scope, Value},
    socket_file::{BindsUnix, UNIX, is_abstract},
};
use crate::{
    config::{
        Listen, ListenAddress, Sink,
        diagnostics::Diagnostic,
        lexer::Token,
        needs::{Need, What},
        source::Span,
    },
    net::{BindAddress, Endpoint, UnixAddress, UnixPermissions},
};

pub(super) const TLS_FILES: Row<Sink> = Row {
    name: "tls",
    value: Value::Line("CERT KEY [CA]", tls),
    default: "none",
    doc: "the options `cert`, `key` and `ca` of `dnstap listen` in one line, as in CoreDNS",
    scope: Some(&TLS),
    describe: |sink| {
        let tls = sink.tls.as_ref()?;
        let (cert, key) = tls.client.as_ref()?;
        let files = [cert, key].into_iter().chain(&tls.ca);
        let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
        Some(files.join(" "))
    },
};

pub(super) const MAX_COLLECTORS: Row<Sink> = Row {
    name: "max_collectors",
    value: Value::Number(1..=1024, |sink, number| sink.collectors.most = number),
    default: "16",
    doc: "the largest number of collectors that are connected to `dnstap listen`; a further one is closed",
    scope: Some(&WAITS),
    describe: |sink| Some(sink.collectors.most.to_string()),
};

const WAITS: Scope<Sink> = Scope {
    name: "`dnstap listen`",
    applies: waits,
    misplaced: |_, given, socket| {
        let message = format!("`{}` is for {}", given.name.text, WAITS.name);
        let problem = given.name.error(message, "it has no meaning here");
        problem
            .at(socket.span, "tapfan connects to this collector")
            .help("remove it")
    },
};

const TLS: Scope<Sink> = Scope {
    name: "`dnstap listen tls://`",
    applies: |sink| waits(sink) && sink.tls.is_some(),
    misplaced: |sink, given, socket| {
        let message = format!("`{}` is for {}", given.name.text, TLS.name);
        let problem = given.name.error(message, "it has no meaning here");
        let help = if waits(sink) {
            "remove it, or write `tls://` in the SOCKET"
        } else {
            "to connect with TLS, write the options `cert`, `key` and `ca`"
        };
        problem
            .at(socket.span, "this sink is of another kind")
            .help(help)
    },
};

/// Returns whether the sink waits for collectors.
pub(super) fn waits(sink: &Sink) -> bool {
    matches!(sink.endpoint, Endpoint::Listen(_))
}

/// Returns the error for an option of a sink that waits for collectors, if only a sink that connects can use the option.
pub(super) fn of_another_kind(given: &Given<'_>, socket: &Token) -> Diagnostic {
    let name = given.name.text.as_str();
    let reason = match name {
        "confirm" | "spool" => {
            "the queue of a collector ends with its connection, so no frame is kept to be sent again"
        }
        "endpoints" => "every collector that connects gets every frame",
        "max_age" => "only the collector can replace a connection that it has made",
        _ => "there is no name to look up or to verify",
    };
    given
        .name
        .error(format!("`{name}` is not for `dnstap listen`"), reason)
        .at(socket.span, "collectors connect to this sink")
        .help("remove it, or let tapfan connect to the collector: `dnstap SOCKET`")
}

/// Reads the SOCKET of `dnstap listen`. Reports an error if it is no address to bind.
///
/// CoreDNS also binds `tcp://:6000`, which means all addresses, and `tcp://localhost:6000`.
pub(super) fn address(socket: &Token, findings: &mut Findings<'_>) -> Option<Endpoint> {
    let address = with_address(socket.text.as_str())
        .parse::<BindAddress>()
        .map_err(|error| findings.report(bad_address(socket, &error)))
        .ok()?;
    if let BindAddress::Unix(address) = &address {
        check_relative(socket, address, findings);
    }
    features::check_listener(&address, socket, findings);
    Some(Endpoint::Listen(address))
}

/// Returns the SOCKET with an address, if it is a TCP or TLS socket without a host or with the host `localhost`.
fn with_address(socket: &str) -> Cow<'_, str> {
    for scheme in ["tcp://", "tls://"] {
        let Some(place) = socket.strip_prefix(scheme) else {
            continue;
        };
        if place.starts_with(':') {
            return format!("{scheme}[::]{place}").into();
        }
        if let Some(port) = place.strip_prefix("localhost:") {
            return format!("{scheme}127.0.0.1:{port}").into();
        }
    }
    socket.into()
}

/// Reads `tls CERT KEY [CA]`.
fn tls(sink: &mut Sink, given: &Given<'_>, findings: &mut Findings<'_>) -> Option<()> {
    let mut files = Vec::new();
    for value in given.values {
        let one = Given { value, ..*given };
        let path = PathBuf::from(one.word(findings)?);
        one.needs(What::File(path.clone()), findings);
        files.push(path);
    }
    let mut files = files.into_iter();
    let (Some(cert), Some(key), ca, None) =
        (files.next(), files.next(), files.next(), files.next())
    else {
        findings.report(
            given
                .name
                .error("`tls` takes two or three files", "it has another number")
                .help("write `tls CERT KEY`, or `tls CERT KEY CA`"),
        );
        return None;
    };
    let tls = sink.tls.as_mut()?;
    tls.client = Some((cert, key));
    tls.ca = ca;
    Some(())
}

/// Reports a `tls://` sink without a certificate, and options that contradict each other.
pub(super) fn check(
    sink: &Sink,
    socket: &Token,
    options: &Options<'_, Sink>,
    findings: &mut Findings<'_>,
) {
    let Some(tls) = &sink.tls else {
        return;
    };
    let all = options.get("tls");
    for name in ["cert", "key"] {
        let given = options.get(name).or(all);
        if given.is_none() {
            let message = format!("`dnstap listen tls://` needs `{name}`");
            findings.report(
                socket
                    .error(message, "this sink has none")
                    .help("add `tls CERT KEY` to its block"),
            );
        }
    }
    for name in ["cert", "key", "ca"] {
        if let (Some(all), Some(one)) = (all, options.get(name)) {
            findings.report(
                one.name
                    .error(format!("`tls` and `{name}` are given"), "second here")
                    .at(all.name.span, "first here")
                    .help("remove one of them"),
            );
        }
    }
    let ca = options.get("ca").map(|ca| (ca, "`ca`"));
    let ca = ca.or(all.filter(|_| tls.ca.is_some()).map(|all| (all, "CA")));
    if let (Some(skip), Some((ca, word))) = (options.get("skipverify"), ca) {
        let message = format!("{word} requires no certificate here");
        findings.report(
            ca.name
                .warning(message, "a collector without a certificate can connect")
                .at(skip.name.span, "this makes certificates optional")
                .help("remove `skipverify` to require certificates"),
        );
    }
    if let Some(ListenAddress::Tls(_, tls)) = sink.bound() {
        let what = What::ServerTls(tls);
        let span = socket.span;
        findings.needs.push(Need { what, span });
    }
}

/// Returns the error for a sink that connects to a sink that waits for collectors, at `waiting`.
pub(in super::super) fn leads_to_waiting(socket: &Token, waiting: Span) -> Diagnostic {
    socket
        .error(
            "this sink leads to a sink of this Tapfile",
            "tapfan would connect to itself",
        )
        .at(waiting, "collectors connect here")
        .help("write the address of the collector")
}

/// Returns the sockets of the sinks that wait for collectors, as listeners.
pub(in super::super) fn sockets(sinks: &[super::Found<'_>]) -> Vec<(Span, Listen)> {
    let sockets = sinks.iter().filter_map(|found| {
        let address = found.sink.bound()?;
        let listen = Listen::new(found.socket.text.as_str(), address);
        Some((found.socket.span, listen))
    });
    sockets.collect()
}

impl BindsUnix for Sink {
    fn permissions(&self) -> Option<&UnixPermissions> {
        let has_file = matches!(
            self.endpoint,
            Endpoint::Listen(BindAddress::Unix(UnixAddress::Path(_)))
        );
        has_file.then_some(&self.collectors.permissions)
    }

    fn permissions_mut(&mut self) -> Option<&mut UnixPermissions> {
        Some(&mut self.collectors.permissions)
    }

    fn without_file(&self, given: &Given<'_>, socket: &Token) -> Diagnostic {
        match self.endpoint {
            Endpoint::Listen(BindAddress::Unix(_)) => is_abstract(given, socket),
            Endpoint::Listen(_) => {
                let message = format!("`{}` is for {UNIX}", given.name.text);
                let problem = given.name.error(message, "it has no meaning here");
                problem
                    .at(socket.span, "this sink is of another kind")
                    .help("remove it")
            }
            _ => (WAITS.misplaced)(self, given, socket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_tcp_and_tls_get_an_address() {
        for (socket, expected) in [
            ("tcp://:6000", "tcp://[::]:6000"),
            ("tls://localhost:6000", "tls://127.0.0.1:6000"),
            ("tcp://192.0.2.1:6000", "tcp://192.0.2.1:6000"),
            (
                "tcp://localhost.example:6000",
                "tcp://localhost.example:6000",
            ),
            ("unix:///run/a://:b", "unix:///run/a://:b"),
            ("unix://localhost:b", "unix://localhost:b"),
            ("/run/tcp://localhost:b", "/run/tcp://localhost:b"),
        ] {
            assert_eq!(with_address(socket), expected);
        }
    }
}
