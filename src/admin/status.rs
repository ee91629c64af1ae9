//! What `GET /status` says, as types that write it and read it.

use std::{
    collections::BTreeMap,
    process,
    time::{Duration, Instant, SystemTime},
};

use nix::unistd::gethostname;
use serde::{Deserialize, Serialize};

use super::{Timestamp, Verdict, verdict::Lately};
use crate::{
    dnstap::MessageType,
    listener::ErrorReason,
    router::{DropReason, EndpointAccount, Latency, Ledger, Losses},
    sink::{self, State},
    supervisor::{Certificate, ListenerView, RouterPhase, SinkView, View},
};

/// A router as it stood at one moment: the body of `GET /status`.
///
/// Whoever writes it and whoever reads it use these types. Fields are only ever added; a reader must pass over those that it
/// does not know, and serde does. A field that may be absent is `null`.
///
/// ```
/// use tapfan::{admin::RouterStatus, supervisor::View};
///
/// let text = serde_json::to_string(&RouterStatus::of(&View::new()))?;
/// let read: RouterStatus = serde_json::from_str(&text)?;
/// assert_eq!(read.version, env!("CARGO_PKG_VERSION"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Of tapfan.
    pub version: String,
    /// The number of its process; `null` from a router that is older than this field.
    pub pid: Option<u32>,
    /// The name of its machine, or of its Pod; `null` if it has none.
    pub host: Option<String>,
    /// When this was written, by the router's clock: compare other times with it, not with a clock elsewhere.
    pub now: Timestamp,
    /// When the router was started.
    pub started: Timestamp,
    /// How far it has come.
    pub phase: Phase,
    /// The verdict; `null` only from a router that is older than this field: [`judged`](Self::judged) fills it in.
    pub verdict: Option<Verdict>,
    /// The configuration that runs.
    pub config: ConfigStatus,
    /// Changes of the configuration since the start.
    pub reloads: ReloadsStatus,
    /// The log.
    #[serde(default)]
    pub log: LogStatus,
    /// The listeners in the order of the configuration, then those that it no longer has, until their senders have ended.
    pub listeners: Vec<ListenerStatus>,
    /// The sinks in the order of the configuration, then those that it no longer has, until they are drained.
    pub sinks: Vec<SinkStatus>,
    /// The memory of frames that have begun and not ended, over all listeners.
    #[serde(default)]
    pub unfinished_frames: UnfinishedStatus,
    /// The memory that the router holds for frames, all in all.
    #[serde(default)]
    pub memory: MemoryStatus,
}

/// The memory that the router holds for frames: what waits for sinks, what is in flight, and unfinished frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// Bytes that are held now. What several sinks share counts once.
    pub held_bytes: u64,
    /// Bytes that may be held; near that, the sink that holds most drops frames.
    pub limit_bytes: u64,
}

/// The memory of frames that have begun and not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedStatus {
    /// Bytes that are held now.
    pub bytes: u64,
    /// Bytes that may be held; beyond that, the connection that holds most for longest is closed.
    pub capacity_bytes: u64,
}

/// How far a router has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not every listener is bound yet.
    Starting,
    /// Every listener is bound.
    Running,
    /// It is on its way out.
    Draining,
}

/// Where the configuration that runs comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The file that was named or found; `null` if a program that embeds the router made it.
    pub path: Option<String>,
    /// The same from the root, with the links of its folder resolved; `null` as `path`, and from a router that is older than
    /// this field.
    pub absolute_path: Option<String>,
    /// Every file that it depends on: imported ones, certificates and keys too.
    pub files: Vec<String>,
    /// Of what all of those say, in hexadecimal: equal if nothing has changed. It guards nothing.
    pub digest: String,
}

/// Changes of the configuration since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadsStatus {
    /// Those that were made.
    pub succeeded: u64,
    /// Those that were refused: everything stayed as it was.
    pub failed: u64,
    /// When the configuration that runs was taken up, at the start or by a reload; `null` while starting.
    pub last_success: Option<Timestamp>,
    /// The last one; `null` if there was none.
    pub last: Option<ReloadStatus>,
}

/// The log of a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Lines that were lost, since the reader of stderr did not keep up, or since stderr could not be written to.
    pub lines_lost: u64,
}

