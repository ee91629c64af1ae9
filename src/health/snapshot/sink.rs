//! A sink, as `/status` shows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CertificateStatus, Counts, Verdict};
use crate::health::{DropReason, Latency, Ledger, SinkHealth, endpoint::has_health};

/// A sink: its settings, its health and its counts of frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The `sink` label in logs and metrics.
    pub name: String,
    /// The destination as configured.
    pub configured: String,
    /// The handling of the DNS messages in its frames.
    pub mode: SinkMode,
    /// True if the configuration no longer has this sink.
    pub removed: bool,
    /// The verdict; `null` only if the router's version does not have this field yet.
    pub verdict: Option<Verdict>,
    /// Its connections and endpoints.
    #[serde(flatten)]
    pub health: SinkHealth,
    /// The account of the frames offered to it.
    pub ledger: LedgerStatus,
    /// The frames that the sink lost because its queue or the memory was full, by sender.
    #[serde(default)]
    pub dropped_by_sender: DroppedBySender,
    /// Its queue.
    pub queue: QueueStatus,
    /// The latency of its frames.
    pub latency: LatencyStatus,
    /// The client certificate that the sink presents, if it has one.
    pub certificates: Vec<CertificateStatus>,
}

/// The handling of `query_message` and `response_message` by a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkMode {
    /// The sink sends both.
    Full,
    /// The sink removes both from every frame.
    NoWire,
}

/// The account of the frames offered to a sink. Each count is in frames, unless it says bytes.
///
/// At any time, `offered = delivered + the sum of dropped + queued + in_flight + unconfirmed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerStatus {
    /// Frames offered to the sink.
    pub offered: u64,
    /// Frames delivered at the level that `confirm` sets: by default, frames that the operating system accepted completely,
    /// on a connection whose handshake was complete.
    pub delivered: u64,
    /// The bytes of the delivered frames on the wire.
    pub delivered_bytes: u64,
    /// Frames lost, by reason; every reason is present.
    pub dropped: Counts,
    /// Frames waiting in the queue.
    pub queued: u64,
    /// Frames that were taken from the queue and are not written completely yet.
    pub in_flight: u64,
    /// Frames that were written and that the collector has not confirmed. Always 0 with `confirm written`.
    #[serde(default)]
    pub unconfirmed: u64,
    /// Frames that were written again, because their first connection ended before it confirmed them. The collector may
    /// have them twice.
    #[serde(default)]
    pub resent: u64,
}

/// The frames that a sink lost because its queue or the memory was full, by sender.
///
/// Their sum equals the ledger's `dropped` for `queue_full` and `memory`. It can be slightly higher, because the
/// snapshot reads the ledger first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DroppedBySender {
    /// The senders that lost the most frames, in descending order; at most 16.
    pub senders: Vec<SenderDrops>,
    /// The number of frames of all other senders.
    pub others: u64,
}

/// The lost frames of one sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SenderDrops {
    /// The listener that the sender is connected to.
    pub listener: String,
    /// The sender's address, or its process on a unix socket, as in log lines.
    pub peer: String,
    /// The number of lost frames.
    pub frames: u64,
}

/// The queue of a sink, including the frames in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Frames held.
    pub frames: u64,
    /// Bytes of memory that these frames hold.
    pub bytes: u64,
    /// The limit in frames.
    pub capacity_frames: u64,
    /// The limit in bytes.
    pub capacity_bytes: u64,
    /// The age of the oldest frame in seconds, counted from the time at which it was read from the sender; `null` if
    /// the queue is empty.
    pub oldest_seconds: Option<f64>,
}

/// A histogram of the latency of all frames since the start. The latency is the time from the read from the sender to
/// the write to the collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencyStatus {
    /// The upper bounds in seconds of all buckets except the last one, which has no upper bound.
    pub bounds_seconds: Vec<f64>,
    /// Frames in each bucket, not cumulative. There is one bucket more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of the latencies of all frames, in seconds.
    pub sum_seconds: f64,
    /// The estimated median in seconds; `null` if there were no frames.
    pub p50_seconds: Option<f64>,
    /// The estimated 99th percentile in seconds; `null` if there were no frames.
    pub p99_seconds: Option<f64>,
}

has_health!(SinkStatus, SinkHealth);

// === impl LedgerStatus ===

impl LedgerStatus {
    /// Frames lost, for all reasons together. The sum saturates, because a status that another program wrote may
    /// contain any numbers.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
            .values()
            .fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Returns whether every frame offered is accounted for exactly once.
    pub fn balances(&self) -> bool {
        let rest = [
            self.delivered,
            self.queued,
            self.in_flight,
            self.unconfirmed,
        ];
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
            unconfirmed: ledger.unconfirmed,
            resent: ledger.resent,
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

/// Returns the quantile `q` of a histogram: the share `q` of the frames had at most this latency.
///
/// It assumes that the frames are evenly spread within a bucket, as Prometheus's `histogram_quantile` does. For a quantile
/// in the last bucket, it returns the highest bound. For the quantile of a period, pass the differences between the counts
/// of two snapshots.
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
            unconfirmed: 0,
            resent: 0,
        };
        assert!(ledger(6, 0).balances() && ledger(16, 5).balances());
        assert_eq!(ledger(0, u64::MAX).dropped_total(), u64::MAX);
        // A sum that wraps around would balance here.
        assert!(!ledger(4, u64::MAX).balances());
    }
}
