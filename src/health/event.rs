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
/// A sink with one endpoint at a time reports its endpoint's events as its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    /// A new stack starts without a connection.
    Started,
    /// The attempt waits for a lookup of the name.
    Resolving,
    /// The attempt dials this address.
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
        /// True if the connection lasted long enough to end the outage before it.
        steady: bool,
        /// The time until the next attempt; `None` if one is under way already.
        delay: Option<Duration>,
    },
    /// A new connection replaced the one in use.
    Renewed {
        endpoint: &'a str,
        /// Why the old one was replaced.
        reason: &'a Disconnect,
    },
    /// The connection in use should be replaced, and the attempt to make a new one failed.
    NotRenewed {
        attempt: &'a FailedAttempt<'a>,
        /// Why the connection should be replaced.
        reason: &'a Disconnect,
        delay: Duration,
    },
    /// A write made no progress for one second.
    Stalled,
    /// The last connection of a stack ends.
    Ended(&'a Disconnect),
    /// The collector did not confirm the end of its stream.
    Unconfirmed(&'a dyn Error),
    /// A bug in tapfan ended the stack.
    Fault {
        fault: &'a dyn Error,
        restart_in: Duration,
    },
    /// No more frames will come; the queue is being emptied.
    Draining,
    /// The sink has ended.
    Stopped,
    /// The endpoint is new among several of the sink.
    Added,
    /// The endpoint is no longer part of the sink. Its counts stay in the sink's.
    Removed,
    /// An endpoint has ended because the name no longer resolves to its address; frames that it had not taken are lost.
    Left { endpoint: &'a str, lost: u64 },
    /// The sink uses several endpoints at a time from now on. It has still to look them up.
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
        /// True if there are last good addresses, which stay in use.
        keeps: bool,
    },
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
    /// True if there was a connection, which this side ended because it led to a listener of this router.
    pub(crate) is_own_listener: bool,
}

closed_set! {
    /// A step on the way to a connection, in order; or writing, once it is up.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Stage {
        /// Looking the name up.
        Resolve => "resolve",
        /// Dialling.
        Connect => "connect",
        /// The TLS handshake.
        Tls => "TLS",
        /// The Frame Streams handshake.
        Handshake => "handshake",
        /// Writing, on a connection that was up.
        Write => "write",
    }
}

/// The kind of a failure: equal for failures that differ only in words, such as a clock, a port or a count in the text.
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
    /// The kind of the failures that are equal in `parts`. As a hash, since it may be made of types that cannot be stored,
    /// such as errors' discriminants; a collision would only silence a log line.
    pub(crate) fn of(parts: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(hasher.finish())
    }
}
