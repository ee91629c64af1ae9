//! What only the whole configuration shows: names, addresses that are taken, ways that lead in a circle.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    super::{
        Admin, AdminAddress, Config, Listen, ListenAddress, ReadyWhen, Sink,
        diagnostics::{Diagnostic, shown},
        needs::{BACK, Need, ROUND, What, back_to_listener},
        quantity::Size,
        source::Span,
    },
    Findings, Read, admin, dnstap, drain,
    taken_addresses::{bound, check_admins, check_listeners},
    unfinished_frames,
};
use crate::net::{Endpoint, Host, ResolverSettings, UnixAddress, takes_all};

/// The directives that were read, by their kind, in the order of the file.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) listeners: Vec<Read<'a, Listen>>,
    pub(super) sinks: Vec<Read<'a, dnstap::Found<'a>>>,
    pub(super) admins: Vec<Read<'a, admin::Served<AdminAddress>>>,
    pub(super) probes: Vec<Read<'a, admin::Served<SocketAddr>>>,
    pub(super) readiness: Vec<Read<'a, ReadyWhen>>,
    pub(super) drains: Vec<Read<'a, Duration>>,
    pub(super) resolvers: Vec<Read<'a, ResolverSettings>>,
    pub(super) unfinished_frames: Vec<Read<'a, usize>>,
    pub(super) memories: Vec<Read<'a, usize>>,
}

/// A number of bytes, and the line that says so if there is one.
struct Bound {
    bytes: usize,
    line: Option<Span>,
}

/// Makes the configuration of its parts, unless anything was wrong.
pub(super) fn put_together(
    file: &str,
    parts: Parts<'_>,
    findings: &mut Findings<'_>,
) -> Option<Config> {
    require_both_ends(file, &parts, findings);
    let served = last(&parts.admins, findings).unwrap_or_default();
    let probes = last(&parts.probes, findings);
    let lines = [
        parts.admins.last().map(|read| read.statement.span()),
        parts.probes.last().map(|read| read.statement.span()),
    ];
    let admin = Admin {
        address: served.address,
        hosts: served.hosts,
        probes: probes.as_ref().map(|served| served.address),
        probes_hosts: probes.map(|served| served.hosts).unwrap_or_default(),
        ready_when: last(&parts.readiness, findings).unwrap_or_default(),
    };
    let drain = last(&parts.drains, findings).unwrap_or(drain::DEFAULT);
    let memory = last(&parts.memories, findings);
    let unfinished_frames = Bound {
        bytes: last(&parts.unfinished_frames, findings).unwrap_or(unfinished_frames::DEFAULT),
        line: parts
            .unfinished_frames
            .last()
            .map(|read| read.statement.span()),
    };
    let resolver = only_resolver(parts.resolvers, findings);
    let listeners: Vec<(Span, Listen)> = parts
        .listeners
        .into_iter()
        .filter_map(|read| Some((read.statement.span(), read.meaning?)))
        .collect();
    let sinks: Vec<dnstap::Found<'_>> = parts
        .sinks
        .into_iter()
        .filter_map(|read| read.meaning)
        .collect();
    check_listeners(&listeners, findings);
    check_admins(&admin, lines, &listeners, findings);
    check_loops(&sinks, &listeners, findings);
    check_queues(&sinks, &listeners, findings);
    check_unfinished_frames(&unfinished_frames, &listeners, findings);
    let sinks = name_sinks(sinks, findings);
    if findings.has_errors() {
        return None;
    }
    Some(Config {
        listeners: listeners.into_iter().map(|(_, listen)| listen).collect(),
        sinks,
        admin,
        drain,
        unfinished_frames: unfinished_frames.bytes,
        memory,
        resolver,
    })
}

/// A router needs an end to take from and one to give to. Not said beside other errors: one may be lost with them.
fn require_both_ends(file: &str, parts: &Parts<'_>, findings: &mut Findings<'_>) {
    if findings.has_errors() {
        return;
    }
    if parts.listeners.is_empty() {
        findings.report(
            Diagnostic::error("there is no listener, so no dnstap comes in")
                .in_file(file)
                .help("add one, as in `listen unix:///run/tapfan/dnstap.sock`"),
        );
    }
    if parts.sinks.is_empty() {
        findings.report(
            Diagnostic::error("there is no sink, so dnstap goes nowhere")
                .in_file(file)
                .help("add one, as in `dnstap tcp://collector.example:6000 full`"),
        );
    }
}