/// One change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When it was made or refused.
    pub at: Timestamp,
    /// What it changed, in words; `null` if it was refused.
    pub changes: Option<String>,
    /// Why it was refused; `null` if it was made.
    pub error: Option<String>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The address as configured; the `listener` label in logs and metrics.
    pub name: String,
    /// The address it is bound to, with the port that the system chose if it was asked to; `null` for unix sockets.
    pub address: Option<String>,
    /// Whether the configuration no longer has it.
    pub removed: bool,
    /// Why no sender can connect, and since when: its socket was taken away and cannot be bound again. Else `null`.
    #[serde(default)]
    pub not_listening: Option<Failure>,
    /// Connections of senders that are open now.
    pub connections: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Frames that were taken, and offered to every sink.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// The frames by their dnstap message type, as the schema calls it, or `unknown`; every type is there.
    pub message_frames: BTreeMap<String, u64>,
    /// What was refused, by reason; every reason is there. Frames for `oversize`, `malformed` and
    /// `control`, connections otherwise.
    pub errors: BTreeMap<String, u64>,
    /// The certificate it shows, if it speaks TLS.
    pub certificates: Vec<CertificateStatus>,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// The `sink` label in logs and metrics.
    pub name: String,
    /// Where it goes, as configured.
    pub configured: String,
    /// Whether DNS messages are kept.
    pub mode: Mode,
    /// Whether the configuration no longer has it.
    pub removed: bool,
    /// The verdict; `null` as that of the router.
    pub verdict: Option<Verdict>,
    /// What it is doing.
    pub state: State,
    /// Since when it is up, or is not: the attempts of one outage do not begin it anew.
    pub since: Timestamp,
    /// The address it is connected to, or was last tried at; `null` before the first attempt.
    pub endpoint: Option<String>,
    /// Every address it goes to, and how that one is doing; one that is `failover` has one, once it was tried.
    pub endpoints: Vec<EndpointStatus>,
    /// What went wrong last, and when; `null` if nothing ever did. It stays when the sink is up again.
    pub last_error: Option<Failure>,
    /// Attempts that failed since it was up.
    pub failures: u32,
    /// When the next attempt is due; `null` unless the state is `backoff`.
    pub next_attempt: Option<Timestamp>,
    /// Attempts that ended in a completed handshake.
    pub connects: u64,
    /// Attempts that did not.
    pub failed_connects: u64,
    /// Connections that ended, by reason; every reason is there.
    pub disconnects: BTreeMap<String, u64>,
    /// Times that it took nothing of a write for a whole second.
    pub write_stalls: u64,
    /// Look-ups of its name that failed.
    pub resolve_failures: u64,
    /// Why its name cannot be looked up, and since when; `null` if the last look-up succeeded.
    pub resolve_error: Option<Failure>,
    /// What became of the frames it was offered.
    pub ledger: LedgerStatus,
    /// The frames that it lost for want of room, by sender.
    #[serde(default)]
    pub dropped_by_sender: DroppedBySender,
    /// What waits for it.
    pub queue: QueueStatus,
    /// How long frames took.
    pub latency: LatencyStatus,
    /// The certificate it shows, if it shows one.
    pub certificates: Vec<CertificateStatus>,
}

/// Whether a sink keeps `query_message` and `response_message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It does.
    Full,
    /// It leaves them out.
    NoWire,
}

/// One address of a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// The address.
    pub endpoint: String,
    /// What the connection to it is doing.
    pub state: State,
    /// Since when it is up, or is not.
    pub since: Timestamp,
    /// What went wrong there last, and when.
    pub last_error: Option<Failure>,
    /// Attempts that failed since it was up.
    pub failures: u32,
    /// When the next attempt is due; `null` unless the state is `backoff`.
    pub next_attempt: Option<Timestamp>,
    /// Attempts that ended in a completed handshake.
    pub connects: u64,
    /// Attempts that did not.
    pub failed_connects: u64,
    /// Connections that ended, by reason; every reason is there.
    pub disconnects: BTreeMap<String, u64>,
    /// What became of the frames it was offered; `null` unless each endpoint of the sink has a queue of its own.
    pub ledger: Option<LedgerStatus>,
    /// The age of the oldest frame in that queue, in seconds.
    pub oldest_seconds: Option<f64>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What, in one sentence.
    pub error: String,
    /// When; of a failure that lasts, since when.
    pub at: Timestamp,
}

