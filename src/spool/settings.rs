//! The settings of a spool, and the values that its calls take.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

/// The settings of a spool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder. Must exist. Used only in the text of errors; the file system is another argument.
    pub folder: PathBuf,
    /// The name of the sink. It is written to the files, and a spool of another sink is refused.
    pub owner: String,
    /// The length of a segment, in bytes. A segment is longer only if it consists of one long record.
    pub segment: u64,
    /// The limit for all segments together, in bytes, at least [`LEAST_SEGMENTS`] times `segment`.
    pub size: u64,
    /// The time at which written data must be on the disk.
    pub sync: Sync,
    /// The frames that a full spool gives up.
    pub when_full: WhenFull,
    /// The age at which frames are given up, counted from the time at which the router received them.
    pub age: Option<Duration>,
}

/// The time at which written data must be on the disk. A killed process loses nothing with any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// At most this time after the write. A power loss costs what was written in this time.
    Within(Duration),
    /// Before [`append`](super::Spool::append) returns.
    Always,
    /// Whenever the operating system decides. A power loss may cost everything that was written since the start.
    Never,
}

/// The frames that a full spool gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The new ones: nothing more is appended.
    Newest,
    /// The oldest ones, a segment at a time.
    Oldest,
}

/// The present time, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For the age of frames.
    pub wall: SystemTime,
    /// For the time of the next sync.
    pub steady: Instant,
}

/// Frames to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Data frames in their wire form, as in a chunk. At least one.
    pub payload: Bytes,
    /// What the caller must know about the frames when it reads them again. The spool only stores it.
    pub context: Bytes,
    /// The time at which the router received the frames.
    pub received: SystemTime,
}

/// The least number of segments for which a spool must have room: one that is written, one that is read, and two
/// between them.
pub const LEAST_SEGMENTS: u64 = 4;

// === impl Now ===

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }
}

/// Milliseconds since 1970; 0 for an earlier time.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time for a number of milliseconds since 1970 that was read from a file; the latest time if there is no such
/// time.
pub(super) fn time(millis: u64) -> SystemTime {
    let latest = Duration::from_secs(u64::from(u32::MAX) << 5);
    let since = Duration::from_millis(millis).min(latest);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
