//! Where a sink connects to, and how.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::watch;

use crate::{
    net::{Addresses, Authority, TcpSettings, UnixAddress},
    sink::Resolution,
};

/// Where to connect to, and how.
#[derive(Debug, Clone)]
pub enum Target {
    /// A unix socket.
    Unix(UnixAddress),
    /// TCP, and TLS on it if there is a configuration for that.
    Tcp {
        /// The address or the name to dial.
        place: Place,
        /// The options of the socket.
        settings: TcpSettings,
        /// The TLS settings, for a sink that speaks TLS.
        tls: Option<Tls>,
    },
}

/// Where a TCP connection goes.
#[derive(Debug, Clone)]
pub enum Place {
    /// To an address that needs no name server.
    Fixed(Authority),
    /// To where a name leads.
    Named(Resolution),
}

/// The TLS settings of a sink.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The configuration of every handshake from now on. Shared by all stacks of the sink, so that certificates can be
    /// replaced while it runs.
    pub config: Arc<ArcSwap<ClientConfig>>,
    /// The name to verify.
    pub name: ServerName<'static>,
}

// === impl Place ===

impl Place {
    /// The addresses of the name, as they are and as they change.
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
            Self::Named(resolution) => resolution.destination().fmt(f),
        }
    }
}
