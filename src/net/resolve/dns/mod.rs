//! Lookups in `/etc/hosts` and DNS, with hickory.
//!
//! The order of the modules, each of which uses only earlier ones: `edns`; `upstream`; `system`; `sources`; `service`.

mod edns;
mod service;
mod sources;
mod system;
#[cfg(test)]
pub(crate) mod test_server;
mod upstream;

use std::{
    fmt,
    hash::Hash,
    io,
    mem::{Discriminant, discriminant},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::NetError,
};
use tokio::time::Instant;

use self::{
    sources::{Servers, Sources, read_name},
    system::{HostsFile, ResolvConf},
    upstream::{Overrides, Upstream},
};
use super::{
    Addresses, Answer, Authority, Destination, Literal, ResolveError, ResolverSettings,
    target::{Target, Unanswered},
};
use crate::net::Host;

/// Resolves names with `/etc/hosts` first, and then with DNS.
///
/// Nothing is cached here: callers keep an answer for its TTL. `/etc/hosts` and `/etc/resolv.conf` are read again when
/// they change. So a change of these files needs no restart, and they do not have to exist at the start.
#[derive(Clone)]
pub struct Resolver {
    sources: Arc<Sources>,
    timeout: Duration,
}

/// The error of a name server, or of the connection to it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ServerError(#[from] NetError);

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
            Servers::Configured(upstream.map_err(|error| ResolveError::Setup(error.into()))?)
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
    /// unreachable, the second attempt already uses the other family. Within a family, the addresses keep the name
    /// server's order. A literal address is returned unchanged, with its zone looked up.
    ///
    /// If the name server sends the addresses of targets together with SRV records, these addresses are used. All other
    /// targets are looked up, as absolute names.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(&self, destination: &Destination) -> Result<Answer, ResolveError> {
        let deadline = Instant::now() + self.timeout;
        match destination {
            Destination::Host(Authority { host, port }) => match host {
                Host::Ip { address, zone } => {
                    let literal = Literal::new(*address, zone.clone(), *port);
                    let address = literal.address()?;
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

// === impl ServerError ===

impl ServerError {
    /// Returns the operating system's error, if this error contains one.
    pub(crate) fn as_io(&self) -> Option<&io::Error> {
        match &self.0 {
            NetError::Io(error) => Some(error),
            _ => None,
        }
    }

    /// Returns a value that is equal for errors that differ only in details of their text.
    pub(crate) fn kind(&self) -> impl Hash + use<> {
        let kind: Discriminant<NetError> = discriminant(&self.0);
        kind
    }
}

// === impl ResolveError ===

impl ResolveError {
    /// Returns the more important of two errors for the same name. A failed lookup is more important than the answer
    /// that the name does not exist.
    fn or_worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// Returns whether the name servers answered that the name or its records do not exist. False if they failed to
    /// answer.
    fn is_absence(&self) -> bool {
        self.rank() <= 1
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NoSuchName { .. } => 0,
            Self::NoAddresses { .. } | Self::NoService { .. } | Self::NotOffered { .. } => 1,
            Self::ServerFailure { .. } => 2,
            Self::Unreachable { .. } => 3,
            _ => 4,
        }
    }
}

// === impl Addresses ===

impl Addresses {
    /// Creates the answer for a single host, with its addresses in the order to try them.
    fn of_host(host: &str, addresses: Vec<SocketAddr>, port: u16, unanswered: Unanswered) -> Self {
        Self::new(vec![Target {
            host: host.into(),
            port,
            priority: 0,
            weight: 0,
            addresses,
            unanswered,
        }])
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

#[cfg(test)]
mod tests;
