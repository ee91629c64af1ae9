//! The hosts that a request may name in its `Host` header.
//!
//! A web page can make its own name resolve to this machine (DNS rebinding). The browser then believes that the admin
//! endpoint belongs to the page's site, and lets the page read its answers. But the browser still sends the name of the
//! page's site in `Host`. The endpoint therefore only answers requests that name a known host. The known hosts are the
//! addresses and names of this machine that an attacker cannot choose, and the hosts in the option `host`.

use std::{
    fmt, iter,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use axum::{
    extract::{Extension, Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use nix::unistd::gethostname;

use crate::net::Host;

/// The known hosts of one endpoint, in addition to loopback and the endpoint's own address.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The directive whose block can add hosts: `admin` or `probes`.
    directive: &'static str,
    known: Vec<Named>,
}

/// The local address of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local(pub(super) SocketAddr);

/// The result of the host check: an error if the request names an unknown host.
#[derive(Debug, Clone)]
pub(super) struct Standing(pub(super) Result<(), Refusal>);

/// The reason why a request is refused.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    /// The request has no `Host` header, several, or an invalid one. RFC 9112, section 3.2, requires the status 400.
    Unreadable,
    Foreign {
        host: Named,
        directive: &'static str,
    },
}

/// A host, normalized for comparison: names in lower case without a final dot, addresses without a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Address(IpAddr),
    Name(String),
}

// === impl Hosts ===

impl Hosts {
    /// Collects the machine's own name and the hosts in the block of `directive`.
    pub(super) fn new(directive: &'static str, given: &[Host]) -> Self {
        let own = gethostname().ok().and_then(|name| name.into_string().ok());
        let own = own.and_then(|name| name.parse::<Host>().ok());
        Self {
            directive,
            known: given.iter().chain(&own).map(Named::of).collect(),
        }
    }

    /// Checks a request that was received at the address `local`.
    ///
    /// A request in absolute form has a second host in its target. This host takes precedence over `Host` (RFC 9112,
    /// section 3.2.2). Both hosts must be known, because no legitimate client sends two different ones.
    fn judge(&self, request: &Request, local: Option<IpAddr>) -> Result<(), Refusal> {
        let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
        let [host] = hosts.as_slice() else {
            return Err(Refusal::Unreadable);
        };
        let host = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Unreadable)?;
        for authority in iter::once(&host).chain(request.uri().authority()) {
            let host = Named::read(authority).ok_or(Refusal::Unreadable)?;
            if !self.knows(&host, local) {
                return Err(Refusal::Foreign {
                    host,
                    directive: self.directive,
                });
            }
        }
        Ok(())
    }

    fn knows(&self, host: &Named, local: Option<IpAddr>) -> bool {
        let always = match host {
            Named::Address(address) => address.is_loopback() || Some(*address) == local,
            Named::Name(name) => name == "localhost",
        };
        always || self.known.contains(host)
    }
}

/// Attaches the result of the host check, a [`Standing`], to every request. [`guard`] uses the result, and so do
/// handlers that answer requests with an unknown host but hide details.
pub(super) async fn judge(
    State(hosts): State<Arc<ArcSwap<Hosts>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let local = request.extensions().get::<Local>();
    // A socket for both IPv4 and IPv6 reports IPv4 addresses as IPv4-mapped IPv6 addresses.
    let local = local.map(|Local(address)| address.ip().to_canonical());
    let standing = Standing(hosts.load().judge(&request, local));
    request.extensions_mut().insert(standing);
    next.run(request).await
}

/// Refuses a request that names an unknown host.
pub(super) async fn guard(
    Extension(standing): Extension<Standing>,
    request: Request,
    next: Next,
) -> Response {
    match standing.0 {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

// === impl Refusal ===

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unreadable => (
                StatusCode::BAD_REQUEST,
                "a request must name one host, as in `Host: localhost`\n",
            )
                .into_response(),
            Self::Foreign { host, directive } => {
                let address = match host {
                    // The request already names an IP address, so advice to use an IP address would not help. The
                    // endpoint may not know this address, because NAT can change it on the way.
                    Named::Address(_) => "",
                    Named::Name(_) => "use its IP address, or ",
                };
                let text = format!(
                    "unknown host {host}: {address}add `host {host}` to the block of `{directive}` in the Tapfile\n"
                );
                (StatusCode::FORBIDDEN, text).into_response()
            }
        }
    }
}

// === impl Named ===

impl Named {
    fn of(host: &Host) -> Self {
        match host {
            Host::Ip { address, .. } => Self::Address(address.to_canonical()),
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                Self::Name(name.to_ascii_lowercase())
            }
        }
    }

    /// Parses `HOST` or `HOST:PORT`. The port is ignored, because `ssh -L` and `kubectl port-forward` change it. The
    /// check does not need the port: an attack by DNS rebinding always uses another name.
    fn read(authority: &Authority) -> Option<Self> {
        let (text, host) = (authority.as_str(), authority.host());
        // The type `Authority` also accepts user information, and any text as the port.
        let port = text.strip_prefix(host)?;
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        host.parse().as_ref().ok().map(Self::of)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
