//! The bounds over the connections of all listeners together.

use super::Unfinished;
use crate::memory::Budget;
use crate::net::Descriptors;

/// The bounds over the connections of all listeners together. Clones share the bounds.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    /// The memory of unfinished frames: their first bytes have arrived, their last have not.
    pub unfinished: Unfinished,
    /// The file descriptors that are kept free for the rest of the router.
    pub descriptors: Descriptors,
    /// The memory of everything that the router holds.
    pub memory: Budget,
}
