//! Frames and their bytes: what a queue may hold, and what parts of it hold.

use std::ops::{AddAssign, Div, SubAssign};

use crate::frame_stream::Chunk;

/// The bounds of a queue. What is in flight counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Frames.
    pub frames: usize,
    /// Bytes of memory that the frames hold.
    pub bytes: usize,
}

/// So many frames, which hold so many bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// One of the two bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    Frames,
    Bytes,
}

// === impl Dimension ===

impl Dimension {
    /// So much of this alone.
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
    /// A whole chunk.
    pub(super) fn of(chunk: &Chunk) -> Self {
        Self {
            frames: chunk.len(),
            bytes: chunk.footprint(),
        }
    }

    /// What is left of it after `other`; nothing where that is more.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(other.frames),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// The number of `chunk`'s first frames that it has room for.
    pub(super) fn room_for(self, chunk: &Chunk) -> usize {
        if chunk.len() <= self.frames && chunk.footprint() <= self.bytes {
            chunk.len()
        } else {
            self.frames
                .min(chunk.len())
                .min(chunk.frames_within(self.bytes))
        }
    }

    /// The first of its two parts that is not zero.
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

    /// An equal part of it, for each of so many; all of it if there are none.
    fn div(self, parts: usize) -> Self {
        Self {
            frames: self.frames / parts.max(1),
            bytes: self.bytes / parts.max(1),
        }
    }
}
