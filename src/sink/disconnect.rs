//! Why a connection to a collector ended.

use std::{io, time::Duration};

use crate::frame_stream::ControlError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// The collector closed its side.
    #[error("the collector closed the connection")]
    Closed,
    /// The collector said FINISH, unasked.
    #[error("the collector ended the stream with FINISH")]
    Finished,
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The collector took nothing for the whole write deadline.
    #[error("the collector took no data for {0:?}; it hangs, or it is far too slow")]
    Stalled(Duration),
    /// The collector sent something that is no control frame.
    #[error("the collector sent what is not Frame Streams: {0}")]
    Protocol(#[from] ControlError),
    /// We said STOP and the collector answered with FINISH, or closed.
    #[error("the stream was ended in order")]
    Stopped,
    /// We said STOP and the collector let the deadline pass.
    #[error(
        "the collector did not answer STOP with FINISH for {0:?}; did it store what it was sent?"
    )]
    Unconfirmed(Duration),
    /// The time for it to end in order was over, or the request was dropped.
    #[error("given up before all was written, as the sink ends or changes")]
    Aborted,
    /// Another connection took its place, since it had reached `max_age`.
    #[error("the connection has reached its max_age")]
    Rotated,
    /// Another connection took its place, since the name leads elsewhere.
    #[error("the name no longer leads to this address")]
    Moved,
}

// === impl Disconnect ===

impl Disconnect {
    /// Every label, in the order in which they are shown.
    pub const LABELS: [&'static str; 9] = [
        "closed",
        "finished",
        "io",
        "write_timeout",
        "protocol",
        "stopped",
        "aborted",
        "rotated",
        "moved",
    ];

    /// The metric label.
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    pub(super) const fn index(&self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Finished => 1,
            Self::Io(_) => 2,
            Self::Stalled(_) => 3,
            Self::Protocol(_) => 4,
            Self::Stopped | Self::Unconfirmed(_) => 5,
            Self::Aborted => 6,
            Self::Rotated => 7,
            Self::Moved => 8,
        }
    }
}
