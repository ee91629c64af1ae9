//! Name resolution: it finds the addresses of hosts, and of services with SRV records.
//!
//! The order of the modules, each of which uses only earlier ones: `error` and `target`; `order` and `edns`; `answer`
//! and `upstream`; `system`; `sources`; `service`.

mod answer;
mod edns;
mod error;
mod order;
mod service;
mod sources;
mod system;
mod target;
#[cfg(test)]
pub(crate) mod test_server;
mod upstream;

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use tokio::time::Instant;

pub(crate) use self::answer::Answer;
pub use self::{answer::Addresses, error::ResolveError};
use self::{
    sources::{Servers, Sources, read_name},
    system::{HostsFile, ResolvConf},
    target::Unanswered,
    upstream::{Overrides, Upstream},
};
use super::{Authority, Host, SrvName};

/// Resolves names with `/etc/hosts` first, and then with DNS.
///
/// Nothing is cached here: callers keep an answer for its TTL. `/etc/hosts` and `/etc/resolv.conf` are read again when
/// they change. So a change of these files needs no restart, and they do not have to exist at the start.
#[derive(Clone)]
pub struct Resolver {
    sources: Arc<Sources>,
    timeout: Duration,
}

/// The settings of a [`Resolver`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The name servers. If empty, the name servers of `/etc/resolv.conf` are used.
    pub name_servers: Vec<SocketAddr>,
    /// The domains that are appended to a relative name. If empty, the search domains of `/etc/resolv.conf` are used,
    /// or none if `name_servers` are set.
    pub search: Vec<Arc<str>>,
    /// A name with at least this many dots is looked up as written before search domains are appended. The default is
    /// the value of `/etc/resolv.conf`, or 1 if `name_servers` are set.
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

// === impl Resolver ===

impl Resolver {
    /// Creates a resolver. No file is read and no name server is asked yet.
    ///
    /// # Errors
    /// [`ResolveError::Setup`] if the configured name servers cannot be used, [`ResolveError::BadName`] for an invalid
    /// search domain.
    pub fn new(settings: ResolverSettings) -> Result<Self, ResolveError> {
        let paths = (Path::new("/etc/resolv.conf"), Path::new("/etc/hosts"));
        Self::with_files(settings, paths.0, paths.1)
    }

    fn with_files(
        settings: ResolverSettings,
        resolv_conf: &Path,
        hosts: &Path,
    ) -> Result<Self, ResolveError> {
        let ResolverSettings {
            name_servers,
            search,
            ndots,
            timeout,
        } = settings;
        let search: Result<_, _> = search.iter().map(|domain| read_name(domain)).collect();
        let overrides = Overrides {
            search: search?,
            ndots,
            timeout,
        };
        let servers = if name_servers.is_empty() {
            Servers::System(ResolvConf::new(resolv_conf, overrides))
        } else {
            let servers = name_servers.into_iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            let upstream = Upstream::new(&config, ResolverOpts::default(), &overrides);
            Servers::Configured(upstream.map_err(ResolveError::Setup)?)
        };
        Ok(Self {
            sources: Arc::new(Sources {
                hosts: HostsFile::new(hosts),
                servers,
            }),
            timeout,
        })
    }

    /// Looks up the addresses of a host or a service. Returns at least one address.
    ///
    /// The addresses of one host alternate between IPv6 and IPv4, IPv6 first (RFC 8305). So if one family is
    /// unreachable, the second attempt already uses the other. Within a family, the addresses keep the name server's
    /// order. A literal address is returned unchanged, with its zone looked up.
    ///
    /// If the name server sends addresses of targets together with SRV records, these are used. All other targets are
    /// looked up, as absolute names.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(&self, destination: &Destination) -> Result<Answer, ResolveError> {
        let deadline = Instant::now() + self.timeout;
        match destination {
            Destination::Host(Authority { host, port }) => match host {
                Host::Ip { address, zone } => {
                    let address = literal(*address, zone.as_deref(), *port)?;
                    let none = Unanswered::default();
                    Ok(Answer {
                        addresses: Addresses::of_host("", vec![address], *port, none),
                        ttl: Duration::MAX,
                    })
                }
                Host::Name(name) => {
                    let found = self.sources.host(name, deadline).await?;
                    let addresses = found.at(*port);
                    Ok(Answer {
                        addresses: Addresses::of_host(name, addresses, *port, found.unanswered),
                        ttl: found.ttl,
                    })
                }
            },
            Destination::Service(name) => {
                service::look_up(&self.sources, name.as_str(), deadline).await
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
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

/// Configures a name server, with UDP, and with TCP for long answers.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

fn literal(address: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr, ResolveError> {
    match (address, zone) {
        (IpAddr::V6(address), Some(zone)) => {
            Ok(SocketAddrV6::new(address, port, 0, scope_id(zone)?).into())
        }
        _ => Ok(SocketAddr::new(address, port)),
    }
}

/// Reads a zone: the name of an interface or its index (RFC 4007, section 11.2).
fn scope_id(zone: &str) -> Result<u32, ResolveError> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let unknown = || ResolveError::UnknownZone(zone.to_owned());
    // The name becomes part of a path, so it must not lead to another folder.
    if zone.is_empty() || zone.starts_with('.') || zone.contains('/') {
        return Err(unknown());
    }
    let index = fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
    let index = index.ok().and_then(|index| index.trim().parse().ok());
    index.ok_or_else(unknown)
}

// === impl ResolverSettings ===

impl Default for ResolverSettings {
    /// The system's name servers, with a timeout of six seconds.
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            search: Vec::new(),
            ndots: None,
            timeout: Duration::from_secs(6),
        }
    }
}

#[cfg(test)]
mod tests;
