//! The settings of a spool.

use std::{path::PathBuf, time::Duration};

use crate::closed_set::closed_set;

/// The spool of a sink: a folder that keeps the sink's frames when the router ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spool {
    /// The folder. It belongs to this sink alone.
    pub folder: PathBuf,
    /// The limit for the size of the folder's files together, in bytes.
    pub size: u64,
    /// The time at which written data must be on the disk.
    pub sync: SpoolSync,
    /// The age at which the spool drops frames. `None` means never.
    pub age: Option<Duration>,
    /// The frames that a full spool drops.
    pub when_full: WhenFull,
    /// The length of a file, in bytes. `None` means 64 MiB, or a quarter of `size` if that is less.
    pub segment: Option<u64>,
}

/// The time at which the data of a spool must be on the disk. With any of these values, a killed process loses no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolSync {
    /// At most this time after the data was written. A power loss can lose the data written in this time.
    Within(Duration),
    /// Before the sink sends the data.
    Always,
    /// The operating system chooses the time. A power loss can lose all data of the spool.
    Never,
}

closed_set! {
    /// The frames that a full spool drops.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum WhenFull {
        /// A full spool drops new frames.
        #[default]
        Newest => "newest",
        /// A full spool deletes its oldest file, and drops the frames in it.
        Oldest => "oldest",
    }
}

// === impl Spool ===

impl Spool {
    /// The smallest number of files that must fit into a spool.
    pub const FILES: u64 = 4;

    /// Creates a spool in `folder` with a limit of `size` bytes, and with the defaults of all other settings.
    pub fn new(folder: impl Into<PathBuf>, size: u64) -> Self {
        Self {
            folder: folder.into(),
            size,
            sync: SpoolSync::default(),
            age: None,
            when_full: WhenFull::default(),
            segment: None,
        }
    }

    /// Returns the length of a file, in bytes.
    pub fn segment_length(&self) -> u64 {
        self.segment
            .unwrap_or((64 << 20).min(self.size / Self::FILES))
    }
}

impl Default for SpoolSync {
    /// Returns [`Within`](Self::Within) with 200 milliseconds.
    fn default() -> Self {
        Self::Within(Duration::from_millis(200))
    }
}
