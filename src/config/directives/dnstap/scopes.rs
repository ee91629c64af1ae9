//! The kinds of sinks to which an option applies.

use super::{
    super::row::{Given, Scope},
    kafka, waiting,
};
use crate::{
    config::{Sink, diagnostics::Diagnostic, lexer::Token},
    net::Endpoint,
};

pub(super) const TLS: Scope<Sink> = Scope {
    name: "sinks with TLS",
    applies: |sink| sink.tls.is_some(),
    misplaced: |sink, given, socket| {
        let writes_records = kafka::writes_records(sink);
        if let Some(problem) = kafka::key_of_records(given).filter(|_| writes_records) {
            return problem;
        }
        let name = given.name.text.as_str();
        let message = format!("`{name}` is for {}", TLS.name);
        let problem = given.name.error(message, "it has no meaning here");
        let problem = problem
            .at(socket.span, "this sink does not speak TLS")
            .help(if writes_records {
                "remove it, or make the SOCKET `kafka+tls://broker/topic`"
            } else {
                "remove it, or make the SOCKET `tls://host:port`"
            });
        match name {
            "skipverify" => problem.note("CoreDNS ignores it here"),
            _ => problem,
        }
    },
};

pub(super) const TLS_DIALLED: Scope<Sink> = Scope {
    applies: |sink| sink.tls.is_some() && !waiting::waits(sink),
    misplaced: |sink, given, socket| {
        if waiting::waits(sink) {
            return waiting::of_another_kind(given, socket);
        }
        (TLS.misplaced)(sink, given, socket)
    },
    ..TLS
};

pub(super) const DIALS: Scope<Sink> = Scope {
    name: "sinks that do not wait for collectors",
    applies: |sink| !waiting::waits(sink),
    misplaced: |_, given, socket| waiting::of_another_kind(given, socket),
};

pub(super) const NAMED: Scope<Sink> = Scope {
    name: "names",
    applies: |sink| sink.endpoint.is_named() && !kafka::writes_records(sink),
    misplaced: |sink, given, socket| {
        if let Some(problem) = of_another_kind(sink, given, socket) {
            return problem;
        }
        let message = format!("`{}` has no effect here", given.name.text);
        let problem = given.name.warning(message, "there is no name to look up");
        let what = match sink.endpoint {
            Endpoint::File(_) => "this is a file",
            _ => "this is an address",
        };
        problem.at(socket.span, what).help("remove it")
    },
};

pub(super) const CONNECTED: Scope<Sink> = Scope {
    name: "connections",
    applies: |sink| {
        let endpoint = &sink.endpoint;
        !matches!(
            endpoint,
            Endpoint::File(_) | Endpoint::Kafka(_) | Endpoint::Listen(_)
        )
    },
    misplaced: |sink, given, socket| {
        if let Some(problem) = of_another_kind(sink, given, socket) {
            return problem;
        }
        let message = format!("`{}` is for {}", given.name.text, CONNECTED.name);
        let problem = given.name.error(message, "it has no meaning here");
        let problem = problem.at(socket.span, "this is a file");
        problem.help("the next file begins after `rotate TIME` or `size SIZE`")
    },
};

/// Returns the error for an option that has no meaning for a sink that waits for collectors, or that writes to Kafka.
/// Returns `None` for other sinks.
fn of_another_kind(sink: &Sink, given: &Given<'_>, socket: &Token) -> Option<Diagnostic> {
    match sink.endpoint {
        Endpoint::Listen(_) => Some(waiting::of_another_kind(given, socket)),
        Endpoint::Kafka(_) => Some(kafka::of_another_kind(given, socket)),
        _ => None,
    }
}