/// What became of the frames that a sink was offered. All counts are frames unless they say bytes.
///
/// `offered = delivered + the sum of dropped + queued + in_flight`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// Offered to the sink.
    pub offered: u64,
    /// Handed whole to the operating system on a connection whose handshake had completed.
    pub delivered: u64,
    /// The same in bytes on the wire.
    pub delivered_bytes: u64,
    /// Lost, by reason; every reason is there.
    pub dropped: BTreeMap<String, u64>,
    /// Waiting in the queue.
    pub queued: u64,
    /// Taken from the queue, and not yet written whole.
    pub in_flight: u64,
}

/// The frames that a sink lost for want of room, by the sender that they came from.
///
/// Together as many as the ledger's `dropped` for `queue_full` and `memory`, or a few more: the ledger is read first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedBySender {
    /// The senders that lost most, heaviest first: 16 at most.
    pub senders: Vec<SenderDrops>,
    /// The frames of all others.
    pub others: u64,
}

/// The frames of one sender that a sink lost for want of room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderDrops {
    /// The listener that it is connected to.
    pub listener: String,
    /// Its address, or the process if it came by a unix socket, as log lines name it.
    pub peer: String,
    /// The frames.
    pub frames: u64,
}

/// What waits for a sink. What is in flight counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Frames that it holds.
    pub frames: u64,
    /// Bytes of memory that those keep.
    pub bytes: u64,
    /// Frames that it may hold.
    pub capacity_frames: u64,
    /// Bytes that it may hold.
    pub capacity_bytes: u64,
    /// How long ago the oldest frame in it was read from its sender, in seconds; `null` if it is empty.
    pub oldest_seconds: Option<f64>,
}

/// How long frames took from being read to being written: a histogram since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyStatus {
    /// The upper bounds of the buckets but the last, which has none, in seconds.
    pub bounds_seconds: Vec<f64>,
    /// Frames in each bucket, not cumulated: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum over all frames, in seconds.
    pub sum_seconds: f64,
    /// Half of the frames took no longer, about, in seconds; `null` if there were none.
    pub p50_seconds: Option<f64>,
    /// 99 of 100 frames took no longer, about, in seconds; `null` if there were none.
    pub p99_seconds: Option<f64>,
}

/// A certificate that a listener or sink shows to its peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The file that it was read from.
    pub file: String,
    /// From when on it is valid; `null` from a router that does not say it.
    pub valid_from: Option<Timestamp>,
    /// When it is no longer valid.
    pub expires: Timestamp,
    /// The meaning of these dates now: `valid`, `expires_soon` (within 14 days), `expired` or `not_yet_valid`.
    #[serde(default)]
    pub validity: String,
}

// === impl RouterStatus ===

impl RouterStatus {
    /// The router that `view` looks into, as it stands.
    ///
    /// Its verdicts know of no losses: what was lost in the last minutes is remembered by a running
    /// [`Server`](super::Server) only.
    pub fn of(view: &View) -> Self {
        let mut status = Self::unjudged(view);
        status.judge(|_| Lately::default());
        status
    }

    /// The same without verdicts.
    pub(super) fn unjudged(view: &View) -> Self {
        let (configured, reloads) = (view.configured(), view.reloads());
        let last = reloads.last.map(|last| ReloadStatus {
            at: last.at.into(),
            changes: last.outcome.as_ref().ok().map(ToString::to_string),
            error: last.outcome.as_ref().err().map(ToString::to_string),
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: Some(process::id()),
            host: gethostname().ok().and_then(|name| name.into_string().ok()),
            started: view.started().into(),
            phase: view.phase().into(),
            verdict: None,
            config: ConfigStatus {
                path: configured.path.map(|path| path.display().to_string()),
                absolute_path: configured
                    .absolute_path
                    .map(|path| path.display().to_string()),
                files: configured
                    .files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect(),
                digest: format!("{:016x}", configured.digest),
            },
            reloads: ReloadsStatus {
                succeeded: reloads.succeeded,
                failed: reloads.failed,
                last_success: reloads.last_success.map(Timestamp::from),
                last,
            },
            log: LogStatus {
                lines_lost: view.log_lines_lost(),
            },
            listeners: view.listeners().iter().map(ListenerStatus::of).collect(),
            sinks: view.sinks().iter().map(SinkStatus::of).collect(),
            unfinished_frames: UnfinishedStatus {
                bytes: view.unfinished_frames().held() as u64,
                capacity_bytes: view.unfinished_frames().limit() as u64,
            },
            memory: MemoryStatus {
                held_bytes: view.memory().held() as u64,
                limit_bytes: view.memory().limit() as u64,
            },
            // Last, so that nothing in here is from after it.
            now: Timestamp::now(),
        }
    }
}

// === impl Phase ===

impl Phase {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => RouterPhase::Starting.label(),
            Self::Running => RouterPhase::Running.label(),
            Self::Draining => RouterPhase::Draining.label(),
        }
    }
}

