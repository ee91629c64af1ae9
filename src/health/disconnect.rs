//! The reasons why a connection to a collector, or to a server of a `connect` line, ended.

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
    /// The collector sent FINISH although tapfan had not sent STOP.
    #[error("the collector ended the stream with FINISH")]
    Finished,
    /// The collector is tapfan, and it has asked this side to end the stream.
    #[error("the collector is shutting down, and asked tapfan to end the stream")]
    Asked,
    /// The collector's machine acknowledged neither data nor keepalive probes.
    #[error("the collector's machine no longer answers: the machine or the network to it is down")]
    Unreachable,
    /// A read or a write failed for a reason that has no variant of its own.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The collector took no data for the whole write deadline, although its machine answers.
    #[error("the collector took no data for {0:?}; it hangs, or it is far too slow")]
    Stalled(Duration),
    /// The collector sent something other than a control frame.
    #[error("the collector sent data that is not Frame Streams: {0}")]
    Protocol(#[from] ControlError),
    /// tapfan sent STOP, and the collector answered with FINISH or closed the connection.
    #[error("the stream was ended cleanly")]
    Stopped,
    /// tapfan sent STOP, and the collector did not answer before the deadline.
    #[error("the collector did not answer STOP with FINISH for {after:.1?}; {}", remains(*.waiting))]
    Unconfirmed {
        /// The time for which tapfan waited for FINISH.
        after: Duration,
        /// An upper bound on the bytes that the collector had not acknowledged when the wait ended. `None` if no bound
        /// is known.
        waiting: Option<u64>,
    },
    /// tapfan closed the connection before everything was written, because a deadline passed or the task that was
    /// writing was stopped.
    #[error(
        "tapfan closed the connection or file before everything was written, because the sink ends or changes"
    )]
    Aborted,
    /// A new connection replaced this connection, because this connection had reached its `max_age`.
    #[error("the connection has reached its max_age")]
    Rotated,
    /// A new connection replaced this connection, because the name no longer resolves to the address of this
    /// connection.
    #[error("the name no longer resolves to this address")]
    Moved,
    /// tapfan ended the connection, because the collector confirms its frames with FINISH only at the end of a
    /// connection.
    #[error("tapfan ended the connection, so that the collector confirms its frames")]
    Checkpoint,
    /// The next file replaced this file, because this file had reached the limit of `rotate` or `size`.
    #[error("the file has reached its maximum age or size")]
    FileEnded,
    /// A write to the file failed. The text of the error names the file.
    #[error("{0}")]
    File(Box<dyn std::error::Error + Send + Sync>),
    /// The file system took no data for the whole write deadline.
    #[error("the file system took no data for {0:?}; does the disk respond?")]
    FileStalled(Duration),
    /// When the deadline passed, the end of the file was not on the disk yet.
    #[error(
        "the end of the file is not on the disk after {0:.1?}; the file keeps its temporary name for now"
    )]
    FileUnfinished(Duration),
    /// The connection to a leader was lost, and tapfan found no other leader in time.
    #[error("the connection to the brokers was lost: {0}")]
    BrokerLost(Box<dyn std::error::Error + Send + Sync>),
    /// A partition of the topic gets no frames; the others do. The text of the error names the partition.
    #[error("{0}")]
    PartitionLost(Box<dyn std::error::Error + Send + Sync>),
    /// A broker cannot store frames. The text of the error names the broker and the partition.
    #[error("{0}")]
    Broker(Box<dyn std::error::Error + Send + Sync>),
    /// The connection led to a listener of this router. No frame was sent on it.
    #[error("the connection led back to a listener of this router")]
    OwnListener,
    /// A server to which tapfan has connected has ended its stream with STOP.
    #[error("the server ended its stream with STOP")]
    ServerStopped,
    /// A server to which tapfan has connected has closed the connection without STOP.
    #[error("the server closed the connection without STOP, or the connection was lost")]
    ServerClosed,
    /// tapfan has closed the connection to a server, because of an error in the stream or because the server is no longer
    /// needed.
    #[error(
        "tapfan closed the connection, because of an error (see the log) or because the server is no longer needed"
    )]
    Refused,
}

closed_set! {
    /// A [`Disconnect`] without its details. Ended connections are counted under this label.
    #[derive(Debug, Clone, Copy)]
    enum Reason {
        Closed => "closed",
        Reset => "reset",
        Finished => "finished",
        Unreachable => "unreachable",
        Io => "io",
        WriteTimeout => "write_timeout",
        Protocol => "protocol",
        NotStored => "not_stored",
        Stopped => "stopped",
        Aborted => "aborted",
        Rotated => "rotated",
        Moved => "moved",
        OwnListener => "own_listener",
    }
}

// === impl Disconnect ===

impl Disconnect {
    /// All labels, in the order in which they are shown.
    pub const LABELS: [&'static str; Reason::ALL.len()] = Reason::LABELS;

    /// Returns the label of this reason in metrics.
    pub const fn label(&self) -> &'static str {
        self.reason().label()
    }

    const fn reason(&self) -> Reason {
        match self {
            Self::Closed | Self::ServerClosed => Reason::Closed,
            Self::Reset => Reason::Reset,
            Self::Finished | Self::Asked | Self::ServerStopped => Reason::Finished,
            Self::Unreachable => Reason::Unreachable,
            Self::Io(_) | Self::File(_) | Self::BrokerLost(_) | Self::PartitionLost(_) => {
                Reason::Io
            }
            Self::Stalled(_) | Self::FileStalled(_) => Reason::WriteTimeout,
            Self::Protocol(_) => Reason::Protocol,
            Self::Broker(_) => Reason::NotStored,
            Self::Stopped | Self::Unconfirmed { .. } | Self::FileUnfinished(_) => Reason::Stopped,
            Self::Aborted | Self::Refused => Reason::Aborted,
            Self::Rotated | Self::Checkpoint | Self::FileEnded => Reason::Rotated,
            Self::Moved => Reason::Moved,
            Self::OwnListener => Reason::OwnListener,
        }
    }

    /// Returns the reason for a failed read or write.
    ///
    /// `answers` is true if the collector's machine sent anything within `patience`. The error alone does not show
    /// this. With `TCP_USER_TIMEOUT` (tcp(7)), Linux reports a time-out in two cases: if the peer is gone, and if the
    /// peer sends acknowledgements but has no room for data.
    pub(crate) fn of(error: io::Error, answers: bool, patience: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut if answers => Self::Stalled(patience),
            // A router on the network path can report by ICMP that the collector cannot be reached. `HostUnreachable`
            // or `NetworkUnreachable` then comes before the time-out.
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset => Self::Reset,
            // `BrokenPipe` means that tapfan wrote after the peer had closed the connection. `UnexpectedEof` means that
            // TCP ended without the `close_notify` of TLS.
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// Returns a text about the data that the collector has not confirmed.
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
    fn a_broker_that_cannot_store_frames_has_not_broken_the_protocol() {
        let error = io::Error::other("broker 1: TOPIC_AUTHORIZATION_FAILED");
        assert_eq!(Disconnect::Broker(Box::new(error)).label(), "not_stored");
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
