//! A configuration with its certificates read.

use super::material::Material;
use crate::{config::Config, net::TlsError};

/// A configuration, and what the certificates and keys that it names were made into.
///
/// To start or change a router with it reads no file. So all that a hanging file system could hold up is done here, on
/// whichever thread can be spared for it.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    sinks: Vec<Read>,
    listeners: Vec<Read>,
}

/// The result of reading the files of one directive.
type Read = Result<Material, TlsError>;

// === impl Prepared ===

impl Prepared {
    /// Reads the files that `config` names. Blocks for as long as they need. One that cannot be used is reported when the
    /// router is started or changed with it.
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

    /// The configuration, and the material of its sinks and of its listeners, in their order.
    pub(super) fn into_parts(self) -> (Config, Vec<Read>, Vec<Read>) {
        (self.config, self.sinks, self.listeners)
    }
}
