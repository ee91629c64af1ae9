//! Name resolution: it finds the addresses of hosts, and of services with SRV records.
//!
//! `dns` makes the lookups, in `/etc/hosts` and with name servers. It is the only module that uses hickory. Without the
//! feature `resolver`, `absent` is compiled in its place, and its [`Resolver`] has no values. The order of the other
//! modules is `error`, `target`, `order`, `answer`, `literal`. Each of them uses only earlier ones.

mod answer;
#[cfg_attr(not(feature = "resolver"), path = "absent.rs")]
mod dns;
mod error;
mod literal;
mod order;
mod target;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

#[cfg(all(test, feature = "resolver"))]
pub(crate) use self::dns::test_server;
pub use self::{
    answer::Addresses,
    dns::{Resolver, ServerError},
    error::ResolveError,
};
pub(crate) use self::{answer::Answer, literal::Literal};
use super::{Authority, SrvName};

/// The settings of a [`Resolver`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The name servers. If empty, the name servers of `/etc/resolv.conf` are used.
    pub name_servers: Vec<SocketAddr>,
    /// The domains that are appended to a relative name. If empty, the search domains of `/etc/resolv.conf` are used,
    /// or none if `name_servers` are set.
    pub search: Vec<Arc<str>>,
    /// A name with at least this many dots is first looked up as it is, and then with the search domains. The default
    /// is the value of `/etc/resolv.conf`, or 1 if `name_servers` are set.
    pub ndots: Option<usize>,
    /// The time for one lookup, including all questions and retries.
    pub timeout: Duration,
}

/// A name or service to look up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A host with a known port.
    Host(Authority),
    /// A service: SRV records give its hosts and ports.
    Service(SrvName),
}

// === impl Destination ===

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(authority) => authority.fmt(f),
            Self::Service(name) => name.fmt(f),
        }
    }
}

// === impl ResolverSettings ===

impl Default for ResolverSettings {
    /// Returns settings with the system's name servers and a timeout of six seconds.
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            search: Vec::new(),
            ndots: None,
            timeout: Duration::from_secs(6),
        }
    }
}
