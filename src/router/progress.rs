//! The progress of a batch.

/// The frames of a batch that a connection has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of frames that the operating system accepted completely. Frames that the sink left out do not count.
    pub frames: usize,
    /// The bytes of these frames on the wire, after the sink's edits.
    pub bytes: u64,
    /// True if the connection died while it was writing the frame after these frames.
    pub cut: bool,
}
