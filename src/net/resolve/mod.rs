//! From names to addresses: hosts and ports, and services by their SRV records.

mod answer;
mod edns;
mod error;
mod order;
mod service;
mod system;
#[cfg(test)]
pub(crate) mod test_server;
mod upstream;

use std::{
    collections::HashSet,
    fmt, fs,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};
use tokio::time::{Instant, timeout_at};

use self::{
    answer::Unanswered,
    system::{HostsFile, ResolvConf},
    upstream::{Found, Upstream},
};
pub use self::{
    answer::{Addresses, Answer},
    error::ResolveError,
};
use super::{Authority, Host, SrvName};

/// Turns names into addresses, with `/etc/hosts` first and DNS second.
///
/// Every call asks anew: whoever wants to know how long an answer holds finds that in it. `/etc/hosts` and
/// `/etc/resolv.conf` are read again when they change, so neither needs a restart, and neither needs to exist at the
/// start.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

/// Whom a [`Resolver`] asks, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The name servers; those of `/etc/resolv.conf` if there are none here.
    pub name_servers: Vec<SocketAddr>,
    /// The domains with which a relative name is completed. If there are none here, those of `/etc/resolv.conf`, or
    /// none at all if there are name servers here.
    pub search: Vec<Arc<str>>,
    /// A name with so many dots is looked up as it is before it is completed. The default is that of `/etc/resolv.conf`,
    /// or 1 if there are name servers here.
    pub ndots: Option<usize>,
    /// How long one resolution may take, all questions and repetitions together.
    pub timeout: Duration,
}

/// What addresses are looked up for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A host, whose port is known.
    Host(Authority),
    /// A service, whose hosts and ports are in SRV records.
    Service(SrvName),
}

struct Shared {
    timeout: Duration,
    hosts: HostsFile,
    servers: Servers,
}

enum Servers {
    Given(Upstream),
    System(ResolvConf),
}

/// What the settings say in the place of `resolv.conf`.
#[derive(Debug, Clone)]
struct Overrides {
    search: Vec<Name>,
    ndots: Option<usize>,
    timeout: Duration,
}

// === impl Resolver ===

impl Resolver {
    /// A resolver. Nothing is asked or read yet.
    ///
    /// # Errors
    /// [`ResolveError::Setup`] if the name servers given cannot be used, [`ResolveError::BadName`] for a domain.
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
            Servers::Given(upstream.map_err(ResolveError::Setup)?)
        };
        Ok(Self {
            shared: Arc::new(Shared {
                timeout,
                hosts: HostsFile::new(hosts),
                servers,
            }),
        })
    }

    /// The addresses of a host or a service; never none.
    ///
    /// Of one host, IPv6 and IPv4 take turns, IPv6 first (RFC 8305), each family in the name server's order, so that
    /// a family that leads nowhere costs one attempt and not all of them. An address as host is returned as it is, with
    /// its zone looked up.
    ///
    /// Addresses that came along with SRV records are taken; other targets are looked up, absolute as they are.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(&self, destination: &Destination) -> Result<Answer, ResolveError> {
        let deadline = Instant::now() + self.shared.timeout;
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
                    let found = self.shared.host(name, deadline).await?;
                    let addresses = found.at(*port);
                    Ok(Answer {
                        addresses: Addresses::of_host(name, addresses, *port, found.unanswered),
                        ttl: found.ttl,
                    })
                }
            },
            Destination::Service(name) => {
                service::look_up(&self.shared, name.as_str(), deadline).await
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

/// A name server on UDP, and on TCP for long answers.
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

/// A zone is the name of an interface or its index (RFC 4007, section 11.2).
fn scope_id(zone: &str) -> Result<u32, ResolveError> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let unknown = || ResolveError::UnknownZone {
        zone: zone.to_owned(),
    };
    // The name becomes part of a path.
    if zone.is_empty() || zone.starts_with('.') || zone.contains('/') {
        return Err(unknown());
    }
    let index = fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
    let index = index.ok().and_then(|index| index.trim().parse().ok());
    index.ok_or_else(unknown)
}

fn read_name(written: &str) -> Result<Name, ResolveError> {
    Name::from_str_relaxed(written).map_err(|_| ResolveError::BadName {
        name: written.to_owned(),
    })
}

// === impl ResolverSettings ===

impl Default for ResolverSettings {
    /// The system's name servers, and six seconds.
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            search: Vec::new(),
            ndots: None,
            timeout: Duration::from_secs(6),
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn host(&self, written: &str, deadline: Instant) -> Result<Found, ResolveError> {
        let look_up = async {
            let name = read_name(written)?;
            if let Some(found) = self.in_hosts_file(&name).await {
                return Ok(found);
            }
            self.upstream().await?.host(written, &name).await
        };
        by(deadline, written, look_up).await
    }

    async fn in_hosts_file(&self, name: &Name) -> Option<Found> {
        let hosts = self.hosts.read().await;
        let mut found = Vec::new();
        for family in [RecordType::AAAA, RecordType::A] {
            let lookup = hosts.lookup_static_host(&Query::query(name.clone(), family));
            let answers = lookup.iter().flat_map(Lookup::answers);
            found.push(answers.filter_map(|record| record.data.ip_addr()).collect());
        }
        let addresses = take_turns(found);
        (!addresses.is_empty()).then(|| Found::for_ever(addresses))
    }

    async fn upstream(&self) -> Result<Upstream, ResolveError> {
        match &self.servers {
            Servers::Given(upstream) => Ok(upstream.clone()),
            Servers::System(file) => file.read().await,
        }
    }
}

/// What a look-up gives, if it does so in time.
async fn by<T>(
    deadline: Instant,
    name: &str,
    look_up: impl Future<Output = Result<T, ResolveError>>,
) -> Result<T, ResolveError> {
    timeout_at(deadline, look_up).await.unwrap_or_else(|_| {
        Err(ResolveError::Timeout {
            name: name.to_owned(),
        })
    })
}

/// The addresses of several lists in turn, each once.
fn take_turns(lists: Vec<Vec<IpAddr>>) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        for list in &mut lists {
            turns.extend(list.find(|address| seen.insert(*address)));
        }
        if turns.len() == before {
            return turns;
        }
    }
}

#[cfg(test)]
mod tests;
