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

/// Something that happened to an endpoint, or to a sink.
///
/// A sink that uses one endpoint at a time reports the endpoint's events as events of the sink.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// A new sink stack has started and has no connection yet.
    Started,
    /// An attempt to connect waits for a lookup of the name.
    Resolving,
    /// The attempt connects to this address.
    Connecting(&'a str),
    /// The attempt starts the Frame Streams handshake with this address.
    Handshaking(&'a str),
    /// The handshake with this address is complete.
    Up(&'a str),
    /// The attempt failed; the next one starts after `delay`.
    Failed {
        attempt: &'a FailedAttempt<'a>,
        delay: Duration,
    },
    /// The connection in use ended.
    Lost {
        cause: &'a Disconnect,
        /// True if the connection lasted so long that the previous outage counts as over.
        steady: bool,
        /// The time until the next attempt; `None` if one is already in progress.
        delay: Option<Duration>,
    },
    /// A new connection replaced the one in use.
    Renewed {
        endpoint: &'a str,
        /// Why the old one was replaced.
        reason: &'a Disconnect,
    },
    /// An attempt to replace the connection in use failed. The old connection stays in use.
    NotRenewed {
        attempt: &'a FailedAttempt<'a>,
        /// Why the connection is to be replaced.
        reason: &'a Disconnect,
        delay: Duration,
    },
    /// A write made no progress for one second.
    Stalled,
    /// The last connection of a sink stack has ended.
    Ended(&'a Disconnect),
    /// The collector did not confirm the end of its stream, or the last file was not completed.
    Unconfirmed(&'a dyn Error),
    /// Connection after connection ended without FINISH. `confirm finish` works as `confirm kernel` from now on.
    DoesNotConfirm,
    /// After [`DoesNotConfirm`](Self::DoesNotConfirm), a connection ended with FINISH.
    ConfirmsAgain,
    /// A bug in tapfan ended the stack.
    Fault {
        fault: &'a dyn Error,
        restart_in: Duration,
    },
    /// The sink gets no more frames and sends the rest of its queue.
    Draining,
    /// The sink has ended.
    Stopped,
    /// A sink with several endpoints got this new one.
    Added,
    /// The endpoint is no longer part of the sink. The sink's totals keep its counts.
    Removed,
    /// An endpoint has ended because the name no longer resolves to its address. `lost` counts the frames that were
    /// left in its queue.
    Left { endpoint: &'a str, lost: u64 },
    /// The sink now uses several endpoints at a time. It has not looked up their addresses yet.
    Divided,
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
        /// True if the sink keeps using the addresses of its last successful lookup.
        keeps: bool,
    },
    /// A file is complete and has its final name.
    FileCompleted {
        file: &'a str,
        frames: u64,
        /// True if a crash or a full disk had left it under its temporary name.
        was_left: bool,
    },
    /// A file was not completed, and still has its temporary name if it exists.
    FileLeft { file: &'a str, cause: &'a dyn Error },
    /// A file beyond the number of `keep` could not be deleted.
    FileNotDeleted { cause: &'a dyn Error },
    /// The name has more addresses than a sink uses.
    LeftOut { used: usize, left_out: usize },
}

/// An attempt to connect that failed. Its text is `{stage} {endpoint}: {cause}`.
#[derive(Debug, Clone)]
pub(crate) struct FailedAttempt<'a> {
    pub(crate) stage: Stage,
    /// The address, or the name.
    pub(crate) endpoint: &'a str,
    /// The error, in one sentence.
    pub(crate) cause: String,
    pub(crate) kind: FailureKind,
    /// True if the attempt reached a listener of this router, and this side closed the connection for that reason.
    pub(crate) is_own_listener: bool,
}

closed_set! {
    /// The stage at which a failure happened. The variants are in the order of the stages: first the steps of an
    /// attempt to connect, then writing.
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

/// The kind of a failure. Failures have the same kind if their texts differ only in details such as a time, a port or a
/// count.
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
    /// Returns the kind that `parts` identify. A kind is a hash of its parts, because some parts cannot be stored, such
    /// as the discriminants of errors. A collision would only suppress a log line.
    pub(crate) fn of(parts: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(hasher.finish())
    }
}
