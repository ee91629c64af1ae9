//! What all listeners of a router share: bounds that hold over all their connections together.

use super::Unfinished;
use crate::memory::Budget;
use crate::net::Descriptors;

/// Bounds over the connections of all listeners. Clones are the same bounds.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The memory of frames that have begun and not ended.
    pub unfinished: Unfinished,
    /// The descriptors that senders leave for the rest of the router.
    pub descriptors: Descriptors,
    /// The memory of everything that the router holds.
    pub memory: Budget,
}
