//! Amounts of frames and of their bytes.

use std::ops::{AddAssign, Div, SubAssign};

pub(crate) use crate::config::QueueLimits as Limits;
use crate::frame_stream::Chunk;

/// A number of frames, and the memory that they occupy, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// One of the two quantities that limit a queue: frames or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    Frames,
    Bytes,
}

// === impl Dimension ===

impl Dimension {
    /// Returns an amount of `size` frames or of `size` bytes, depending on the dimension. The other number is 0.
    pub(super) fn amount(self, size: usize) -> Amount {
        match self {
            Self::Frames => Amount {
                frames: size,
                bytes: 0,
            },
            Self::Bytes => Amount {
                frames: 0,
                bytes: size,
            },
        }
    }
}

// === impl Amount ===

impl Amount {
    pub(super) fn of(chunk: &Chunk) -> Self {
        Self {
            frames: chunk.len(),
            bytes: chunk.footprint(),
        }
    }

    /// Subtracts `other` in frames and in bytes. A result below 0 becomes 0.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(other.frames),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// Returns the number of frames at the front of `chunk` that fit into this amount.
    pub(super) fn room_for(self, chunk: &Chunk) -> usize {
        if chunk.len() <= self.frames && chunk.footprint() <= self.bytes {
            chunk.len()
        } else {
            self.frames
                .min(chunk.len())
                .min(chunk.frames_within(self.bytes))
        }
    }

    /// Returns the first dimension that is not 0.
    pub(super) fn dimension(self) -> Option<Dimension> {
        match self {
            Self { frames: 1.., .. } => Some(Dimension::Frames),
            Self { bytes: 1.., .. } => Some(Dimension::Bytes),
            Self { .. } => None,
        }
    }

    pub(super) fn along(self, dimension: Dimension) -> usize {
        match dimension {
            Dimension::Frames => self.frames,
            Dimension::Bytes => self.bytes,
        }
    }
}

impl From<Limits> for Amount {
    fn from(limits: Limits) -> Self {
        Self {
            frames: limits.frames,
            bytes: limits.bytes,
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        self.frames -= other.frames;
        self.bytes -= other.bytes;
    }
}

impl Div<usize> for Amount {
    type Output = Self;

    /// Divides the frames and the bytes by `parts`, or by 1 if `parts` is 0.
    fn div(self, parts: usize) -> Self {
        Self {
            frames: self.frames / parts.max(1),
            bytes: self.bytes / parts.max(1),
        }
    }
}
