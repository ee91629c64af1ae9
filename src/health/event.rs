//! The events of a sink and its endpoints.

use std::{
    error::Error,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::Disconnect;
use crate::{
    closed_set::closed_set,
    net::{Addresses, Destination, ResolveError},
};

/// Something that happened to a sink, or to one of its endpoints.
///
/// If a sink uses one endpoint at a time, the events of the endpoint are reported as events of the sink.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// A sink, or one of its endpoints, has started and has no connection yet.
    Started,
    /// An attempt to connect waits for a lookup of the name.
    Resolving,
    /// An attempt to connect to this address has begun.
    Connecting(&'a str),
    /// The Frame Streams handshake with this address has begun.
    Handshaking(&'a str),
    /// The Frame Streams handshake with this address is complete.
    Up(&'a str),
    /// An attempt to connect has failed. The next attempt starts after `delay`.
    Failed {
        attempt: &'a FailedAttempt<'a>,
        delay: Duration,
    },
    /// The connection in use has ended.
    Lost {
        cause: &'a Disconnect,
        /// True if the connection lasted so long that the earlier outage counts as over.
        steady: bool,
        /// The time until the next attempt to connect. `None` if an attempt is already in progress.
        delay: Option<Duration>,
        /// The kind of the failure. An attempt that fails in the same way is then no news. `None` if an attempt cannot fail
        /// in the same way.
        kind: Option<FailureKind>,
    },
    /// A new connection has replaced the connection in use.
    Renewed {
        endpoint: &'a str,
        /// The reason why the old connection was replaced.
        reason: &'a Disconnect,
    },
    /// An attempt to replace the connection in use has failed. This connection stays in use.
    NotRenewed {
        attempt: &'a FailedAttempt<'a>,
        /// The reason why the connection should be replaced.
        reason: &'a Disconnect,
        delay: Duration,
    },
    /// A write has made no progress for one second.
    Stalled,
    /// A sink, or one of its endpoints, has ended its last connection, because it stops or is restarted with other
    /// settings.
    Ended(&'a Disconnect),
    /// The collector has not confirmed the end of its stream. If the sink writes files: its last file was not
    /// completed.
    Unconfirmed(&'a dyn Error),
    /// The brokers of a topic have refused frames for good.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks report it")
    )]
    RecordsRefused(&'a dyn Error),
    /// Several connections in a row have ended without FINISH. From now on, `confirm finish` works as `confirm kernel`.
    DoesNotConfirm,
    /// A connection has ended with FINISH, after [`DoesNotConfirm`](Self::DoesNotConfirm) was reported. From now on,
    /// `confirm finish` works as configured.
    ConfirmsAgain,
    /// The task of a sink, or of one of its endpoints, has ended because of a bug in tapfan.
    Fault {
        fault: &'a dyn Error,
        /// The time after which the task starts again. `None` if it does not, because the sink ends or has changed.
        restart_in: Option<Duration>,
    },
    /// The sink gets no more frames, and sends the frames that are left in its queue.
    Draining,
    /// The sink has ended.
    Stopped,
    /// A sink that uses several endpoints at the same time has got this new endpoint.
    Added,
    /// The endpoint no longer belongs to the sink. Its counts stay in the totals of the sink.
    Removed,
    /// An endpoint has ended because the sink's name no longer resolves to its address. `lost` is the number of frames
    /// that were left in its queue.
    Left { endpoint: &'a str, lost: u64 },
    /// The sink now uses several endpoints at the same time. Their addresses have not been looked up yet.
    Divided,
    /// The sink waits for collectors at its socket. Each collector that connects is an endpoint.
    Waiting,
    /// A collector has connected, but gets no frames: it does not complete the handshakes, or too many are connected.
    Refused(&'a str),
    /// A lookup of the name succeeded.
    Resolved {
        name: &'a Destination,
        before: &'a Addresses,
        now: &'a Addresses,
    },
    LookupFailed {
        name: &'a Destination,
        error: &'a ResolveError,
        kind: FailureKind,
        /// True if the sink continues to use the addresses of its last successful lookup.
        keeps: bool,
    },
    /// A file is complete and has its final name.
    FileCompleted {
        file: &'a str,
        frames: u64,
        /// True if the file had kept its temporary name after a crash or because the disk was full.
        was_left: bool,
    },
    /// A file was not completed. If it still exists, it has its temporary name.
    FileLeft { file: &'a str, cause: &'a dyn Error },
    /// A file could not be deleted, although there are more files than `keep` allows.
    FileNotDeleted { cause: &'a dyn Error },
    /// The name has more addresses than one sink uses.
    LeftOut { used: usize, left_out: usize },
}

/// A failed attempt to connect. As text, it has the form `{stage} {endpoint}: {cause}`.
#[derive(Debug, Clone)]
pub(crate) struct FailedAttempt<'a> {
    pub(crate) stage: Stage,
    /// The address to which the attempt connected, or the name that was looked up.
    pub(crate) endpoint: &'a str,
    /// The error, in one sentence.
    pub(crate) cause: String,
    pub(crate) kind: FailureKind,
    /// True if the attempt failed because the address leads to a listener of this router.
    pub(crate) is_own_listener: bool,
}

closed_set! {
    /// The stage at which a failure happened. The variants are in the order of the stages: first the steps of an
    /// attempt to connect, and last a write.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Stage {
        /// The lookup of the name.
        Resolve => "resolve",
        /// Connecting the socket.
        Connect => "connect",
        /// The TLS handshake.
        Tls => "TLS",
        /// The Frame Streams handshake.
        Handshake => "handshake",
        /// A write on a connection that was up.
        Write => "write",
    }
}

/// The kind of a failure. If the texts of two failures differ only in a detail, such as a time, a port or a count, the
/// failures have the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FailureKind(u64);

// === impl FailedAttempt ===

impl fmt::Display for FailedAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.stage, self.endpoint, self.cause)
    }
}

// === impl FailureKind ===

impl FailureKind {
    /// Returns the kind that is identified by `parts`. A kind is a hash of its parts, because some of them cannot be
    /// stored, for example the discriminants of errors. If two different kinds had the same hash, only a log line would
    /// be missing.
    pub(crate) fn of(parts: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(hasher.finish())
    }
}
