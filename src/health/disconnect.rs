//! The causes of the end of a connection to a collector.

use std::{io, time::Duration};

use crate::{closed_set::closed_set, frame_stream::ControlError};

/// The cause of the end of a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The collector closed its side: FIN.
    #[error("the collector closed the connection")]
    Closed,
    /// RST.
    #[error("the connection was reset: the collector died, or something between cut it off")]
    Reset,
    /// The collector sent FINISH without a STOP from this side.
    #[error("the collector ended the stream with FINISH")]
    Finished,
    /// The collector's machine acknowledged neither data nor keepalive.
    #[error("the collector's machine no longer answers: it is gone, or the network to it is")]
    Unreachable,
    /// Another error of a read or a write.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The collector took nothing for the whole write deadline, though its machine answers.
    #[error("the collector took no data for {0:?}; it hangs, or it is far too slow")]
    Stalled(Duration),
    /// The collector sent something other than a control frame.
    #[error("the collector sent what is not Frame Streams: {0}")]
    Protocol(#[from] ControlError),
    /// This side sent STOP, and the collector answered with FINISH or closed.
    #[error("the stream was ended in order")]
    Stopped,
    /// This side sent STOP, and the collector did not answer before the deadline.
    #[error("the collector did not answer STOP with FINISH for {after:.1?}; {}", remains(*.waiting))]
    Unconfirmed {
        /// The time that FINISH was awaited.
        after: Duration,
        /// Bytes that the collector had not taken by then, at most; `None` if unknown.
        waiting: Option<u64>,
    },
    /// The time for a clean end was over, or the request was dropped.
    #[error("given up before all was written, as the sink ends or changes")]
    Aborted,
    /// Another connection replaced it, because it had reached `max_age`.
    #[error("the connection has reached its max_age")]
    Rotated,
    /// Another connection replaced it, because the name resolves to other addresses.
    #[error("the name no longer leads to this address")]
    Moved,
    /// It led to a listener of this router. Nothing was sent.
    #[error("the connection led back to a listener of this router")]
    OwnListener,
}

closed_set! {
    /// The part of a [`Disconnect`] that is counted.
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
            Self::Io(_) => Reason::Io,
            Self::Stalled(_) => Reason::WriteTimeout,
            Self::Protocol(_) => Reason::Protocol,
            Self::Stopped | Self::Unconfirmed { .. } => Reason::Stopped,
            Self::Aborted => Reason::Aborted,
            Self::Rotated => Reason::Rotated,
            Self::Moved => Reason::Moved,
            Self::OwnListener => Reason::OwnListener,
        }
    }

    /// The cause that an error of a read or a write stands for.
    ///
    /// `answers` is whether the collector's machine was heard within `patience`. A time-out alone does not say: with
    /// `TCP_USER_TIMEOUT` (tcp(7)), Linux reports the same error for a peer that is gone and for one that acknowledges but has
    /// no room.
    pub(crate) fn of(error: io::Error, answers: bool, patience: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut if answers => Self::Stalled(patience),
            // `HostUnreachable` and `NetworkUnreachable` come from ICMP messages of a router on the path, before the time-out.
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

/// Describes what is unconfirmed at the end of a connection.
fn remains(waiting: Option<u64>) -> String {
    match waiting {
        None | Some(0) => "did it store what it was sent?".to_owned(),
        Some(bytes) => format!(
            "up to {bytes} bytes wait for it in the kernel, which goes on sending them for as long as this machine or container runs"
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
        the collector did not answer STOP with FINISH for 4.0s; did it store what it was sent?
        the collector did not answer STOP with FINISH for 4.0s; did it store what it was sent?
        the collector did not answer STOP with FINISH for 4.0s; up to 65536 bytes wait for it in the kernel, which goes on sending them for as long as this machine or container runs
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
