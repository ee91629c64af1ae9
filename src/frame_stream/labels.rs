//! The metadata of a chunk's frames.

use std::ops::Range;

use crate::extra::Labels;

/// The metadata of each frame of a chunk. Only the chunks of a DNS server with an embedded tapfan have metadata, and
/// only if the server adds metadata to its messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrameLabels {
    /// The end of each frame's part of `bytes`.
    ends: Box<[u32]>,
    bytes: Box<[u8]>,
}

// === impl FrameLabels ===

impl FrameLabels {
    /// Creates the metadata of frames from `bytes`. `ends` has, for each frame, the end of its part of `bytes`.
    #[cfg(any(test, feature = "spool", feature = "tap"))]
    pub(crate) fn new(ends: &[u32], bytes: &[u8]) -> Self {
        Self {
            ends: ends.into(),
            bytes: bytes.into(),
        }
    }

    /// Returns the end of each frame's part of the bytes, and the bytes.
    #[cfg(feature = "spool")]
    pub(crate) fn parts(&self) -> (&[u32], &[u8]) {
        (&self.ends, &self.bytes)
    }

    /// Keeps only the metadata of the last `frames` frames.
    #[cfg(feature = "spool")]
    pub(crate) fn last(&self, frames: usize) -> Self {
        let all = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.copy(&(all.saturating_sub(frames)..all))
    }

    /// Returns the metadata of one frame.
    pub(super) fn of(&self, frame: u32) -> Labels<'_> {
        let bytes = self.bytes.get(self.part(&(frame..frame + 1)));
        Labels::of(bytes.unwrap_or_default())
    }

    /// Returns the memory of some frames' metadata, in bytes.
    pub(super) fn size(&self, frames: &Range<u32>) -> usize {
        self.part(frames).len() + frames.len() * size_of::<u32>()
    }

    /// Copies some frames' metadata.
    pub(super) fn copy(&self, frames: &Range<u32>) -> Self {
        let part = self.part(frames);
        let ends = frames.clone().map(|frame| self.end(frame + 1) - part.start);
        // The ends in the copy are no greater than the ends in the original.
        let ends = ends.filter_map(|end| u32::try_from(end).ok());
        Self {
            ends: ends.collect(),
            bytes: self.bytes.get(part.clone()).unwrap_or_default().into(),
        }
    }

    /// Copies the metadata of these frames.
    pub(super) fn pick(&self, frames: impl Iterator<Item = u32>) -> Self {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for frame in frames {
            let part = self.bytes.get(self.part(&(frame..frame + 1)));
            bytes.extend_from_slice(part.unwrap_or_default());
            // The copy is not longer than the original, whose ends fit.
            ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
        Self {
            ends: ends.into(),
            bytes: bytes.into(),
        }
    }

    fn part(&self, frames: &Range<u32>) -> Range<usize> {
        self.end(frames.start)..self.end(frames.end)
    }

    /// Returns the end of the metadata of the first `frames` frames.
    fn end(&self, frames: u32) -> usize {
        let last = frames.checked_sub(1);
        let end = last.and_then(|last| self.ends.get(last as usize));
        end.map_or(0, |end| *end as usize)
    }
}
