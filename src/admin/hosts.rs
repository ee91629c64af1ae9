//! The hosts that a request may name.
//!
//! A web page can have its own name resolve to this machine (DNS rebinding). The browser then takes what is served here
//! for a part of that page, and lets the page read it. It still sends the page's name in `Host`, so an answer to known
//! hosts only keeps such pages out. Addresses and names that others cannot choose are always known; `host` adds more.

use std::{
    fmt,
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

/// Hosts that are known at one address, beside loopback and the address itself.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The directive whose block takes more of them: `admin` or `probes`.
    directive: &'static str,
    known: Vec<Named>,
}

/// The local address of the connection that brought a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local(pub(super) SocketAddr);

/// The judgement on the host that a request names.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    Known,
    Refused(Refusal),
}

/// The reason for which a request gets no answer.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    /// No host, several, or something else: RFC 9112, section 3.2, wants this to be 400.
    Unreadable,
    Foreign {
        host: Named,
        directive: &'static str,
    },
}

/// A host as it is compared: names without their case and the dot at their end, addresses without a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Address(IpAddr),
    Name(String),
}

// === impl Hosts ===

impl Hosts {
    /// The machine's own name, and those that the block of `directive` gives.
    pub(super) fn new(directive: &'static str, given: &[Host]) -> Self {
        let own = gethostname().ok().and_then(|name| name.into_string().ok());
        let own = own.and_then(|name| name.parse::<Host>().ok());
        Self {
            directive,
            known: given.iter().chain(&own).map(Named::of).collect(),
        }
    }

    /// Judges a request that came in at the address `local`.
    ///
    /// A proxy's request has a host in its target, too, which is the one that counts (RFC 9112, section 3.2.2). Both must be
    /// known: nobody has a reason to name two.
    fn judge(&self, request: &Request, local: Option<IpAddr>) -> Result<(), Refusal> {
        let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
        let [host] = hosts.as_slice() else {
            return Err(Refusal::Unreadable);
        };
        let host = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Unreadable)?;
        for authority in [Some(&host), request.uri().authority()]
            .into_iter()
            .flatten()
        {
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

/// Judges every request, for [`guard`] and for handlers that say less to those who are refused.
pub(super) async fn judge(
    State(hosts): State<Arc<ArcSwap<Hosts>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let local = request.extensions().get::<Local>();
    // A socket for both families has IPv4 addresses in IPv6.
    let local = local.map(|Local(address)| address.ip().to_canonical());
    let standing = match hosts.load().judge(&request, local) {
        Ok(()) => Standing::Known,
        Err(refusal) => Standing::Refused(refusal),
    };
    request.extensions_mut().insert(standing);
    next.run(request).await
}

/// Refuses a request that names another host.
pub(super) async fn guard(
    Extension(standing): Extension<Standing>,
    request: Request,
    next: Next,
) -> Response {
    match standing {
        Standing::Known => next.run(request).await,
        Standing::Refused(refusal) => refusal.into_response(),
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
                    // It may be translated on the way here.
                    Named::Address(_) => "",
                    Named::Name(_) => "use its IP address, or ",
                };
                let text = format!(
                    "this router is not known as {host}: {address}add `host {host}` to the block of `{directive}` in the Tapfile\n"
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

    /// Reads `HOST` or `HOST:PORT`. The port does not matter: it changes on the way through `ssh -L` and
    /// `kubectl port-forward`, and a page of another port is none of another name.
    fn read(authority: &Authority) -> Option<Self> {
        let (text, host) = (authority.as_str(), authority.host());
        // `Authority` takes a user's name, and anything after the last colon.
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
