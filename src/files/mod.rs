//! Reads the files that a configuration names: only regular files, with a size limit and a deadline.
//!
//! A read from a hung mount never returns and cannot be cancelled. So a task that must not hang reads through a
//! [`Reader`]. The reader starts a thread for each read, knows which file the thread waits for, and abandons the thread
//! after a deadline.

mod read;
mod reader;
mod secret;
mod wait;

use std::path::Path;

pub(crate) use read::{FileReadError, open, read};
pub(crate) use reader::{Reader, Unanswered, read_in_time};
pub(crate) use secret::Secret;
pub use secret::SecretError;
pub(crate) use wait::waiting_for;

/// Returns the folder of a file, or the working directory for a bare name.
pub(crate) fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The largest certificate, key or bundle of authorities that is read, in bytes. The bundles of Linux distributions
/// have 200 KiB.
pub(crate) const MATERIAL_LIMIT: usize = 16 << 20;

/// The largest list of names that is read, in bytes. A million names have 20 MiB.
pub(crate) const NAMES_LIMIT: usize = 256 << 20;
