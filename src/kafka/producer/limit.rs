//! The size at which a batch or a request is full.

use std::time::Duration;

use tokio::time::Instant;

/// The size at which a batch or a request is full.
///
/// The size of a batch follows the limit of the topic, which brokers do not report: a batch that is too large makes it
/// smaller, and after some minutes, a new batch makes it larger again. Without this memory, each batch for a topic with a
/// low limit would be refused and divided several times.
///
/// The size of a request is limited in the same way, because a broker closes the connection if a request is larger than
/// `socket.request.max.bytes`.
#[derive(Debug)]
pub(super) struct Limit {
    bytes: usize,
    /// The size without any refusal.
    most: usize,
    /// The time of the last change.
    changed: Option<Instant>,
}

/// The time after which a larger batch is tried. The operator may have raised the limit of the topic. With compression,
/// the records may have become more similar.
const GROW_AFTER: Duration = Duration::from_secs(5 * 60);

// === impl Limit ===

impl Limit {
    pub(super) fn new(most: usize) -> Self {
        Self {
            bytes: most,
            most,
            changed: None,
        }
    }

    /// Returns the limit of a new batch or request.
    pub(super) fn current(&mut self, now: Instant) -> usize {
        if let Some(changed) = self.changed
            && now.saturating_duration_since(changed) >= GROW_AFTER
        {
            self.bytes = (self.bytes * 2).min(self.most);
            self.changed = (self.bytes < self.most).then_some(now);
        }
        self.bytes
    }

    /// Takes note that a broker called a batch of this size too large. The batch had more than one record.
    pub(super) fn shrink(&mut self, refused: usize, now: Instant) {
        self.bytes = self.bytes.min(refused / 2);
        self.changed = Some(now);
    }

    /// Returns the number of parts into which a batch of this size is divided. There are at least two.
    pub(super) fn parts_of(&self, size: usize) -> usize {
        size.div_ceil(self.bytes.max(1)).max(2)
    }
}
