//! The target of a sink's connections.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::watch;

use crate::{
    net::{Addresses, Authority, TcpSettings, UnixAddress},
    sink::Resolution,
};

/// The target of a sink's connections: an address and the protocol to speak.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Unix(UnixAddress),
    /// TCP, with TLS if it is configured.
    Tcp {
        /// The address or name to dial.
        place: Place,
        settings: TcpSettings,
        /// The TLS settings; `None` for plain TCP.
        tls: Option<Tls>,
    },
}

/// The destination of a TCP connection.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An address, which needs no lookup.
    Fixed(Authority),
    /// The current addresses of a name.
    Named(Resolution),
}

#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// The configuration of the next handshakes. All stacks of the sink share it, so that certificates can be replaced
    /// while the sink runs.
    pub config: Arc<ArcSwap<ClientConfig>>,
    /// The name to verify.
    pub name: ServerName<'static>,
}

// === impl Place ===

impl Place {
    /// The addresses of the name, now and after each change.
    pub(super) fn addresses(&self) -> Option<watch::Receiver<Arc<Addresses>>> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(resolution) => Some(resolution.addresses()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(authority) => authority.fmt(f),
            Self::Named(resolution) => resolution.destination.fmt(f),
        }
    }
}
