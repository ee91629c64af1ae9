//! A sink, as `/status` shows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CertificateStatus, Counts, Verdict};
use crate::health::{DropReason, Latency, Ledger, SinkHealth, endpoint::has_health};

/// A sink: its directive, its health and its account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The `sink` label in logs and metrics.
    pub name: String,
    /// The destination as configured.
    pub configured: String,
    /// The handling of DNS messages.
    pub mode: Mode,
    /// True if the configuration no longer has it.
    pub removed: bool,
    /// The verdict; `null` under the same condition as the router's.
    pub verdict: Option<Verdict>,
    /// Its connections and endpoints.
    #[serde(flatten)]
    pub health: SinkHealth,
    /// The account of the frames offered to it.
    pub ledger: LedgerStatus,
    /// The frames that it lost for lack of room, by sender.
    #[serde(default)]
    pub dropped_by_sender: DroppedBySender,
    /// Its queue.
    pub queue: QueueStatus,
    /// The latency of its frames.
    pub latency: LatencyStatus,
    /// The certificate that it shows, if it shows one.
    pub certificates: Vec<CertificateStatus>,
}

/// The treatment of `query_message` and `response_message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It keeps them.
    Full,
    /// It leaves them out.
    NoWire,
}

/// The account of the frames offered to a sink. All counts are frames unless they say bytes.
///
/// `offered = delivered + the sum of dropped + queued + in_flight`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerStatus {
    /// Frames offered to the sink.
    pub offered: u64,
    /// Frames handed whole to the operating system on a connection whose handshake had completed.
    pub delivered: u64,
    /// The bytes of these on the wire.
    pub delivered_bytes: u64,
    /// Frames lost, by reason; every reason is present.
    pub dropped: Counts,
    /// Frames waiting in the queue.
    pub queued: u64,
    /// Frames taken from the queue and not yet written whole.
    pub in_flight: u64,
}

/// The frames that a sink lost for lack of room, by sender.
///
/// Together as many as the ledger's `dropped` for `queue_full` and `memory`, or a few more: the ledger is read first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DroppedBySender {
    /// The senders that lost most, heaviest first: 16 at most.
    pub senders: Vec<SenderDrops>,
    /// The frames of all other senders.
    pub others: u64,
}

/// The frames of one sender that a sink lost for lack of room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SenderDrops {
    /// The listener that the sender is connected to.
    pub listener: String,
    /// Its address, or its process for a unix socket, as log lines name it.
    pub peer: String,
    /// The frames.
    pub frames: u64,
}

/// The queue of a sink. Frames in flight count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Frames held.
    pub frames: u64,
    /// Bytes of memory held for these.
    pub bytes: u64,
    /// The limit in frames.
    pub capacity_frames: u64,
    /// The limit in bytes.
    pub capacity_bytes: u64,
    /// The age of the oldest frame since it was read from its sender, in seconds; `null` if the queue is empty.
    pub oldest_seconds: Option<f64>,
}

/// The time of frames from being read to being written: a histogram since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencyStatus {
    /// The upper bounds of the buckets in seconds. The last bucket has none.
    pub bounds_seconds: Vec<f64>,
    /// Frames in each bucket, not cumulative: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum over all frames, in seconds.
    pub sum_seconds: f64,
    /// The median, about, in seconds; `null` if there were no frames.
    pub p50_seconds: Option<f64>,
    /// The 99th percentile, about, in seconds; `null` if there were no frames.
    pub p99_seconds: Option<f64>,
}

has_health!(SinkStatus, SinkHealth);

// === impl LedgerStatus ===

impl LedgerStatus {
    /// Frames lost, for all reasons together. It saturates: what was read may be nonsense.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
            .values()
            .fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Returns whether every frame offered is accounted for exactly once.
    pub fn balances(&self) -> bool {
        let rest = [self.delivered, self.queued, self.in_flight];
        let counts = self.dropped.values().chain(&rest);
        let sum: u128 = counts.map(|count| u128::from(*count)).sum();
        u128::from(self.offered) == sum
    }
}

impl From<&Ledger> for LedgerStatus {
    fn from(ledger: &Ledger) -> Self {
        Self {
            offered: ledger.offered,
            delivered: ledger.delivered,
            delivered_bytes: ledger.delivered_bytes,
            dropped: DropReason::ALL
                .map(|reason| (reason.label().into(), ledger.dropped(reason)))
                .into(),
            queued: ledger.queued,
            in_flight: ledger.in_flight,
        }
    }
}

// === impl LatencyStatus ===

impl From<&Latency> for LatencyStatus {
    fn from(latency: &Latency) -> Self {
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

/// Returns the time that the share `q` of the frames did not exceed.
///
/// Within a bucket, frames count as evenly spread, as in Prometheus's `histogram_quantile`. In the last bucket it is the
/// bound below. For a stretch of time, pass the differences of two snapshots' counts.
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
        let many = |count| ["a", "b"].map(|reason| (reason.into(), count)).into();
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
