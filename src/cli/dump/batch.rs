//! Batches of valid frames. Frames move from an input to the outputs in batches.

/// A batch of frames in their wire form: the length of each frame comes before its payload. All frames are dnstap
/// messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Batch {
    wire: Vec<u8>,
    frames: u64,
    /// True if these frames may wait for an output. Frames from a socket must not, because the DNS server would wait,
    /// too.
    may_wait: bool,
}

/// The size in bytes at which a batch is passed on.
pub(super) const FULL: usize = 64 << 10;

// === impl Batch ===

impl Batch {
    /// Makes an empty batch for frames from a file. Such frames may wait for the outputs.
    pub(super) fn of_file() -> Self {
        Self {
            may_wait: true,
            ..Self::default()
        }
    }

    /// Makes a batch of frames from a listener. The frames are in their wire form already.
    pub(super) fn of_socket(wire: Vec<u8>, frames: u64) -> Self {
        Self {
            wire,
            frames,
            may_wait: false,
        }
    }

    /// Makes an empty batch for frames with the same origin as `other`.
    pub(super) fn like(other: &Self) -> Self {
        Self {
            may_wait: other.may_wait,
            ..Self::default()
        }
    }

    /// Adds a frame. Its length fits into 32 bits, because the frame comes from a file or another batch, where lengths
    /// have 32 bits.
    pub(super) fn push(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap_or_default();
        self.wire.extend_from_slice(&length.to_be_bytes());
        self.wire.extend_from_slice(frame);
        self.frames += 1;
    }

    /// Returns the frames, in order.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.wire.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let length = u32::from_be_bytes(*length) as usize;
            let (frame, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(frame)
        })
    }

    /// Returns all frames in their wire form.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Returns the number of frames.
    pub(super) fn len(&self) -> u64 {
        self.frames
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Returns whether the batch should be passed on.
    pub(super) fn is_full(&self) -> bool {
        self.wire.len() >= FULL
    }

    /// Returns whether the input may wait for an output.
    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_batch_are_those_that_were_added() {
        let mut batch = Batch::of_file();
        assert!(batch.is_empty());
        batch.push(b"one");
        batch.push(b"");
        batch.push(&vec![7; FULL]);
        assert_eq!(
            batch.frames().map(<[u8]>::len).collect::<Vec<_>>(),
            [3, 0, FULL]
        );
        assert!(batch.is_full() && batch.may_wait());
        let copy = Batch::of_socket(batch.wire().to_vec(), batch.len());
        assert_eq!(copy.frames().count(), 3);
        assert!(!Batch::like(&copy).may_wait());
    }
}