impl From<RouterPhase> for Phase {
    fn from(phase: RouterPhase) -> Self {
        match phase {
            RouterPhase::Starting => Self::Starting,
            RouterPhase::Running => Self::Running,
            RouterPhase::Draining => Self::Draining,
        }
    }
}

// === impl ListenerStatus ===

impl ListenerStatus {
    fn of(view: &ListenerView) -> Self {
        let counts = view.counts();
        Self {
            name: view.name().to_string(),
            address: view.address().map(|address| address.to_string()),
            removed: view.is_removed(),
            not_listening: view.not_listening().map(|lost| Failure {
                error: lost.error.to_string(),
                at: lost.since.into(),
            }),
            connections: counts.connections,
            accepted: counts.accepted,
            frames: counts.frames,
            bytes: counts.bytes,
            message_frames: by_label(MessageType::ALL.map(|of| (of.label(), counts.frames_of(of)))),
            errors: by_label(
                ErrorReason::ALL.map(|reason| (reason.label(), counts.errors(reason))),
            ),
            certificates: view.certificates().iter().map(Into::into).collect(),
        }
    }
}

// === impl SinkStatus ===

impl SinkStatus {
    fn of(view: &SinkView) -> Self {
        let (config, status, ledger) = (view.config(), view.status(), view.ledger());
        let limits = view.limits();
        let sink::Status {
            state,
            since,
            endpoint,
            last_error,
            failures,
            next_attempt,
            connects,
            failed_connects,
            write_stalls,
            resolve_failures,
            resolve_error,
            ..
        } = &status;
        let accounts = view.endpoints();
        Self {
            name: view.name().to_string(),
            configured: config.endpoint.to_string(),
            mode: if config.full {
                Mode::Full
            } else {
                Mode::NoWire
            },
            removed: view.is_removed(),
            verdict: None,
            state: *state,
            since: (*since).into(),
            endpoints: status
                .endpoints
                .iter()
                .map(|endpoint| EndpointStatus::of(endpoint, &accounts))
                .collect(),
            endpoint: endpoint.as_deref().map(str::to_owned),
            last_error: last_error.as_ref().map(Failure::of),
            failures: *failures,
            next_attempt: next_attempt.map(Timestamp::from),
            connects: *connects,
            failed_connects: *failed_connects,
            disconnects: by_label(status.disconnects()),
            write_stalls: *write_stalls,
            resolve_failures: *resolve_failures,
            resolve_error: resolve_error.as_ref().map(Failure::of),
            dropped_by_sender: DroppedBySender::of(&view.losses()),
            queue: QueueStatus {
                frames: ledger.queued + ledger.in_flight,
                bytes: ledger.held_bytes,
                capacity_frames: limits.frames as u64,
                capacity_bytes: limits.bytes as u64,
                oldest_seconds: view.oldest().map(seconds_since),
            },
            ledger: LedgerStatus::of(&ledger),
            latency: LatencyStatus::of(&view.latency()),
            certificates: view.certificates().iter().map(Into::into).collect(),
        }
    }
}

// === impl EndpointStatus ===

impl EndpointStatus {
    fn of(status: &sink::EndpointStatus, accounts: &[EndpointAccount]) -> Self {
        let account = accounts
            .iter()
            .find(|account| account.address == status.address);
        Self {
            endpoint: status.address.to_string(),
            state: status.state,
            since: status.since.into(),
            last_error: status.last_error.as_ref().map(Failure::of),
            failures: status.failures,
            next_attempt: status.next_attempt.map(Timestamp::from),
            connects: status.connects,
            failed_connects: status.failed_connects,
            disconnects: by_label(status.disconnects()),
            ledger: account.map(|account| LedgerStatus::of(&account.ledger)),
            oldest_seconds: account
                .and_then(|account| account.oldest)
                .map(seconds_since),
        }
    }
}

// === impl LedgerStatus ===

impl LedgerStatus {
    fn of(ledger: &Ledger) -> Self {
        Self {
            offered: ledger.offered,
            delivered: ledger.delivered,
            delivered_bytes: ledger.delivered_bytes,
            dropped: by_label(
                DropReason::ALL.map(|reason| (reason.label(), ledger.dropped(reason))),
            ),
            queued: ledger.queued,
            in_flight: ledger.in_flight,
        }
    }

