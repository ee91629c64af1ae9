//! Shared parts of the fuzz targets: random splits, a scripted peer, a folder in memory, and an independent parser of
//! control frames.

mod folder;
mod peer;

use std::time::Duration;

use tapfan::internals::{Control, ControlError};
use tokio::runtime::{Builder, Runtime};

pub use folder::Folder;
pub use peer::{Peer, Then};

/// The deadline of a handshake, on the clock of [`paused`].
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Pseudo-random numbers. The last bytes of an input are the seed, so a run depends only on its input.
#[derive(Debug, Clone)]
pub struct Dice(u64);

// === impl Dice ===

impl Dice {
    /// Splits off the seed from the end of `data`.
    pub fn split(data: &[u8]) -> Option<(&[u8], Self)> {
        let (rest, seed) = data.split_last_chunk()?;
        Some((rest, Self(u64::from_le_bytes(*seed) | 1)))
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % bound.max(1)
    }

    /// Returns the length of the next part of an input. `rest` is the number of bytes that are left. The part is often
    /// short, and sometimes it has all these bytes.
    pub fn part(&mut self, rest: usize) -> usize {
        let most = match self.below(4) {
            0 => 1,
            1 => 8,
            2 => 64,
            _ => rest,
        };
        (1 + self.below(most)).min(rest)
    }
}

/// Builds a runtime whose clock jumps to the next deadline when all of its tasks wait.
pub fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// Returns the first control frame of a known type in `data`, and the bytes after it. Skips frames of unknown types.
/// `None` if the frame is incomplete.
pub fn first_control(mut data: &[u8]) -> Option<(Result<Control, ControlError>, &[u8])> {
    loop {
        let (escape, rest) = data.split_first_chunk::<4>()?;
        if *escape != [0; 4] {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (body, rest) = rest.split_at_checked(length)?;
        match Control::parse(body) {
            Err(ControlError::UnknownKind(_)) => data = rest,
            parsed => return Some((parsed, rest)),
        }
    }
}
