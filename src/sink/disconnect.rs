//! Why a connection to a collector ended.

use std::{io, time::Duration};

use crate::{closed_set::closed_set, frame_stream::ControlError};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// The collector closed its side: FIN.
    #[error("the collector closed the connection")]
    Closed,
    /// RST.
    #[error("the connection was reset: the collector died, or something between cut it off")]
    Reset,
    /// The collector said FINISH, unasked.
    #[error("the collector ended the stream with FINISH")]
    Finished,
    /// What was sent was not acknowledged, or keepalive not answered.
    #[error("the collector's machine no longer answers: it is gone, or the network to it is")]
    Unreachable,
    /// Reading or writing failed in another way.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The collector took nothing for the whole write deadline, though its machine answers.
    #[error("the collector took no data for {0:?}; it hangs, or it is far too slow")]
    Stalled(Duration),
    /// The collector sent something that is no control frame.
    #[error("the collector sent what is not Frame Streams: {0}")]
    Protocol(#[from] ControlError),
    /// We said STOP and the collector answered with FINISH, or closed.
    #[error("the stream was ended in order")]
    Stopped,
    /// We said STOP and the collector let the deadline pass.
    #[error("the collector did not answer STOP with FINISH for {after:.1?}; {}", remains(*.waiting))]
    Unconfirmed {
        /// How long FINISH was awaited.
        after: Duration,
        /// Bytes that the collector had not taken even then, at the most, if that is known.
        waiting: Option<u64>,
    },
    /// The time for it to end in order was over, or the request was dropped.
    #[error("given up before all was written, as the sink ends or changes")]
    Aborted,
    /// Another connection took its place, since it had reached `max_age`.
    #[error("the connection has reached its max_age")]
    Rotated,
    /// Another connection took its place, since the name leads elsewhere.
    #[error("the name no longer leads to this address")]
    Moved,
    /// It had reached a listener of this router, before anything was sent.
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

    /// The place of its label in [`LABELS`](Self::LABELS).
    pub(super) const fn index(&self) -> usize {
        self.reason() as usize
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

    /// What an error of a read or a write says of the collector.
    ///
    /// `answers` tells whether its machine was heard within `patience`, which a time-out does not: Linux gives a peer that
    /// acknowledges and has no room for more up with the same error as one that is gone (`TCP_USER_TIMEOUT`, tcp(7)).
    pub(super) fn of(error: io::Error, answers: bool, patience: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut if answers => Self::Stalled(patience),
            // The latter two: what a router on the way said, by ICMP, before the time was over.
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset => Self::Reset,
            // The one is a write to whom had closed already, the other what rustls says of the end of TCP within TLS.
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Says how much is unconfirmed at the end of a connection, and what becomes of it.
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
    fn what_is_unconfirmed_is_said() {
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
    fn errors_of_the_system_are_named_by_what_became_of_the_collector() {
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
