//! The reasons why taps do not start.

use std::{io, sync::Arc};

use crate::{config::Diagnostics, supervisor::StartError};

/// The reason why taps were not started. After such an error, nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Tapfile has errors. The text lists each error with its position.
    #[error("{0}")]
    Tapfile(Diagnostics),
    /// Two sinks have the same name. Reports and metrics distinguish sinks by name.
    #[error("two sinks have the name `{0}`: give one of them another name")]
    SameName(Arc<str>),
    /// `identity` or `version` is too long.
    #[error(
        "the {field} has {length} bytes: at most {} are allowed",
        Self::LONGEST_TEXT
    )]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A certificate or a key cannot be used, or names cannot be looked up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system cannot start another thread, or the process has no descriptors left.
    #[error("cannot start the thread that runs the sinks: {0}")]
    Thread(#[from] io::Error),
}

// === impl Error ===

impl Error {
    /// The longest `identity` or `version`, in bytes. A Tapfile has the same limit.
    pub(super) const LONGEST_TEXT: usize = 4096;
}
