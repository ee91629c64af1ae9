//! Files that an operator names: regular ones only, within a bound, read by a thread that can be given up.
//!
//! A read from a mount that hangs never returns, and nothing can end it. So whoever must go on reads through a [`Reader`]:
//! it has a thread for each reading, knows which file that thread is at, and has a deadline for it.
//!
//! Called by `cli`, `supervisor`, `config` and `net`; calls nothing of this crate.

mod progress;
mod read;
mod reader;

pub(crate) use progress::waiting_for;
pub(crate) use read::{FileError, open, read};
pub(crate) use reader::{Reader, Unanswered, read_in_time};

/// The largest certificate, key or bundle of authorities that is read, in bytes. The bundles of distributions have 200 KiB.
pub(crate) const MATERIAL_LIMIT: usize = 16 << 20;
