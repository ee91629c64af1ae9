//! The servers of a `connect` line.

use std::{sync::Arc, time::Duration};

use super::{ClientTls, Endpoint, Listen, ListenAddress, Refresh, TlsWords};

/// The servers to which tapfan connects because of a `connect` line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remote {
    /// The address of a server. If it contains a DNS name, each address of this name is a server.
    pub endpoint: Endpoint,
    /// The TLS settings. `Some` exactly if `endpoint` uses TLS.
    pub tls: Option<ClientTls>,
    /// The time between lookups of the DNS name. No effect if `endpoint` has no DNS name.
    pub refresh: Refresh,
}

/// The default of [`ListenLimits::handshake`] for `connect`. `CoreDNS` waits up to 4 s for ACCEPT of one collector before
/// it accepts the next collector.
const PATIENT_DEADLINE: Duration = Duration::from_secs(10);

// === impl Remote ===

impl Remote {
    /// Creates servers at `endpoint`, with the defaults of all other settings.
    pub fn new(endpoint: Endpoint) -> Self {
        let tls = || ClientTls {
            words: TlsWords::of_connect(),
            ..ClientTls::default()
        };
        Self {
            tls: endpoint.is_tls().then(tls),
            endpoint,
            refresh: Refresh::default(),
        }
    }
}

// === impl Listen ===

impl Listen {
    /// Creates a `connect` line with the defaults of all other settings.
    pub fn to(name: impl Into<Arc<str>>, endpoint: Endpoint) -> Self {
        let address = ListenAddress::Remote(Box::new(Remote::new(endpoint)));
        let mut listen = Self::new(name, address);
        listen.limits.handshake = PATIENT_DEADLINE;
        listen
    }

    /// Returns the servers to which tapfan connects, or `None` for a `listen` line.
    pub fn remote(&self) -> Option<&Remote> {
        match &self.address {
            ListenAddress::Remote(remote) => Some(remote),
            _ => None,
        }
    }
}
