//! The spool of a sink, as `/status` shows it.

use serde::{Deserialize, Serialize};

use crate::health::Failure;

/// The spool of a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// The folder.
    pub folder: String,
    /// The length of its files, in bytes.
    pub bytes: u64,
    /// The limit for `bytes`.
    pub size_bytes: u64,
    /// Frames on the disk that are neither delivered nor dropped. A restart of the router does not lose them.
    pub frames: u64,
    /// The age of the oldest of these frames in seconds, counted from the time at which it was read from its sender;
    /// `null` if there are no such frames.
    pub oldest_seconds: Option<f64>,
    /// Frames that the router found in the folder when it started.
    pub recovered: u64,
    /// The error of the disk and the time at which it began; `null` if the disk works. During the error, new frames are
    /// kept only in memory.
    pub failure: Option<Failure>,
}

// === impl SpoolStatus ===

impl SpoolStatus {
    /// Returns the part of the limit that is used.
    #[allow(clippy::cast_precision_loss)]
    pub fn fill(&self) -> f64 {
        self.bytes as f64 / self.size_bytes.max(1) as f64
    }
}
