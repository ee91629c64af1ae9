//! The settings of a listener for new connections.

use std::{fmt, sync::Arc};

use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::config::{Listen, ListenLimits};

/// The settings of a listener for new connections. A reload replaces them while the listener runs.
pub(crate) struct Settings {
    pub(super) limits: ListenLimits,
    pub(super) tls: Option<TlsAcceptor>,
}

// === impl Settings ===

impl Settings {
    /// The settings of `listen`. `tls` contains its certificate and key, and is `None` without TLS.
    pub(crate) fn new(listen: &Listen, tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            limits: listen.limits,
            tls: tls.map(TlsAcceptor::from),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}
