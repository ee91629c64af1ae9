//! Checks across the whole configuration: repeated names, addresses that are used twice, and sinks that lead back to a
//! listener.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        Config, Listen, ListenAddress, Places, Sink,
        diagnostics::{Diagnostic, shown},
        lexer::Token,
        needs::{BACK, Need, ROUND, What, back_to_listener},
        parser::Statement,
        quantity::Size,
        source::Span,
    },
    Findings, Purpose, connect, dnstap,
    options::given_twice,
    shared_files::check_kept_files,
    taken_addresses::{bound, check_admins, check_listeners, check_sockets},
};
use crate::net::{Endpoint, Host, UnixAddress, takes_all};

/// The directives of a configuration, as they were read.
pub(super) struct Parts<'a> {
    /// The settings from the router's own lines. The listeners and sinks in it are still empty.
    pub(super) config: Config,
    pub(super) listeners: Vec<(Span, Listen)>,
    /// True if a listener has an error, and is therefore not in `listeners`.
    pub(super) lacks_listener: bool,
    pub(super) sinks: Vec<dnstap::Found<'a>>,
    /// The addresses of the `connect` lines. The lines themselves are in `listeners`.
    dialled: Vec<(&'a Token, Endpoint)>,
    /// The last place of each directive that must occur only once.
    lines: HashMap<&'static str, Span>,
}

// === impl Parts ===

impl<'a> Parts<'a> {
    /// Adds a `connect` line.
    pub(super) fn connects(&mut self, statement: &Statement, found: Option<connect::Found<'a>>) {
        let Some(connect::Found { listen, socket }) = found else {
            return self.listener(statement, None);
        };
        let endpoint = listen.remote().map(|remote| remote.endpoint.clone());
        self.dialled
            .extend(endpoint.map(|endpoint| (socket, endpoint)));
        self.listener(statement, Some(listen));
    }

    /// Returns the places of the directives.
    pub(super) fn places(&self) -> Places {
        let line = |name| self.lines.get(name).copied();
        Places {
            listeners: self.listeners.iter().map(|(span, _)| *span).collect(),
            sinks: self.sinks.iter().map(|sink| sink.socket.span).collect(),
            admin: line("admin"),
            probes: line("probes"),
        }
    }

    /// Adds a listener. `None` means that the listener has an error.
    pub(super) fn listener(&mut self, statement: &Statement, listen: Option<Listen>) {
        self.lacks_listener |= listen.is_none();
        let listen = listen.map(|listen| (statement.span(), listen));
        self.listeners.extend(listen);
    }

    /// Records the place of one of the router's own lines. Warns if the line replaces an earlier one.
    pub(super) fn line(
        &mut self,
        name: &'static str,
        statement: &Statement,
        findings: &mut Findings<'_>,
    ) {
        if let Some(earlier) = self.lines.insert(name, statement.span()) {
            let place = statement.span();
            findings.report(given_twice(name, place, "this one counts", earlier));
        }
    }

    /// Records the place of a `resolver` block. A second block is an error, because two blocks cannot be merged.
    pub(super) fn resolver(&mut self, statement: &Statement, findings: &mut Findings<'_>) {
        if let Some(first) = self.lines.insert("resolver", statement.span()) {
            findings.report(
                Diagnostic::error("there are two `resolver` blocks")
                    .at(statement.span(), "second here")
                    .at(first, "first here")
                    .help("put all options into one of them"),
            );
        }
    }
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self {
            config: Config::new(Vec::new(), Vec::new()),
            listeners: Vec::new(),
            lacks_listener: false,
            sinks: Vec::new(),
            dialled: Vec::new(),
            lines: HashMap::new(),
        }
    }
}

/// Builds a configuration from its parts. Returns `None` if there is any error.
pub(super) fn put_together(
    file: &str,
    parts: Parts<'_>,
    purpose: Purpose,
    findings: &mut Findings<'_>,
) -> Option<Config> {
    if purpose == Purpose::Router {
        require_both_ends(file, &parts, findings);
    }
    let Parts {
        config,
        listeners,
        lacks_listener,
        sinks,
        dialled,
        lines,
    } = parts;
    check_listeners(&listeners, findings);
    let sockets = check_sockets(&listeners, dnstap::sockets(&sinks), findings);
    let place = |name| lines.get(name).copied();
    check_admins(
        &config.admin,
        ["admin", "probes"].map(place),
        &sockets,
        findings,
    );
    check_loops(&sinks, &sockets, listeners.len(), findings);
    check_dialled(&dialled, &sockets, findings);
    check_queues(&sinks, &listeners, findings);
    check_kept_files(&sinks, findings);
    check_spools(&sinks, findings);
    if !lacks_listener {
        dnstap::check_sources(&sinks, &listeners, purpose, findings);
    }
    if purpose == Purpose::Router {
        for found in &sinks {
            dnstap::check_foreign(found, findings);
        }
    }
    if let Some(line) = place("unfinished_frames") {
        check_unfinished_frames(config.unfinished_frames, line, &listeners, findings);
    }
    let sinks = name_sinks(sinks, findings);
    (!findings.has_errors()).then(|| Config {
        listeners: listeners.into_iter().map(|(_, listen)| listen).collect(),
        sinks,
        ..config
    })
}

