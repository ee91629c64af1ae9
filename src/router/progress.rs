//! The progress of a batch.

/// The frames of a batch that were written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Frames that the operating system accepted completely. Frames that the sink left out do not count.
    pub frames: usize,
    /// Their bytes on the wire, after the sink's edits.
    pub bytes: u64,
    /// True if the connection died in the middle of the next frame.
    pub cut: bool,
}
