//! The bounds that the connections of all listeners share.

use super::Unfinished;
use crate::memory::Budget;
use crate::net::Descriptors;

/// The bounds that the connections of all listeners share. Clones share them, too.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    /// The memory of unfinished frames: frames whose first bytes have arrived but whose last bytes have not.
    pub unfinished: Unfinished,
    /// The limit that keeps file descriptors free for the other parts of the router.
    pub descriptors: Descriptors,
    /// The memory of everything that the router holds.
    pub memory: Budget,
}
