//! The confirmation of a sink's frames, as `/status` shows it.

use serde::{Deserialize, Serialize};

/// The confirmation of a sink's frames. The ledger has the number of the unconfirmed frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfirmStatus {
    /// The configured level: `written`, `kernel` or `finish`. For a sink that writes to Kafka it is `stored`: all in-sync
    /// replicas have stored the frame.
    pub level: String,
    /// Bytes of memory that the unconfirmed frames hold.
    pub unconfirmed_bytes: u64,
    /// The age of the oldest unconfirmed frame in seconds, counted from the time at which it was read from the sender;
    /// `null` if there is none.
    pub oldest_seconds: Option<f64>,
}

/// The level without confirmation: a written frame counts as delivered.
const WRITTEN: &str = "written";

// === impl ConfirmStatus ===

impl ConfirmStatus {
    /// Returns whether frames wait for a confirmation at this level.
    pub fn is_in_use(&self) -> bool {
        self.level != WRITTEN
    }
}

impl Default for ConfirmStatus {
    /// Returns the status of a router whose version has no `confirm` yet.
    fn default() -> Self {
        Self {
            level: WRITTEN.to_owned(),
            unconfirmed_bytes: 0,
            oldest_seconds: None,
        }
    }
}
