//! The resolver. All sinks whose address contains a name share it.

use std::sync::{Arc, OnceLock};

use crate::net::{ResolveError, Resolver, ResolverSettings};

/// The resolver and its settings. The resolver is created for the first sink whose address contains a name. Clones of
/// this value share the resolver.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    settings: ResolverSettings,
    resolver: Arc<OnceLock<Resolver>>,
}

// === impl Names ===

impl Names {
    pub(crate) fn new(settings: &ResolverSettings) -> Self {
        Self {
            settings: settings.clone(),
            resolver: Arc::default(),
        }
    }

    pub(crate) fn settings(&self) -> &ResolverSettings {
        &self.settings
    }

    /// Returns the resolver.
    ///
    /// # Errors
    /// The same as those of [`Resolver::new`].
    pub(super) fn resolver(&self) -> Result<Resolver, ResolveError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver.clone());
        }
        let made = Resolver::new(self.settings.clone())?;
        Ok(self.resolver.get_or_init(|| made).clone())
    }
}