/// What the last of several lines says.
fn last<T: Clone>(lines: &[Read<'_, T>], findings: &mut Findings<'_>) -> Option<T> {
    for pair in lines.windows(2) {
        if let [first, second] = pair {
            findings.report(
                Diagnostic::warning(format!("`{}` is given twice", second.statement.name.text))
                    .at(second.statement.span(), "this one counts")
                    .at(first.statement.span(), "first here")
                    .help("remove one of them"),
            );
        }
    }
    lines.last()?.meaning.clone()
}

/// What the one block says. Two are not put together: which of their name servers were meant for what is not known.
fn only_resolver(
    blocks: Vec<Read<'_, ResolverSettings>>,
    findings: &mut Findings<'_>,
) -> ResolverSettings {
    let mut blocks = blocks.into_iter();
    let Some(first) = blocks.next() else {
        return ResolverSettings::default();
    };
    for second in blocks {
        findings.report(
            Diagnostic::error("there are two `resolver` blocks")
                .at(second.statement.span(), "for the second time here")
                .at(first.statement.span(), "first here")
                .help("put all of it into one of them"),
        );
    }
    first.meaning.unwrap_or_default()
}

/// A sink that dials a listener of this configuration would send every frame round for ever.
fn check_loops(
    sinks: &[dnstap::Found<'_>],
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    for found in sinks {
        let listener = listeners
            .iter()
            .find(|(_, listen)| leads_to(&found.sink.endpoint, &listen.address));
        if let Some((span, _)) = listener {
            let problem = found.socket.error(BACK, ROUND);
            findings.report(back_to_listener(problem, *span));
        } else if let Endpoint::Unix(UnixAddress::Path(path)) = &found.sink.endpoint {
            // Links, and folders that are called by several names, are known to the machine alone.
            let what = What::Apart(path.clone(), paths(listeners));
            let span = found.socket.span;
            findings.needs.push(Need { what, span });
        }
    }
}

fn paths(listeners: &[(Span, Listen)]) -> Vec<(PathBuf, Span)> {
    let path = |(span, listen): &(Span, Listen)| match &listen.address {
        ListenAddress::Unix(UnixAddress::Path(path), _) => Some((path.clone(), *span)),
        _ => None,
    };
    listeners.iter().filter_map(path).collect()
}

/// Whether dialling `endpoint` certainly ends at `address`.
fn leads_to(endpoint: &Endpoint, address: &ListenAddress) -> bool {
    let authority = match (endpoint, address) {
        (Endpoint::Unix(dialled), ListenAddress::Unix(bound, _)) => return dialled == bound,
        (Endpoint::Tcp(authority) | Endpoint::Tls(authority), _) => authority,
        // Where SRV records lead is not known yet.
        (Endpoint::Unix(_) | Endpoint::TcpSrv(_) | Endpoint::TlsSrv(_), _) => return false,
    };
    let Some(bound) = bound(address).filter(|bound| bound.port() == authority.port) else {
        return false;
    };
    match &authority.host {
        Host::Ip { address, .. } => {
            *address == bound.ip() || address.is_loopback() && takes_all(bound.ip(), *address)
        }
        Host::Name(name) => {
            name.trim_end_matches('.').eq_ignore_ascii_case("localhost")
                && (bound.ip().is_loopback() || bound.ip().is_unspecified())
        }
    }
}

fn check_queues(
    sinks: &[dnstap::Found<'_>],
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    let largest = listeners
        .iter()
        .max_by_key(|(_, listen)| listen.limits.frame);
    let Some((span, listen)) = largest else {
        return;
    };
    for found in sinks {
        if let Some(token) = found.queue_bytes
            && found.sink.queue.bytes < listen.limits.frame as usize
        {
            findings.report(
                token
                    .warning(
                        "this queue is smaller than the largest frame",
                        "a frame that does not fit is dropped",
                    )
                    .at(
                        *span,
                        format!("takes frames of up to {}", Size(listen.limits.frame.into())),
                    )
                    .help("make `queue_bytes` larger or `max_frame` smaller"),
            );
        }
    }
}

/// A bound that one frame of the greatest length exceeds would have its sender closed.
fn check_unfinished_frames(
    bound: &Bound,
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    let Some(line) = bound.line else {
        return;
    };
    let largest = listeners
        .iter()
        .max_by_key(|(_, listen)| listen.limits.frame);
    if let Some((span, listen)) = largest
        && bound.bytes < 2 * listen.limits.frame as usize
    {
        findings.report(
            Diagnostic::warning(
                "`unfinished_frames` is less than two frames of the greatest length",
            )
            .at(
                line,
                "a sender of such a frame may be closed in the middle of it",
            )
            .at(
                *span,
                format!("takes frames of up to {}", Size(listen.limits.frame.into())),
            )
            .help("make `unfinished_frames` larger or `max_frame` smaller"),
        );
    }
}

/// Gives every sink its name: the one it was given, or its SOCKET, with `#2` for the second of the same, and so on.
fn name_sinks(sinks: Vec<dnstap::Found<'_>>, findings: &mut Findings<'_>) -> Vec<Sink> {
    let mut unnamed: HashMap<&str, usize> = HashMap::new();
    let mut taken: HashMap<String, Span> = HashMap::new();
    let mut named = Vec::with_capacity(sinks.len());
    for found in sinks {
        let socket = found.socket.text.as_str();
        let name = if let Some(given) = found.name {
            given.text.clone()
        } else {
            let count = unnamed.entry(socket).or_default();
            *count += 1;
            match *count {
                1 => socket.to_owned(),
                count => format!("{socket}#{count}"),
            }
        };
        let place = found.name.unwrap_or(found.socket);
        if let Some(first) = taken.get(&name) {
            let problem = place
                .error(
                    format!("two sinks have the name `{}`", shown(&name)),
                    "for the second time here",
                )
                .at(*first, "first here");
            findings.report(if found.name.is_some() {
                problem.help("give one of them another name")
            } else {
                problem
                    .note("the name of a sink without `name` is its SOCKET")
                    .help("give one of them another name with the option `name`")
            });
        } else {
            taken.insert(name.clone(), place.span);
        }
        named.push(Sink {
            name: name.into(),
            ..found.sink
        });
    }
    named
}
