//! From a host and a port to addresses.

mod error;
mod system;
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
use tokio::time;

pub use self::error::ResolveError;
use self::{
    system::{HostsFile, ResolvConf},
    upstream::Upstream,
};
use super::{Authority, Host};

/// Turns hosts into addresses, with `/etc/hosts` first and DNS second. A clone shares its cache.
///
/// DNS answers are kept for their TTL, and answers that there is nothing for at most five seconds. `/etc/hosts` and
/// `/etc/resolv.conf` are read again when they change, so neither needs a restart, and neither needs to exist at the
/// start.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

/// Whom a [`Resolver`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The name servers; those of `/etc/resolv.conf`, with its search list, if there are none here.
    pub name_servers: Vec<SocketAddr>,
    /// How long one resolution may take, all questions and repetitions together.
    pub timeout: Duration,
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

// === impl Resolver ===

impl Resolver {
    /// A resolver. Nothing is asked or read yet.
    ///
    /// # Errors
    /// [`ResolveError::Setup`] if the name servers given cannot be used.
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
            timeout,
        } = settings;
        let servers = if name_servers.is_empty() {
            Servers::System(ResolvConf::new(resolv_conf, timeout))
        } else {
            let servers = name_servers.into_iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            let upstream = Upstream::new(config, ResolverOpts::default(), timeout);
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

    /// The addresses of a host, each once; never empty. IPv6 and IPv4 take turns, IPv6 first (RFC 8305), each family
    /// in the name server's order, so that a family that leads nowhere costs one attempt and not all of them.
    ///
    /// An address as host is returned as it is, with its zone looked up.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(&self, authority: &Authority) -> Result<Vec<SocketAddr>, ResolveError> {
        let name = match &authority.host {
            Host::Ip { address, zone } => {
                return Ok(vec![literal(*address, zone.as_deref(), authority.port)?]);
            }
            Host::Name(name) => name,
        };
        let timeout = self.shared.timeout;
        let addresses = time::timeout(timeout, self.shared.look_up(name))
            .await
            .unwrap_or_else(|_| {
                Err(ResolveError::Timeout {
                    name: name.to_string(),
                })
            })?;
        let addresses = addresses.into_iter();
        Ok(addresses
            .map(|address| SocketAddr::new(address, authority.port))
            .collect())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
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

// === impl ResolverSettings ===

impl Default for ResolverSettings {
    /// The system's name servers, and six seconds.
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            timeout: Duration::from_secs(6),
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn look_up(&self, written: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let name = Name::from_str_relaxed(written).map_err(|_| ResolveError::BadName {
            name: written.to_owned(),
        })?;
        let hosts = self.hosts.read().await;
        let mut found = Vec::new();
        for family in [RecordType::AAAA, RecordType::A] {
            let lookup = hosts.lookup_static_host(&Query::query(name.clone(), family));
            let answers = lookup.iter().flat_map(Lookup::answers);
            found.push(answers.filter_map(|record| record.data.ip_addr()).collect());
        }
        let addresses = take_turns(found);
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        match &self.servers {
            Servers::Given(upstream) => upstream.look_up(written, &name).await,
            Servers::System(file) => file.read().await?.look_up(written, &name).await,
        }
    }
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
