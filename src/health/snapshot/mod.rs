//! The types of the body of `GET /status`. The router writes the body with them, and readers of the status parse it
//! with them.

mod sink;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::closed_set::closed_set;

pub use self::sink::{
    DroppedBySender, LatencyStatus, LedgerStatus, QueueStatus, SenderDrops, SinkMode, SinkStatus,
    quantile,
};

/// Counts by label. A router writes all labels of a fixed set. Another version of tapfan may have other labels.
pub type Counts = BTreeMap<Cow<'static, str>, u64>;

/// A router at one moment: the body of `GET /status`.
///
/// The router and the readers of its status use the same types. Later versions only add fields; a reader must skip unknown
/// fields, as serde does. An absent value is `null`.
///
/// ```
/// use tapfan::{health::RouterStatus, supervisor::View};
///
/// let text = serde_json::to_string(&View::new().snapshot())?;
/// let read: RouterStatus = serde_json::from_str(&text)?;
/// assert_eq!(read.version, env!("CARGO_PKG_VERSION"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouterStatus {
    /// The version of tapfan.
    pub version: String,
    /// The process ID; `null` if the router's version does not have this field yet.
    pub pid: Option<u32>,
    /// The name of the machine or Pod; `null` if that has no name.
    pub host: Option<String>,
    /// The time of this snapshot by the router's clock. Compare other times of the snapshot with this one, not with a local
    /// clock.
    pub now: Timestamp,
    /// The start of the router.
    pub started: Timestamp,
    /// The router's phase.
    pub phase: RouterPhase,
    /// The verdict; `null` only if the router's version does not have this field yet. In that case,
    /// [`judged`](Self::judged) computes the verdict.
    pub verdict: Option<Verdict>,
    /// The configuration in use.
    pub config: ConfigStatus,
    /// Configuration reloads since the start.
    pub reloads: ReloadsStatus,
    /// The log.
    #[serde(default)]
    pub log: LogStatus,
    /// The listeners in the order of the configuration, followed by removed listeners that still have connections.
    pub listeners: Vec<ListenerStatus>,
    /// The sinks in the order of the configuration, followed by removed sinks that still drain.
    pub sinks: Vec<SinkStatus>,
    /// Memory of unfinished frames, summed over all listeners.
    #[serde(default)]
    pub unfinished_frames: UnfinishedStatus,
    /// Memory that the router holds for frames, in total.
    #[serde(default)]
    pub memory: MemoryStatus,
}

/// Memory that the router holds for frames: queued, in flight and unfinished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// Bytes held now. Frames that several sinks share count once.
    pub held_bytes: u64,
    /// The limit in bytes. Near the limit, the sink that holds the most memory drops frames.
    pub limit_bytes: u64,
}

/// Memory of unfinished frames, that is, frames of which only a part has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnfinishedStatus {
    /// Bytes held now.
    pub bytes: u64,
    /// The limit in bytes. Beyond the limit, the router closes the connection that has held the most memory for the
    /// longest time.
    pub capacity_bytes: u64,
}

closed_set! {
    /// The phase of a router.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum RouterPhase {
        /// Not every listener is bound yet.
        #[default]
        Starting => "starting",
        /// Every listener is bound.
        Running => "running",
        /// The router is shutting down.
        Draining => "draining",
    }
}

/// The source of the configuration in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfigStatus {
    /// The file as named on the command line, or as tapfan found it; `null` if a program that embeds the router made
    /// the configuration.
    pub path: Option<String>,
    /// The absolute path, with symbolic links in its folder resolved. `null` if `path` is `null`, or if the router's
    /// version does not have this field yet.
    pub absolute_path: Option<String>,
    /// Every file that the configuration depends on, including imported files, certificates and keys.
    pub files: Vec<String>,
    /// A digest of the contents of all `files`, in hexadecimal. The digest changes only if the content of a file
    /// changes. It is not cryptographic.
    pub digest: String,
}

/// Configuration reloads since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReloadsStatus {
    /// Reloads that were applied, including those that changed nothing.
    pub succeeded: u64,
    /// Reloads that were refused. A refused reload changes nothing.
    pub failed: u64,
    /// The time at which the configuration in use was applied, at the start or by a reload; `null` while starting.
    pub last_success: Option<Timestamp>,
    /// The last reload, applied or refused; `null` if there was none.
    pub last: Option<ReloadStatus>,
}

/// One reload of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReloadStatus {
    /// The time at which the reload was applied or refused.
    pub at: Timestamp,
    /// The changes, in words; `null` if the reload was refused.
    pub changes: Option<String>,
    /// Why the reload was refused; `null` if it was applied.
    pub error: Option<String>,
}

/// The log of a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogStatus {
    /// Lines that were lost because the reader of stderr did not keep up, or because a write to stderr failed.
    pub lines_lost: u64,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// The address as configured; the `listener` label in logs and metrics.
    pub name: String,
    /// The bound address, with the port that the system chose if the configured port is 0; `null` for unix sockets.
    pub address: Option<String>,
    /// True if the configuration no longer has this listener.
    pub removed: bool,
    /// Why senders cannot connect: the listener's socket was removed and cannot be bound again. `null` if senders can
    /// connect.
    #[serde(default)]
    pub not_listening: Option<Failure>,
    /// Open connections of senders.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Frames that were received and offered to every sink.
    pub frames: u64,
    /// Bytes of these frames on the wire.
    pub bytes: u64,
    /// These frames by dnstap message type, named as in the schema, or `unknown`; every type is present.
    pub message_frames: Counts,
    /// Errors by reason; every reason is present. `oversize`, `malformed` and `control` count frames; the other reasons
    /// count connections.
    pub errors: Counts,
    /// The certificate that the listener presents, if it uses TLS.
    pub certificates: Vec<CertificateStatus>,
}

/// A certificate that a listener or sink presents to its peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// The file that the certificate was read from.
    pub file: String,
    /// The start of its validity; `null` if the router's version does not have this field yet.
    pub valid_from: Option<Timestamp>,
    /// The end of its validity.
    pub expires: Timestamp,
    /// The validity at the time of the snapshot: `valid`, `expires_soon` (within 14 days), `expired` or `not_yet_valid`.
    #[serde(default)]
    pub validity: String,
}

/// An error and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The error, in one sentence.
    pub error: String,
    /// The time of the error or, if the error persists, the time at which it began.
    pub at: Timestamp,
}

/// The verdict on a router or a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The verdict in one word, for programs.
    pub word: VerdictWord,
    /// The verdict in one sentence, for people.
    pub sentence: String,
}

closed_set! {
    /// The word of a [`Verdict`]. The words are in the order of severity. The word of a router is the worst word among
    /// its sinks.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum VerdictWord {
        /// Up, and takes all frames offered to it.
        Ok => "ok",
        /// Only for a router: all sinks are well, but no sender is connected.
        NoSenders => "no_senders",
        /// Up, but some of its endpoints are not up.
        Degraded => "degraded",
        /// For a sink: its first connection is not up yet, and no attempt has failed so far. For a router: not every
        /// listener is bound yet.
        Starting => "starting",
        /// Shutting down.
        Draining => "draining",
        /// Up, but it holds a frame older than five seconds.
        Behind => "behind",
        /// Up, but frames were lost in the last five minutes.
        Dropping => "dropping",
        /// Only for a router: the socket of a listener was removed, and no sender can connect to it.
        NotListening => "not_listening",
        /// Not up.
        Down => "down",
    }
}
