//! The types of the body of `GET /status`. The router uses them to write the body, and programs that read the status
//! use them to parse it.

mod confirm;
mod filter;
mod listener;
mod sink;
mod spool;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::closed_set::closed_set;

pub use self::spool::SpoolStatus;
pub use self::{
    confirm::ConfirmStatus,
    filter::FilterStatus,
    listener::{ListenerStatus, SenderStatus},
    sink::{
        DroppedBySender, LatencyStatus, LedgerStatus, QueueStatus, SenderDrops, SinkMode,
        SinkStatus, quantile,
    },
};

/// Counts by label. A router writes every label of a fixed set. Another version of tapfan may have other labels.
pub type Counts = BTreeMap<Cow<'static, str>, u64>;

/// The state of a router at one moment. It is the body of `GET /status`.
///
/// The router and the programs that read its status use the same types. Later versions only add fields, so a reader
/// must ignore unknown fields, as serde does. A value that is absent is `null`.
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
    /// The process ID; `null` if the router runs an older version that does not have this field.
    pub pid: Option<u32>,
    /// The name of the machine or Pod; `null` if it has no name.
    pub host: Option<String>,
    /// The time of this snapshot by the clock of the router. Compare other times in the snapshot with this time, and
    /// not with the clock of another machine.
    pub now: Timestamp,
    /// The time at which the router started.
    pub started: Timestamp,
    /// The router's phase.
    pub phase: RouterPhase,
    /// The verdict; `null` only if the router runs an older version that does not have this field. In that case,
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
    /// The memory of unfinished frames, as the sum over all listeners.
    #[serde(default)]
    pub unfinished_frames: UnfinishedStatus,
    /// The memory that the router uses for frames, in total.
    #[serde(default)]
    pub memory: MemoryStatus,
}

/// The memory that a router uses for frames: queued frames, frames in flight and unfinished frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// The bytes that are in use now. If several sinks hold the same frame, this frame counts once.
    pub held_bytes: u64,
    /// The limit in bytes. When the memory in use is near the limit, the sink that holds the most memory drops frames.
    pub limit_bytes: u64,
}

/// The memory of unfinished frames. A frame is unfinished if only a part of it has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnfinishedStatus {
    /// The bytes that are in use now.
    pub bytes: u64,
    /// The limit in bytes. When it is exceeded, the router closes the connection whose unfinished frame has the largest
    /// product of bytes and age.
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
    /// The path of the file, as it was given on the command line or as tapfan found it; `null` if a program that uses
    /// tapfan as a library made the configuration.
    pub path: Option<String>,
    /// The absolute path of the file. Symbolic links in the path of its folder are resolved. `null` if `path` is
    /// `null`, or if the router runs an older version that does not have this field.
    pub absolute_path: Option<String>,
    /// Every file that the configuration depends on, including imported files, certificates and keys.
    pub files: Vec<String>,
    /// A digest of the contents of all `files`, in hexadecimal. The digest changes only if the content of a file
    /// changes. It gives no cryptographic protection.
    pub digest: String,
}

/// Configuration reloads since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReloadsStatus {
    /// The number of reloads that were applied, including those that changed nothing.
    pub succeeded: u64,
    /// The number of reloads that were refused. A refused reload changes nothing.
    pub failed: u64,
    /// The time at which the configuration in use was applied, at the start or by a reload; `null` while the router
    /// starts.
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
    /// A text that describes the changes; `null` if the reload was refused.
    pub changes: Option<String>,
    /// The reason why the reload was refused; `null` if it was applied.
    pub error: Option<String>,
}

/// The log of a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogStatus {
    /// The number of log lines that were lost, because the reader of stderr was too slow, or because a write to stderr
    /// failed.
    pub lines_lost: u64,
}

/// A certificate that a listener or sink presents to its peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// The file from which the certificate was read.
    pub file: String,
    /// The start of the validity of the certificate; `null` if the router runs an older version that does not have this
    /// field.
    pub valid_from: Option<Timestamp>,
    /// The end of the validity of the certificate.
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
    /// The time of the error. If the same error has happened several times in a row, the time at which it first
    /// happened.
    pub at: Timestamp,
}

/// The verdict on a router or a sink: whether it works as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The verdict in one word, for programs.
    pub word: VerdictWord,
    /// The verdict in one sentence, for people.
    pub sentence: String,
}

closed_set! {
    /// The word of a [`Verdict`]. The words are in the order of severity, from `ok` to `down`. While a router starts or
    /// drains, its word is `starting` or `draining`. At other times, it is the worst word among its sinks and
    /// listeners.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum VerdictWord {
        /// The sink is up, and takes all frames that are offered to it.
        Ok => "ok",
        /// Only for a router: all sinks are well, but no sender is connected.
        NoSenders => "no_senders",
        /// The sink is up, but some of its endpoints are not.
        Degraded => "degraded",
        /// For a sink: its first connection is not up yet, and no attempt has failed so far. For a router: not every
        /// listener is bound yet.
        Starting => "starting",
        /// Shutting down.
        Draining => "draining",
        /// The sink is up, but it holds a frame that is older than five seconds.
        Behind => "behind",
        /// The sink is up, but it has lost frames in the last five minutes.
        Dropping => "dropping",
        /// Only for a router: the socket file of a listener was removed, so no sender can connect to this listener.
        NotListening => "not_listening",
        /// Not up.
        Down => "down",
    }
}
