//! The address of a `listen` or `connect` line.

use std::{fmt, net::SocketAddr};

use super::{Remote, ServerTls, UnixAddress, UnixPermissions};

/// The address that a listener binds, or the servers to which tapfan connects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// A unix socket with a path or an abstract name.
    Unix(UnixAddress, UnixPermissions),
    /// TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr, ServerTls),
    /// Servers to which tapfan connects, from a `connect` line.
    Remote(Box<Remote>),
}

// === impl ListenAddress ===

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(address, _) => address.fmt(f),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address, _) => write!(f, "tls://{address}"),
            Self::Remote(remote) => remote.endpoint.fmt(f),
        }
    }
}
