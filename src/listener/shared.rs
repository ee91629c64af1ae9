//! What all listeners of a router share: bounds that hold over all their connections together.

use super::Unfinished;

/// Bounds over the connections of all listeners. Clones are the same bounds.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The memory of frames that have begun and not ended.
    pub unfinished: Unfinished,
}
