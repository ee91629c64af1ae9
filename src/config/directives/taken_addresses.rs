//! Conflicts between the addresses of listeners, `admin` and `probes`. Only one socket can be bound to an address.

use std::net::{IpAddr, SocketAddr};

use super::{
    super::{
        Admin, AdminAddress, Listen, ListenAddress,
        diagnostics::{Diagnostic, shown},
        source::Span,
    },
    Findings,
};
use crate::net::takes_all;

const EVERYWHERE: &str =
    "0.0.0.0 takes a port on every IPv4 address of this machine, [::] on every address";

/// Reports an address of `admin` or `probes` that conflicts with another socket. `lines` are the places of these two
/// directives.
pub(super) fn check_admins(
    admin: &Admin,
    lines: [Option<Span>; 2],
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    let [line, probes_line] = lines;
    let addresses = [admin.address.address(), admin.probes];
    for ((name, line), address) in ["admin", "probes"].into_iter().zip(lines).zip(addresses) {
        if let (Some(line), Some(address)) = (line, address) {
            check_admin(name, line, address, listeners, findings);
        }
    }
    if line.is_none() && admin.address.address().is_some() {
        check_default_admin(listeners, findings);
    }
    if let ([Some(admin), Some(probes)], Some(span)) = (addresses, probes_line)
        && overlap(admin, probes)
    {
        let problem = if admin == probes {
            Diagnostic::error("`probes` has the address of `admin`")
                .at(span, "this address is taken")
        } else {
            Diagnostic::error("`probes` and `admin` cannot both have this port")
                .at(span, "its port is taken")
                .note(EVERYWHERE)
        };
        findings.report(match line {
            Some(line) => problem
                .at(line, "by this one, which serves probes too")
                .help("remove `probes`, or give it another address"),
            None => problem
                .note(default_admin())
                .help("give `probes` another port, or `admin` another address"),
        });
    }
}

/// Reports listeners that cannot be bound at the same time.
pub(super) fn check_listeners(listeners: &[(Span, Listen)], findings: &mut Findings<'_>) {
    for (index, (span, listen)) in listeners.iter().enumerate() {
        let before = listeners.get(..index).unwrap_or_default();
        if let Some((first, _)) = before.iter().find(|(_, other)| collide(listen, other)) {
            let message = match listen.remote() {
                Some(_) => "two `connect` lines have the same address",
                None => "two listeners have the same address",
            };
            findings.report(
                Diagnostic::error(message)
                    .at(*span, "second here")
                    .at(*first, "first here")
                    .help("remove one of them, or give it another address"),
            );
        } else if let Some((first, _)) = before.iter().find(|(_, other)| share_port(listen, other))
        {
            findings.report(
                Diagnostic::error("two listeners cannot both have this port")
                    .at(*span, "its port is taken")
                    .at(*first, "by this one")
                    .note(EVERYWHERE)
                    .help("remove one of them, or give it another port"),
            );
        } else if let Some((first, _)) = before.iter().find(|(_, other)| listen.name == other.name)
        {
            findings.report(
                Diagnostic::error(format!(
                    "two listeners have the name `{}`",
                    shown(&listen.name)
                ))
                .at(*span, "second here")
                .at(*first, "first here")
                .note("the name of a listener without `name` is its URL")
                .help("give one of them another name with the option `name`"),
            );
        }
    }
}

/// Reports sinks that wait for collectors at an address that another line has. `sinks` has the sockets of these sinks.
/// Returns all sockets: those of the listeners, and those of the sinks.
pub(super) fn check_sockets(
    listeners: &[(Span, Listen)],
    sinks: Vec<(Span, Listen)>,
    findings: &mut Findings<'_>,
) -> Vec<(Span, Listen)> {
    let mut all = listeners.to_vec();
    for (span, sink) in sinks {
        let mut others = all.iter();
        let other = others.find(|(_, other)| collide(&sink, other) || share_port(&sink, other));
        if let Some((first, _)) = other {
            findings.report(
                Diagnostic::error("two lines cannot listen at the same address")
                    .at(span, "second here")
                    .at(*first, "first here")
                    .note(EVERYWHERE)
                    .help("give one of them another address"),
            );
        }
        all.push((span, sink));
    }
    all
}

/// Returns whether two listeners conflict, because only one can be bound.
fn collide(one: &Listen, other: &Listen) -> bool {
    match (&one.address, &other.address) {
        (ListenAddress::Unix(one, _), ListenAddress::Unix(other, _)) => one == other,
        // Two connections to the same server would bring every frame twice.
        (ListenAddress::Remote(one), ListenAddress::Remote(other)) => {
            one.endpoint == other.endpoint
        }
        (one, other) => {
            let bound = bound(one).filter(|address| address.port() != 0);
            bound.is_some() && bound == self::bound(other)
        }
    }
}

/// Returns whether both listeners have the same port, and one of them binds it on an address that includes the address
/// of the other.
fn share_port(one: &Listen, other: &Listen) -> bool {
    match (bound(&one.address), bound(&other.address)) {
        (Some(one), Some(other)) => overlap(one, other),
        _ => false,
    }
}

/// Returns whether the addresses of two sockets overlap, so that only one socket can be bound. `0.0.0.0` includes every
/// IPv4 address, and `[::]` includes every address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |one: IpAddr, other| one == other || takes_all(one, other);
    one.port() != 0
        && one.port() == other.port()
        && (holds(one.ip(), other.ip()) || holds(other.ip(), one.ip()))
}

/// Returns the address that a TCP listener binds.
pub(super) fn bound(address: &ListenAddress) -> Option<SocketAddr> {
    match address {
        ListenAddress::Unix(..) | ListenAddress::Remote(_) => None,
        ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => Some(*address),
    }
}

fn check_admin(
    name: &str,
    span: Span,
    admin: SocketAddr,
    listeners: &[(Span, Listen)],
    findings: &mut Findings<'_>,
) {
    let Some((listener, taken)) = first_on(admin, listeners) else {
        return;
    };
    findings.report(if taken == admin {
        Diagnostic::error(format!("`{name}` has the address of a listener"))
            .at(span, "this address is taken")
            .at(listener, "by this line")
            .help("give it another port")
    } else {
        Diagnostic::error(format!(
            "`{name}` and a listener cannot both have this port"
        ))
        .at(span, "its port is taken")
        .at(listener, "by this line")
        .note(EVERYWHERE)
        .help("give it another port")
    });
}

/// Reports a listener at the default address of `admin`. The listener would be bound first, and the admin endpoint
/// could not be bound.
fn check_default_admin(listeners: &[(Span, Listen)], findings: &mut Findings<'_>) {
    if let Some((listener, _)) = first_on(AdminAddress::DEFAULT, listeners) {
        findings.report(
            Diagnostic::error("a listener has the port of `admin`")
                .at(listener, "this port is taken")
                .note(default_admin())
                .help("give `admin` another address, or write `admin off`"),
        );
    }
}

fn first_on(address: SocketAddr, listeners: &[(Span, Listen)]) -> Option<(Span, SocketAddr)> {
    let mut bound = listeners
        .iter()
        .filter_map(|(span, listen)| Some((*span, bound(&listen.address)?)));
    bound.find(|(_, bound)| overlap(*bound, address))
}

fn default_admin() -> String {
    format!(
        "without an `admin` line, it is at {}",
        AdminAddress::DEFAULT
    )
}
