//! The target of a sink's connections.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::{
    net::{Addresses, Connector, Literal, TcpSettings, UnixAddress},
    sink::{Resolution, file::Files},
};

/// The target of a sink's connections: an address, and the protocol that is spoken there.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Unix(UnixAddress),
    /// TCP, with TLS if it is configured.
    Tcp {
        /// The address or name to dial.
        place: Place,
        settings: TcpSettings,
        /// The TLS client that makes the sessions. `None` for plain TCP. All connections of the sink share this client.
        tls: Option<Arc<Connector>>,
    },
    /// Files.
    Files(Files),
}

/// The destination of a TCP connection.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An IP address, which needs no lookup.
    Fixed(Literal),
    /// The current addresses of a name.
    Named(Resolution),
}

// === impl Place ===

impl Place {
    /// Returns a receiver of the current addresses of the name. The receiver is notified when they change. `None` if
    /// the destination is an IP address.
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
            Self::Fixed(literal) => literal.fmt(f),
            Self::Named(resolution) => resolution.destination.fmt(f),
        }
    }
}
