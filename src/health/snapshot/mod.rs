//! The body of `GET /status`, as types that write it and read it.

mod sink;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::closed_set::closed_set;

pub use self::sink::{
    DroppedBySender, LatencyStatus, LedgerStatus, Mode, QueueStatus, SenderDrops, SinkStatus,
    quantile,
};

/// Counts by label. A router writes every label of a closed set; one of another version may have others.
pub type Counts = BTreeMap<Cow<'static, str>, u64>;

/// A router at one moment: the body of `GET /status`.
///
/// The router writes these types, and readers use the same ones. Fields are only ever added; a reader must skip fields that it
/// does not know, as serde does. An absent value is `null`.
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
    /// The process ID; `null` from a router older than this field.
    pub pid: Option<u32>,
    /// The name of the machine or Pod; `null` if it has none.
    pub host: Option<String>,
    /// The time of this snapshot by the router's clock. Compare other times with it, not with a clock elsewhere.
    pub now: Timestamp,
    /// The start of the router.
    pub started: Timestamp,
    /// The router's phase.
    pub phase: RouterPhase,
    /// The verdict; `null` only from a router older than this field: [`judged`](Self::judged) fills it in.
    pub verdict: Option<Verdict>,
    /// The configuration in use.
    pub config: ConfigStatus,
    /// Configuration reloads since the start.
    pub reloads: ReloadsStatus,
    /// The log.
    #[serde(default)]
    pub log: LogStatus,
    /// The listeners in the order of the configuration, then removed ones until their senders have ended.
    pub listeners: Vec<ListenerStatus>,
    /// The sinks in the order of the configuration, then removed ones until they are drained.
    pub sinks: Vec<SinkStatus>,
    /// Memory of unfinished frames, over all listeners.
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
    /// Bytes held now. What several sinks share counts once.
    pub held_bytes: u64,
    /// The limit in bytes; close to it, the sink that holds most drops frames.
    pub limit_bytes: u64,
}

/// Memory of frames that have begun to arrive and are not complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnfinishedStatus {
    /// Bytes held now.
    pub bytes: u64,
    /// The limit in bytes; beyond it, the connection that has held most for longest is closed.
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
    /// The file that was named or found; `null` if a program that embeds the router made the configuration.
    pub path: Option<String>,
    /// The absolute path, with the links of its folder resolved; `null` like `path`, and from a router older than this field.
    pub absolute_path: Option<String>,
    /// Every file that the configuration depends on, with imported files, certificates and keys.
    pub files: Vec<String>,
    /// A digest of the contents of all these files, in hexadecimal: equal if nothing has changed. It is not cryptographic.
    pub digest: String,
}

/// Configuration reloads since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReloadsStatus {
    /// Reloads that were applied; some may have changed nothing.
    pub succeeded: u64,
    /// Reloads that were refused, and changed nothing.
    pub failed: u64,
    /// The time at which the configuration in use was applied, at the start or by a reload; `null` while starting.
    pub last_success: Option<Timestamp>,
    /// The last reload; `null` if there was none.
    pub last: Option<ReloadStatus>,
}

/// One reload of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReloadStatus {
    /// The time at which it was applied or refused.
    pub at: Timestamp,
    /// The changes, in words; `null` if it was refused.
    pub changes: Option<String>,
    /// Why it was refused; `null` if it was applied.
    pub error: Option<String>,
}

/// The log of a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogStatus {
    /// Lines lost because the reader of stderr did not keep up, or because stderr could not be written.
    pub lines_lost: u64,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// The address as configured; the `listener` label in logs and metrics.
    pub name: String,
    /// The bound address, with the port that the system chose if the configuration left it open; `null` for unix sockets.
    pub address: Option<String>,
    /// True if the configuration no longer has it.
    pub removed: bool,
    /// The error that keeps senders from connecting: its socket was removed and cannot be bound again. Otherwise `null`.
    #[serde(default)]
    pub not_listening: Option<Failure>,
    /// Open connections of senders.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Frames taken and offered to every sink.
    pub frames: u64,
    /// Bytes of these frames on the wire.
    pub bytes: u64,
    /// These frames by dnstap message type, named as in the schema, or `unknown`; every type is present.
    pub message_frames: Counts,
    /// Errors by reason; every reason is present. They count frames for `oversize`, `malformed` and `control`, and connections
    /// otherwise.
    pub errors: Counts,
    /// The certificate that it shows, if it speaks TLS.
    pub certificates: Vec<CertificateStatus>,
}

/// A certificate that a listener or sink shows to its peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// The file that it was read from.
    pub file: String,
    /// The start of its validity; `null` from a router older than this field.
    pub valid_from: Option<Timestamp>,
    /// The end of its validity.
    pub expires: Timestamp,
    /// The meaning of these dates now: `valid`, `expires_soon` (within 14 days), `expired` or `not_yet_valid`.
    #[serde(default)]
    pub validity: String,
}

/// An error and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The error, in one sentence.
    pub error: String,
    /// The time of the failure; if it lasts, of its start.
    pub at: Timestamp,
}

/// The verdict on a router or a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// One of a closed set of words.
    pub word: VerdictWord,
    /// The same for people.
    pub sentence: String,
}

closed_set! {
    /// The word of a [`Verdict`], in the order of severity: a router has the worst of its sinks' words.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum VerdictWord {
        /// Up, and takes everything offered to it.
        Ok => "ok",
        /// Of a router: all sinks are well, but no sender is connected.
        NoSenders => "no_senders",
        /// Up, but not at every endpoint.
        Degraded => "degraded",
        /// Connecting for the first time, without a failure so far; of a router: not every listener is bound.
        Starting => "starting",
        /// Shutting down.
        Draining => "draining",
        /// Up, but it holds a frame older than five seconds.
        Behind => "behind",
        /// Up, but frames were lost in the last five minutes.
        Dropping => "dropping",
        /// Of a router: no sender can connect to one of its listeners, whose socket was removed.
        NotListening => "not_listening",
        /// Not up.
        Down => "down",
    }
}
