//! The settings of a spool, and the types of the arguments of its calls.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::error::SpoolError;

/// The settings of a spool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the spool. It must exist. This path is used only in the text of errors, because the files are
    /// accessed through another argument.
    pub folder: PathBuf,
    /// The name of the sink. It is written to the files. A spool that belongs to another sink is refused.
    pub owner: String,
    /// The length at which a segment is full, in bytes. A segment is longer than this only if it consists of one long
    /// record.
    pub segment: u64,
    /// The limit for all segments together, in bytes. It must be at least [`LEAST_SEGMENTS`] times `segment`.
    pub size: u64,
    /// The rule for when written data must be on the disk.
    pub sync: Sync,
    /// The frames that are given up when the spool is full.
    pub when_full: WhenFull,
    /// The age at which frames are given up. The age counts from the time at which the router received the frames.
    /// `None` if there is no such limit.
    pub age: Option<Duration>,
}

/// The rule for when written data must be on the disk. The rule matters only for a power loss: if the process is
/// killed, no data is lost with any of these values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// The data must be on the disk within this time after the write. A power loss can cost the data that was written
    /// in the last period of this length.
    Within(Duration),
    /// The data must be on the disk before [`append`](super::Spool::append) returns.
    Always,
    /// The operating system decides when it writes the data to the disk. A power loss can cost all data since the
    /// start.
    Never,
}

/// The frames that are given up when a spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The new frames are given up: no more frames are appended.
    Newest,
    /// The oldest frames are given up, one segment at a time.
    Oldest,
}

/// The current time, on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The time by the system clock. It is used for the age of frames.
    pub wall: SystemTime,
    /// The time by a clock that is never set back. It decides when the next sync is due.
    pub steady: Instant,
}

/// The frames that one call appends to a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One or more data frames in their wire form, as in a chunk.
    pub payload: Bytes,
    /// Data that the caller needs when it reads the frames again. The spool stores it without using it.
    pub context: Bytes,
    /// The time at which the router received the frames.
    pub received: SystemTime,
}

/// The smallest number of segments for which a spool must have room: one that is being written, one that is being read,
/// and two between them.
pub const LEAST_SEGMENTS: u64 = 4;

// === impl Settings ===

impl Settings {
    /// Returns the time within which written data must be on the disk, if there is one.
    pub fn pace(&self) -> Option<Duration> {
        match self.sync {
            Sync::Within(time) => Some(time),
            Sync::Always | Sync::Never => None,
        }
    }

    /// Checks that the spool has room for enough segments.
    pub(super) fn check(&self) -> Result<(), SpoolError> {
        if self.size < self.segment.saturating_mul(LEAST_SEGMENTS) {
            return Err(SpoolError::TooSmall {
                size: self.size,
                segment: self.segment,
                segments: LEAST_SEGMENTS,
            });
        }
        Ok(())
    }
}

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

/// Returns a time as milliseconds since 1970. Returns 0 for an earlier time.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time for a number of milliseconds since 1970. The number was read from a file, so it may be too large
/// for a time. In that case, returns the latest possible time.
pub(super) fn time(millis: u64) -> SystemTime {
    let latest = Duration::from_secs(u64::from(u32::MAX) << 5);
    let since = Duration::from_millis(millis).min(latest);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
