//! Takes the place of `dns` in a library without the feature `resolver`.
//!
//! The types here have no values, so no lookup can happen. A Tapfile that contains a host name is refused earlier: see
//! `config/directives/features.rs`. A configuration that a program builds without a Tapfile fails with
//! [`ResolveError::NotBuilt`].

use std::{convert::Infallible, hash::Hash, io};

use super::{Answer, Destination, ResolveError, ResolverSettings};

/// Resolves names. This library was built without the feature `resolver`, so there is no resolver.
#[derive(Debug, Clone)]
pub struct Resolver(Infallible);

/// The error of a name server. It cannot occur without the feature `resolver`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(Infallible);

// === impl Resolver ===

impl Resolver {
    /// Fails.
    ///
    /// # Errors
    /// Always [`ResolveError::NotBuilt`].
    pub fn new(_: ResolverSettings) -> Result<Self, ResolveError> {
        Err(ResolveError::NotBuilt)
    }

    /// Has the signature of the real `resolve`. It cannot be called, because there is no resolver.
    ///
    /// # Errors
    /// None.
    #[expect(clippy::unused_async, reason = "as in `dns`")]
    pub async fn resolve(&self, _: &Destination) -> Result<Answer, ResolveError> {
        match self.0 {}
    }
}

// === impl ServerError ===

impl ServerError {
    pub(crate) fn as_io(&self) -> Option<&io::Error> {
        match self.0 {}
    }

    pub(crate) fn kind(&self) -> impl Hash + use<> {
        self.0
    }
}
