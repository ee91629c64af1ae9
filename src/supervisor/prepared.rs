//! A configuration with the contents of the files that it names.

use super::material::Material;
use crate::{
    config::{Config, FilterFileError, ReadScreen},
    net::TlsError,
    sink::SinkSetupError,
};

/// A configuration with the TLS settings made from its certificates and keys, the passwords, and the filters made from
/// its lists of names and keys.
///
/// [`new`](Self::new) reads the files and can run on any thread. Starting or changing a router with the result reads no
/// file, so a hanging file system does not block the router.
#[derive(Debug)]
pub struct Prepared {
    pub(super) config: Config,
    pub(super) sinks: Vec<Result<Material, SinkSetupError>>,
    pub(super) listeners: Vec<Result<Material, TlsError>>,
    /// The filters of the sinks.
    pub(super) screens: Vec<Result<ReadScreen, FilterFileError>>,
}

// === impl Prepared ===

impl Prepared {
    /// Reads the files that `config` names. Blocks while it reads. Files that cannot be used are reported later, when
    /// the router is started or changed with the result.
    pub fn new(config: Config) -> Self {
        let screens = config.sinks.iter().map(|it| it.filters.read());
        Self::with(screens.collect(), config)
    }

    /// Does the same as [`new`](Self::new), with filters that were read when the configuration was checked.
    #[cfg(feature = "cli")]
    pub(crate) fn with_filters(config: Config, screens: Option<Vec<ReadScreen>>) -> Self {
        match screens {
            Some(screens) => Self::with(screens.into_iter().map(Ok).collect(), config),
            None => Self::new(config),
        }
    }

    fn with(screens: Vec<Result<ReadScreen, FilterFileError>>, config: Config) -> Self {
        Self {
            sinks: config.sinks.iter().map(Material::of_sink).collect(),
            screens,
            listeners: config.listeners.iter().map(Material::of_listener).collect(),
            config,
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
