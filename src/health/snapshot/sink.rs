//! A sink, as `/status` shows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CertificateStatus, ConfirmStatus, Counts, FilterStatus, SpoolStatus, Verdict};
use crate::health::{
    DropReason, Exclusion, Failure, Latency, Ledger, SinkHealth, State, endpoint::has_health,
};

/// A sink, with its settings, its health and its counts of frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The name of the sink. It is the label `sink` in logs and metrics.
    pub name: String,
    /// The destination as configured, or the address of the socket if the sink waits for collectors.
    pub configured: String,
    /// True if the sink waits for collectors, or has collectors that have connected to it.
    #[serde(default)]
    pub waits: bool,
    /// The address that a sink that waits for collectors is bound to; `null` for other sinks and for unix sockets.
    #[serde(default)]
    pub address: Option<String>,
    /// The reason why no collector can connect to a sink that waits for collectors: its socket file is gone. `null` if
    /// collectors can connect.
    #[serde(default)]
    pub not_listening: Option<Failure>,
    /// The names of the listeners whose frames the sink gets. Empty if it gets the frames of all listeners.
    #[serde(default)]
    pub from: Vec<String>,
    /// The treatment of the DNS messages in the sink's frames.
    pub mode: SinkMode,
    /// True if the configuration no longer has this sink.
    pub removed: bool,
    /// The verdict; `null` only if the router runs an older version that does not have this field.
    pub verdict: Option<Verdict>,
    /// The state of the sink's connections and endpoints.
    #[serde(flatten)]
    pub health: SinkHealth,
    /// The options that choose or edit frames; `null` if the sink gets all frames as they are.
    #[serde(default)]
    pub filter: Option<FilterStatus>,
    /// The account of the frames that were offered to the sink.
    pub ledger: LedgerStatus,
    /// The frames that the sink lost because its queue or the memory was full, by sender.
    #[serde(default)]
    pub dropped_by_sender: DroppedBySender,
    /// Its queue.
    pub queue: QueueStatus,
    /// The confirmation of its frames.
    #[serde(default)]
    pub confirm: ConfirmStatus,
    /// Its spool; `null` if it has none.
    #[serde(default)]
    pub spool: Option<SpoolStatus>,
    /// The latency of its frames.
    pub latency: LatencyStatus,
    /// The client certificate that the sink presents, if it has one.
    pub certificates: Vec<CertificateStatus>,
}

/// The setting for the DNS messages in frames, that is, for the fields `query_message` and `response_message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkMode {
    /// The sink sends both fields.
    Full,
    /// The sink removes both fields from every frame.
    NoWire,
}

/// The account of the frames that were offered to a sink. Each count is a number of frames, unless its name contains
/// `bytes`.
///
/// At any time, `offered = the sum of excluded + delivered + the sum of dropped + queued + in_flight + unconfirmed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerStatus {
    /// Frames offered to the sink, including the excluded ones.
    pub offered: u64,
    /// Frames that the options of the sink exclude, by reason; every reason is present. They are not lost.
    #[serde(default)]
    pub excluded: Counts,
    /// Frames that were delivered. The option `confirm` decides when a frame counts as delivered. By default, this is
    /// when the operating system has accepted the whole frame, on a connection whose handshake was complete.
    pub delivered: u64,
    /// The bytes of the delivered frames on the wire.
    pub delivered_bytes: u64,
    /// Frames lost, by reason; every reason is present.
    pub dropped: Counts,
    /// Frames waiting in the queue, or in the spool.
    pub queued: u64,
    /// Frames that were taken from the queue and are not written completely yet.
    pub in_flight: u64,
    /// Frames that were written, but are not confirmed by the collector yet. Always 0 with `confirm written`.
    #[serde(default)]
    pub unconfirmed: u64,
    /// Frames that were written a second time, because the first connection ended before the collector confirmed them.
    /// The collector may have these frames twice.
    #[serde(default)]
    pub resent: u64,
}