/// Reports a configuration without a listener or without a sink. Does nothing if there are other errors, because a
/// directive with an error is not in `parts`.
fn require_both_ends(file: &str, parts: &Parts<'_>, findings: &mut Findings<'_>) {
    if findings.has_errors() {
        return;
    }
    if parts.listeners.is_empty() {
        findings.report(
            Diagnostic::error("there is no listener, so no dnstap comes in")
                .in_file(file)
                .help("add one, as in `listen unix:///run/tapfan/dnstap.sock`, or `connect` to a DNS server that waits for collectors"),
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

/// Reports a sink that connects to a socket of this configuration. The first `count` sockets are those of listeners, from
/// which the frames would come in again. The others are those of sinks that wait for collectors.
fn check_loops(
    sinks: &[dnstap::Found<'_>],
    listeners: &[(Span, Listen)],
    count: usize,
    findings: &mut Findings<'_>,
) {
    for found in sinks {
        let mut all = listeners.iter().enumerate();
        let socket = all.find(|(_, (_, listen))| leads_to(&found.sink.endpoint, &listen.address));
        if let Some((place, (span, _))) = socket {
            findings.report(if place < count {
                back_to_listener(found.socket.error(BACK, ROUND), *span)
            } else {
                dnstap::leads_to_waiting(found.socket, *span)
            });
        } else if let Endpoint::Unix(UnixAddress::Path(path)) = &found.sink.endpoint {
            // The two paths can lead to the same socket even if they differ, because a path may contain links. Only the
            // later check on the machine can find this.
            let what = What::Apart(path.clone(), paths(listeners));
            let span = found.socket.span;
            findings.needs.push(Need { what, span });
        }
    }
}

/// Reports a `connect` line that leads to a listener of this configuration instead of a DNS server.
fn check_dialled(
    dialled: &[(&Token, Endpoint)],
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    for (socket, endpoint) in dialled {
        let mut listeners = listeners.iter();
        let listener = listeners.find(|(_, listen)| leads_to(endpoint, &listen.address));
        if let Some((span, _)) = listener {
            findings.report(
                socket
                    .error(
                        "this line leads to a listener",
                        "tapfan would connect to itself",
                    )
                    .at(*span, "to this socket")
                    .help("write the address at which the DNS server waits for collectors"),
            );
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

/// Returns whether a connection to `endpoint` certainly reaches the listener at `address`.
pub(crate) fn leads_to(endpoint: &Endpoint, address: &ListenAddress) -> bool {
    let authority = match (endpoint, address) {
        (Endpoint::Unix(dialled), ListenAddress::Unix(bound, _)) => return dialled == bound,
        (Endpoint::Tcp(authority) | Endpoint::Tls(authority), _) => authority,
        // The targets of SRV records are known only after the lookup.
        _ => return false,
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

/// Reports two sinks with the same folder for their spools.
fn check_spools(sinks: &[dnstap::Found<'_>], findings: &mut Findings<'_>) {
    let mut taken: HashMap<&Path, Span> = HashMap::new();
    for found in sinks {
        let (Some(spool), Some(option)) = (&found.sink.spool, found.spool) else {
            continue;
        };
        if let Some(first) = taken.insert(&spool.folder, option.span) {
            findings.report(
                option
                    .error(
                        "two sinks have the same folder for their spools",
                        "second here",
                    )
                    .at(first, "first here")
                    .help("give each sink a folder of its own"),
            );
        }
    }
}

fn check_queues(
    sinks: &[dnstap::Found<'_>],
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    let Some((span, frame)) = largest_frame(listeners) else {
        return;
    };
    for found in sinks {
        if let Some(token) = found.queue_bytes
            && found.sink.queue.bytes < frame as usize
        {
            findings.report(
                token
                    .warning(
                        "this queue is smaller than the largest frame",
                        "a frame that does not fit is dropped",
                    )
                    .at(span, takes_frames(frame))
                    .help("make `queue_bytes` larger or `max_frame` smaller"),
            );
        }
    }
}

/// Warns if `bound` is smaller than two frames of the largest `max_frame`. With such a bound, tapfan may close a
/// connection while its sender sends a single frame of this length.
fn check_unfinished_frames(
    bound: usize,
    line: Span,
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    if let Some((span, frame)) = largest_frame(listeners)
        && bound < 2 * frame as usize
    {
        findings.report(
            Diagnostic::warning("`unfinished_frames` is less than two of the longest frames")
                .at(
                    line,
                    "the connection of a sender may be closed in the middle of such a frame",
                )
                .at(span, takes_frames(frame))
                .help("make `unfinished_frames` larger or `max_frame` smaller"),
        );
    }
}

/// Returns the largest `max_frame`, and the place of the listener that sets it.
fn largest_frame(listeners: &[(Span, Listen)]) -> Option<(Span, u32)> {
    listeners
        .iter()
        .map(|(span, listen)| (*span, listen.limits.frame))
        .max_by_key(|(_, frame)| *frame)
}

fn takes_frames(largest: u32) -> String {
    format!("takes frames of up to {}", Size(largest.into()))
}

/// Sets the name of every sink: the option `name`, or else the SOCKET. If several sinks have the same SOCKET, the
/// second one gets `#2` after its name, the third one `#3`, and so on.
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
                    "second here",
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