    /// Frames lost, whatever the reason; never more than a `u64` holds, even if what was read is nonsense.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
            .values()
            .fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Whether every frame offered is accounted for exactly once.
    pub fn balances(&self) -> bool {
        let rest = [self.delivered, self.queued, self.in_flight];
        let counts = self.dropped.values().chain(&rest);
        let sum: u128 = counts.map(|count| u128::from(*count)).sum();
        u128::from(self.offered) == sum
    }
}

// === impl LatencyStatus ===

impl LatencyStatus {
    fn of(latency: &Latency) -> Self {
        let bounds: Vec<f64> = Latency::BOUNDS.iter().map(Duration::as_secs_f64).collect();
        let counts = latency.counts();
        Self {
            p50_seconds: quantile(&bounds, counts, 0.5),
            p99_seconds: quantile(&bounds, counts, 0.99),
            counts: counts.to_vec(),
            sum_seconds: latency.sum().as_secs_f64(),
            bounds_seconds: bounds,
        }
    }
}

/// What the share `q` of frames did not exceed: within a bucket they count as evenly spread, as Prometheus's
/// `histogram_quantile` has it. In the last bucket it is the bound below.
///
/// To have it of a stretch of time, give the differences of two snapshots' counts.
#[allow(clippy::cast_precision_loss)]
pub fn quantile(bounds: &[f64], counts: &[u64], q: f64) -> Option<f64> {
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    if total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (upper, count) in bounds.iter().zip(counts) {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            return Some(lower + (upper - lower) * ((rank - below) / count));
        }
        below += count;
        lower = *upper;
    }
    Some(lower)
}

// === impl Failure ===

impl Failure {
    fn of((error, at): &(std::sync::Arc<str>, SystemTime)) -> Self {
        Self {
            error: error.to_string(),
            at: (*at).into(),
        }
    }
}

// === impl DroppedBySender ===

impl DroppedBySender {
    fn of(losses: &Losses) -> Self {
        let rows = losses.senders().into_iter();
        let senders = rows.map(|(source, frames)| SenderDrops {
            listener: source.listener().to_owned(),
            peer: source.peer().to_owned(),
            frames,
        });
        Self {
            senders: senders.collect(),
            others: losses.others(),
        }
    }
}

// === impl CertificateStatus ===

impl From<&Certificate> for CertificateStatus {
    fn from(certificate: &Certificate) -> Self {
        Self {
            file: certificate.file.display().to_string(),
            valid_from: Some(certificate.validity.starts.into()),
            expires: certificate.validity.expires.into(),
            validity: certificate
                .validity
                .state(SystemTime::now())
                .label()
                .to_owned(),
        }
    }
}

fn by_label(counts: impl IntoIterator<Item = (&'static str, u64)>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter();
    counts
        .map(|(label, count)| (label.to_owned(), count))
        .collect()
}

fn seconds_since(past: Instant) -> f64 {
    past.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_where_prometheus_has_it() {
        let bounds = [1.0, 2.0, 4.0];
        let close = |q, counts: &[u64], expected: f64| {
            let found = quantile(&bounds, counts, q).expect("frames");
            assert!((found - expected).abs() < 1e-9, "{q}: {found}");
        };
        assert_eq!(quantile(&bounds, &[0; 4], 0.5), None);
        close(0.5, &[10, 0, 0, 0], 0.5);
        close(0.5, &[0, 10, 0, 0], 1.5);
        close(0.99, &[99, 0, 1, 0], 1.0);
        close(1.0, &[99, 0, 1, 0], 4.0);
        close(0.5, &[0, 0, 0, 3], 4.0);
        close(0.5, &[0, u64::MAX, 0, u64::MAX], 2.0);
    }

    #[test]
    fn a_ledger_of_nonsense_is_only_nonsense() {
        let many = |count| ["a", "b"].map(|reason| (reason.to_owned(), count)).into();
        let ledger = |offered, lost| LedgerStatus {
            offered,
            delivered: 1,
            delivered_bytes: 0,
            dropped: many(lost),
            queued: 2,
            in_flight: 3,
        };
        assert!(ledger(6, 0).balances() && ledger(16, 5).balances());
        assert_eq!(ledger(0, u64::MAX).dropped_total(), u64::MAX);
        // What would come out if the sum went round.
        assert!(!ledger(4, u64::MAX).balances());
    }
}