/// The frames that a sink lost because its queue or the memory was full, by sender.
///
/// The sum of these counts equals the sum of `queue_full` and `memory` in the field `dropped` of the ledger. It can be
/// slightly higher, because the ledger is read first and more frames may be lost in the meantime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DroppedBySender {
    /// The senders that lost the most frames, at most 16. The first sender lost the most.
    pub senders: Vec<SenderDrops>,
    /// The number of frames that all other senders lost.
    pub others: u64,
}

/// The lost frames of one sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SenderDrops {
    /// The listener to which the sender is connected.
    pub listener: String,
    /// The address of the sender, or its process if it is connected to a unix socket. The text is the same as in log
    /// lines.
    pub peer: String,
    /// The number of lost frames.
    pub frames: u64,
}

/// The queue of a sink, including the frames in flight. Frames that are only on the disk of a spool are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// The number of frames in the queue.
    pub frames: u64,
    /// The bytes of memory that these frames use.
    pub bytes: u64,
    /// The limit in frames.
    pub capacity_frames: u64,
    /// The limit in bytes.
    pub capacity_bytes: u64,
    /// The age of the oldest frame in seconds; `null` if the queue is empty. The age counts from the time at which the
    /// frame was read from its sender.
    pub oldest_seconds: Option<f64>,
}

/// A histogram of the latency of all frames since the start of the router. The latency is the time from the read from
/// the sender to the write to the collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencyStatus {
    /// The upper bounds in seconds of all buckets except the last one, which has no upper bound.
    pub bounds_seconds: Vec<f64>,
    /// The number of frames in each bucket, without those in lower buckets. There is one bucket more than there are
    /// bounds.
    pub counts: Vec<u64>,
    /// The sum of the latencies of all frames, in seconds.
    pub sum_seconds: f64,
    /// An estimate of the median in seconds; `null` if there were no frames.
    pub p50_seconds: Option<f64>,
    /// An estimate of the 99th percentile in seconds; `null` if there were no frames.
    pub p99_seconds: Option<f64>,
}

has_health!(SinkStatus, SinkHealth);

// === impl SinkStatus ===

impl SinkStatus {
    /// Returns whether the sink is up, or waits for collectors that can connect to it.
    pub fn is_in_order(&self) -> bool {
        match self.state {
            State::Up => true,
            State::Waiting => self.not_listening.is_none(),
            _ => false,
        }
    }
}

// === impl LedgerStatus ===

impl LedgerStatus {
    /// Returns the number of lost frames, for all reasons together. The sum stops at the largest number instead of
    /// overflowing, because another program may have written a status with any numbers.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
            .values()
            .fold(0, |sum, lost| sum.saturating_add(*lost))
    }

    /// Returns the number of frames that the options of the sink exclude, for all reasons together.
    pub fn excluded_total(&self) -> u64 {
        self.excluded
            .values()
            .fold(0, |sum, frames| sum.saturating_add(*frames))
    }

    /// Returns the number of offered frames that the options of the sink do not exclude.
    pub fn wanted(&self) -> u64 {
        self.offered.saturating_sub(self.excluded_total())
    }

    /// Returns whether each offered frame is counted exactly once.
    pub fn balances(&self) -> bool {
        let rest = [
            self.delivered,
            self.queued,
            self.in_flight,
            self.unconfirmed,
        ];
        let counts = self.dropped.values().chain(self.excluded.values());
        let counts = counts.chain(&rest);
        let sum: u128 = counts.map(|count| u128::from(*count)).sum();
        u128::from(self.offered) == sum
    }
}

impl From<&Ledger> for LedgerStatus {
    fn from(ledger: &Ledger) -> Self {
        Self {
            offered: ledger.offered,
            excluded: Exclusion::ALL
                .map(|reason| (reason.label().into(), ledger.excluded(reason)))
                .into(),
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

/// Returns the quantile `q` of a histogram. This is the latency that a share `q` of the frames did not exceed.
///
/// The result is an estimate: it assumes that the frames are evenly spread within a bucket, as Prometheus's
/// `histogram_quantile` does. If the quantile is in the last bucket, the result is the highest bound. To get the
/// quantile for a period, pass the differences between the counts of two snapshots.
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
            excluded: [("filtered".into(), 0)].into(),
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
        // If the sum wrapped around, this ledger would balance.
        assert!(!ledger(4, u64::MAX).balances());
    }
}
