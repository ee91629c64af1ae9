//! `dnstap [listen] SOCKET [full] [writebuffer] [queue] { … }`: a sink, in the syntax of CoreDNS.

mod arguments;
mod confirm;
mod files;
mod filters;
mod from;
mod guessed;
mod kafka;
mod placeholders;
mod prefix;
mod rows;
mod scopes;
mod spool;
mod waiting;

use super::{
    super::{
        Sink,
        lexer::Token,
        needs::{Need, What},
        parser::Statement,
    },
    Findings, endpoint, guesses,
    options::{self, Options},
    placeholder,
};
use crate::net::{BindAddress, Endpoint, UnixAddress};

#[cfg(feature = "cli")]
pub(super) use confirm::OPTIONS as CONFIRM;
pub(super) use filters::is_kind_of_rule;
pub(super) use from::check as check_sources;
pub(super) use kafka::{help_for as help_for_kafka, is_meant as is_for_kafka};
pub(super) use placeholders::check_foreign;
pub(super) use rows::{ARGUMENTS, OPTIONS};
#[cfg(feature = "cli")]
pub(super) use spool::OPTIONS as SPOOL;
pub(super) use waiting::{leads_to_waiting, sockets};

pub(super) const USAGE: &str = "the line is `dnstap SOCKET [full] [writebuffer] [queue]`";

/// A sink, and the places of its settings in the file.
pub(super) struct Found<'a> {
    /// The sink. If there is no option `name`, the name is the SOCKET as written in the file.
    pub(super) sink: Sink,
    pub(super) socket: &'a Token,
    pub(super) name: Option<&'a Token>,
    /// The names of listeners in `from`.
    pub(super) from: Vec<&'a Token>,
    pub(super) queue_bytes: Option<&'a Token>,
    pub(super) extra: Option<&'a Token>,
    pub(super) spool: Option<&'a Token>,
}

pub(super) fn read<'a>(statement: &'a Statement, findings: &mut Findings<'_>) -> Option<Found<'a>> {
    let options = options::read(statement, OPTIONS, findings);
    let (waits, arguments) = match statement.arguments.split_first() {
        Some((word, rest)) if word.is_word("listen") => (Some(word), rest),
        _ => (None, statement.arguments.as_slice()),
    };
    let Some((socket, rest)) = arguments.split_first() else {
        findings.report(match waits {
            Some(word) => word
                .error("`dnstap listen` needs a SOCKET", "nothing follows it on its line")
                .help(
                    "to wait for collectors, write `dnstap listen SOCKET`; to receive dnstap, write `listen URL`; for a unix socket of this name, write `./listen`",
                ),
            None => statement
                .name
                .error("`dnstap` needs a SOCKET", "nothing follows it on its line")
                .help(USAGE),
        });
        return None;
    };
    let guess = match waits {
        Some(_) => guesses::url(socket),
        None => guesses::socket(socket),
    };
    if let Some(problem) = guess {
        findings.report(problem);
        return None;
    }
    let endpoint = match waits {
        Some(_) => waiting::address(socket, findings),
        None => endpoint(socket, findings),
    };
    let known = endpoint.is_some();
    let endpoint = endpoint.unwrap_or_else(|| match waits {
        Some(_) => Endpoint::Listen(BindAddress::Unix(UnixAddress::Abstract("".into()))),
        None => placeholder(),
    });
    let mut sink = Sink::new(socket.text.as_str(), endpoint);
    arguments::read(&mut sink, &statement.name, rest, findings);
    options.apply(&mut sink, known.then_some(socket), findings);
    check(&sink, socket, &options, findings);
    let value = |name| options.get(name).map(|given| given.value);
    known.then(|| Found {
        sink,
        socket,
        name: value("name"),
        from: options.all("from").flat_map(|it| it.values).collect(),
        queue_bytes: value("queue_bytes"),
        extra: value("extra"),
        spool: value("spool"),
    })
}

/// Reports options that do not work together.
fn check(sink: &Sink, socket: &Token, options: &Options<'_, Sink>, findings: &mut Findings<'_>) {
    if waiting::waits(sink) {
        waiting::check(sink, socket, options, findings);
    } else {
        check_tls(sink, socket, options, findings);
        spool::check(sink, options, findings);
        kafka::check(sink, socket, options, findings);
    }
    prefix::check(options, findings);
    filters::check(sink, options, findings);
}

/// Reports a certificate without its key, a key without its certificate, and options that contradict each other.
fn check_tls(
    sink: &Sink,
    socket: &Token,
    options: &Options<'_, Sink>,
    findings: &mut Findings<'_>,
) {
    let Some(tls) = &sink.tls else {
        return;
    };
    check_pair(options, findings);
    findings.needs.push(Need {
        what: What::ClientTls(tls.clone()),
        span: socket.span,
    });
}

/// Reports a certificate without its key, a key without its certificate, and `ca` beside `skipverify`.
pub(super) fn check_pair<T>(options: &Options<'_, T>, findings: &mut Findings<'_>) {
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
    if let (Some(skip), Some(ca)) = (options.get("skipverify"), options.get("ca")) {
        findings.report(
            ca.name
                .warning("`ca` has no effect here", "nothing is verified against it")
                .at(skip.name.span, "this turns verification off")
                .help("remove one of them"),
        );
    }
}
