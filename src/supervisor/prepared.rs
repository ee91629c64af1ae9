//! A configuration with its certificates and keys.

use super::material::Material;
use crate::{config::Config, net::TlsError};

/// A configuration with the TLS settings made from its certificates and keys.
///
/// Starting or changing a router with it reads no file. So a hanging file system can only block [`new`](Self::new), which
/// can run on any thread.
#[derive(Debug)]
pub struct Prepared {
    pub(super) config: Config,
    pub(super) sinks: Vec<Read>,
    pub(super) listeners: Vec<Read>,
}

/// The result of reading the files of one directive.
type Read = Result<Material, TlsError>;

// === impl Prepared ===

impl Prepared {
    /// Reads the files that `config` names, and blocks while it does. Unusable files are reported when the router is started
    /// or changed with this.
    pub fn new(config: Config) -> Self {
        Self {
            sinks: config.sinks.iter().map(Material::of_sink).collect(),
            listeners: config.listeners.iter().map(Material::of_listener).collect(),
            config,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
