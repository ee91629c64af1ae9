//! Addresses of sinks and listeners, as written in a Tapfile.

mod authority;
mod error;
mod file;
mod host;
mod kafka;
mod overlap;
mod parse;
mod srv;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

pub use error::AddressError;
pub use file::{FilePattern, FilePatternError};
pub use kafka::{KafkaAddress, KafkaAddressError, Topic};
pub use parse::{name_server_address, socket_address};
pub use srv::SrvName;

/// The longest path of a unix socket, in bytes: `sun_path` holds 108, the last of them NUL.
pub(crate) const UNIX_PATH_LIMIT: usize = 107;

/// The address of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A unix stream socket.
    Unix(UnixAddress),
    /// TCP.
    Tcp(Authority),
    /// TLS over TCP.
    Tls(Authority),
    /// TCP, to the hosts and ports of SRV records.
    TcpSrv(SrvName),
    /// TLS over TCP, to the hosts and ports of SRV records.
    TlsSrv(SrvName),
    /// Files that the sink writes.
    File(FilePattern),
    /// A topic of a Kafka cluster.
    Kafka(KafkaAddress),
    /// A socket at which the sink waits for collectors. They connect, and the sink writes to each of them.
    Listen(BindAddress),
}

/// The address of a listener: like [`Endpoint`], but without names that must be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// A unix stream socket.
    Unix(UnixAddress),
    /// TCP; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// TLS over TCP; port 0 lets the system choose.
    Tls(SocketAddr),
}

/// A unix socket's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnixAddress {
    /// A file, absolute or relative to the working directory.
    Path(PathBuf),
    /// A Linux abstract name, without its leading NUL.
    Abstract(Arc<str>),
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Name or address.
    pub host: Host,
    /// 1..=65535.
    pub port: u16,
}

/// A host as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name. If it ends with a dot, search domains are not appended.
    Name(Arc<str>),
    /// An address; `zone` is an IPv6 interface name or index (RFC 6874), not yet looked up.
    Ip {
        /// The address itself.
        address: IpAddr,
        /// The zone, as in `fe80::1%eth0`.
        zone: Option<Arc<str>>,
    },
}

// === impl Authority ===

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Returns whether the address contains a name that has to be looked up.
    pub fn is_named(&self) -> bool {
        match self {
            Self::Unix(_) | Self::File(_) | Self::Listen(_) => false,
            Self::Tcp(authority) | Self::Tls(authority) => matches!(authority.host, Host::Name(_)),
            Self::TcpSrv(_) | Self::TlsSrv(_) => true,
            Self::Kafka(address) => {
                let mut brokers = address.brokers.iter();
                brokers.any(|broker| matches!(broker.host, Host::Name(_)))
            }
        }
    }

    /// Returns whether the connections use TLS.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tls(_) | Self::TlsSrv(_) | Self::Listen(BindAddress::Tls(_)) => true,
            Self::Kafka(address) => address.is_tls,
            Self::Unix(_) | Self::Tcp(_) | Self::TcpSrv(_) | Self::File(_) | Self::Listen(_) => {
                false
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(address) => address.fmt(f),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Tls(authority) => write!(f, "tls://{authority}"),
            Self::TcpSrv(name) => write!(f, "tcp+srv://{name}"),
            Self::TlsSrv(name) => write!(f, "tls+srv://{name}"),
            Self::File(pattern) => pattern.fmt(f),
            Self::Kafka(address) => address.fmt(f),
            Self::Listen(address) => write!(f, "listen {address}"),
        }
    }
}

// === impl BindAddress ===

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(address) => address.fmt(f),
            Self::Tcp(address) => write!(f, "tcp://{}", Authority::from(*address)),
            Self::Tls(address) => write!(f, "tls://{}", Authority::from(*address)),
        }
    }
}

// === impl UnixAddress ===

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix://{}", path.display()),
            Self::Abstract(name) => write!(f, "unix://@{name}"),
        }
    }
}

// === impl Host ===

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip {
                address: IpAddr::V4(address),
                ..
            } => write!(f, "{address}"),
            Self::Ip {
                address,
                zone: None,
            } => write!(f, "[{address}]"),
            Self::Ip {
                address,
                zone: Some(zone),
            } => write!(f, "[{address}%25{zone}]"),
        }
    }
}
