//! The reasons why a connection to a collector ended.

use std::{io, time::Duration};

use crate::{closed_set::closed_set, frame_stream::ControlError};

/// The reason why a connection to a collector ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The collector closed its side of the connection (TCP FIN).
    #[error("the collector closed the connection")]
    Closed,
    /// The connection was reset (TCP RST).
    #[error(
        "the connection was reset: the collector crashed, or a device on the path cut the connection"
    )]
    Reset,
    /// The collector sent FINISH although this side had not sent STOP.
    #[error("the collector ended the stream with FINISH")]
    Finished,
    /// The collector's machine acknowledged neither data nor keepalive probes.
    #[error("the collector's machine no longer answers: the machine or the network to it is down")]
    Unreachable,
    /// A read or a write failed for another reason.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The collector took no data for the whole write deadline, although its machine answers.
    #[error("the collector took no data for {0:?}; it hangs, or it is far too slow")]
    Stalled(Duration),
    /// The collector sent something other than a control frame.
    #[error("the collector sent data that is not Frame Streams: {0}")]
    Protocol(#[from] ControlError),
    /// This side sent STOP, and the collector answered with FINISH or closed.
    #[error("the stream was ended cleanly")]
    Stopped,
    /// This side sent STOP, and the collector did not answer before the deadline.
    #[error("the collector did not answer STOP with FINISH for {after:.1?}; {}", remains(*.waiting))]
    Unconfirmed {
        /// The time that this side waited for FINISH.
        after: Duration,
        /// The upper bound of the bytes that the collector had not acknowledged by then; `None` if unknown.
        waiting: Option<u64>,
    },
    /// This side closed the connection before everything was written: a deadline passed, or the caller dropped the write.
    #[error("closed before everything was written, because the sink ends or changes")]
    Aborted,
    /// A new connection replaced this one, which had reached `max_age`.
    #[error("the connection has reached its max_age")]
    Rotated,
    /// A new connection replaced this one, because the name no longer resolves to its address.
    #[error("the name no longer resolves to this address")]
    Moved,
    /// This side ended the connection so that the collector confirms its frames with FINISH.
    #[error("tapfan ended the connection, so that the collector confirms its frames")]
    Checkpoint,
    /// The next file replaced this one, which had reached `rotate` or `size`.
    #[error("the file has reached its time or its size")]
    FileEnded,
    /// A write to the file failed. The text of the error names the file.
    #[error("{0}")]
    File(Box<dyn std::error::Error + Send + Sync>),
    /// The file system took no data for the whole write deadline.
    #[error("the file system took no data for {0:?}; does the disk respond?")]
    FileStalled(Duration),
    /// The end of the file was not on the disk before the deadline.
    #[error("the file is not complete after {0:.1?}; it gets its final name as soon as it is")]
    FileUnfinished(Duration),
    /// The connection led to a listener of this router. No frame was sent.
    #[error("the connection led back to a listener of this router")]
    OwnListener,
}

closed_set! {
    /// A [`Disconnect`] without its details. It is the label under which ended connections are counted.
    #[derive(Debug, Clone, Copy)]
    enum Reason {
        Closed => "closed",
        Reset => "reset",
        Finished => "finished",
        Unreachable => "unreachable",
        Io => "io",
        WriteTimeout => "write_timeout",
        Protocol => "protocol",
        Stopped => "stopped",
        Aborted => "aborted",
        Rotated => "rotated",
        Moved => "moved",
        OwnListener => "own_listener",
    }
}

// === impl Disconnect ===

impl Disconnect {
    /// Every label, in the order in which they are shown.
    pub const LABELS: [&'static str; Reason::ALL.len()] = Reason::LABELS;

    /// The metric label.
    pub const fn label(&self) -> &'static str {
        self.reason().label()
    }

    const fn reason(&self) -> Reason {
        match self {
            Self::Closed => Reason::Closed,
            Self::Reset => Reason::Reset,
            Self::Finished => Reason::Finished,
            Self::Unreachable => Reason::Unreachable,
            Self::Io(_) | Self::File(_) => Reason::Io,
            Self::Stalled(_) | Self::FileStalled(_) => Reason::WriteTimeout,
            Self::Protocol(_) => Reason::Protocol,
            Self::Stopped | Self::Unconfirmed { .. } | Self::FileUnfinished(_) => Reason::Stopped,
            Self::Aborted => Reason::Aborted,
            Self::Rotated | Self::Checkpoint | Self::FileEnded => Reason::Rotated,
            Self::Moved => Reason::Moved,
            Self::OwnListener => Reason::OwnListener,
        }
    }

    /// Returns the reason for a failed read or write.
    ///
    /// `answers` is true if the collector's machine sent anything within `patience`. The error alone does not show
    /// that: with `TCP_USER_TIMEOUT` (tcp(7)), Linux reports a time-out for a peer that is gone, and also for a peer
    /// that acknowledges but has no room for data.
    pub(crate) fn of(error: io::Error, answers: bool, patience: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut if answers => Self::Stalled(patience),
            // A router on the path reports `HostUnreachable` and `NetworkUnreachable` by ICMP, before the time-out.
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset => Self::Reset,
            // `BrokenPipe`: we wrote after the peer closed. `UnexpectedEof`: TCP ended without `close_notify`.
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Describes the data that the collector has not confirmed.
fn remains(waiting: Option<u64>) -> String {
    match waiting {
        None | Some(0) => "it may not have stored all frames".to_owned(),
        Some(bytes) => format!(
            "up to {bytes} bytes for it are still in the kernel, which keeps sending them while this machine or container runs"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_is_unconfirmed() {
        let said = |waiting| {
            let after = Duration::from_secs(4);
            Disconnect::Unconfirmed { after, waiting }.to_string()
        };
        insta::assert_snapshot!(
            [None, Some(0), Some(65_536)].map(said).join("\n"),
            @"
        the collector did not answer STOP with FINISH for 4.0s; it may not have stored all frames
        the collector did not answer STOP with FINISH for 4.0s; it may not have stored all frames
        the collector did not answer STOP with FINISH for 4.0s; up to 65536 bytes for it are still in the kernel, which keeps sending them while this machine or container runs
        "
        );
    }

    #[test]
    fn system_errors_are_named_by_what_happened_to_the_collector() {
        let patience = Duration::from_secs(30);
        let label = |errno, answers| {
            let error = io::Error::from(nix::errno::Errno::from_raw(errno));
            Disconnect::of(error, answers, patience).label()
        };
        for answers in [false, true] {
            assert_eq!(label(nix::libc::ECONNRESET, answers), "reset");
            assert_eq!(label(nix::libc::EPIPE, answers), "closed");
            assert_eq!(label(nix::libc::EHOSTUNREACH, answers), "unreachable");
            assert_eq!(label(nix::libc::ENETUNREACH, answers), "unreachable");
            assert_eq!(label(nix::libc::ENOBUFS, answers), "io");
        }
        assert_eq!(label(nix::libc::ETIMEDOUT, false), "unreachable");
        assert_eq!(label(nix::libc::ETIMEDOUT, true), "write_timeout");
    }
}
