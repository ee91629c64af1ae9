//! Reading of the files in a configuration: regular files only, with a size limit and a deadline.
//!
//! A read from a hung mount never returns and cannot be cancelled. So a task that must not hang reads through a
//! [`Reader`]. It starts a thread for each read, knows which file the thread waits for, and abandons the thread after a
//! deadline.
//!
//! Called by `cli`, `supervisor`, `config` and `net`; calls nothing of this crate.

mod read;
mod reader;
mod wait;

pub(crate) use read::{FileReadError, open, read};
pub(crate) use reader::{Reader, Unanswered, read_in_time};
pub(crate) use wait::waiting_for;

/// The largest certificate, key or bundle of authorities that is read, in bytes. The bundles of Linux distributions
/// have 200 KiB.
pub(crate) const MATERIAL_LIMIT: usize = 16 << 20;
