//! Rates between two polls, by the router's own clock.

use std::time::Duration;

use crate::admin::{LedgerStatus, ListenerStatus};

/// The rates of a sink, in frames per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SinkRates {
    /// Frames offered to the sink, without the excluded ones.
    pub(super) incoming: f64,
    /// Frames delivered by the sink.
    pub(super) outgoing: f64,
    pub(super) dropped: f64,
}

/// The rates of a listener, in frames and bytes per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ListenerRates {
    pub(super) frames: f64,
    pub(super) bytes: f64,
}

/// Returns the rate of a counter. Returns `None` if no time has passed between the two polls, or if the counter
/// decreased, which happens when the router is restarted.
#[allow(clippy::cast_precision_loss)]
pub(super) fn per_second(earlier: u64, later: u64, time: Duration) -> Option<f64> {
    let count = later.checked_sub(earlier)?;
    (!time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}

/// Returns the growth of each bucket of a histogram. Returns `None` if the two histograms have different numbers of
/// buckets, or if a count decreased.
pub(super) fn added(earlier: &[u64], later: &[u64]) -> Option<Vec<u64>> {
    if earlier.len() != later.len() {
        return None;
    }
    let buckets = earlier.iter().zip(later);
    buckets
        .map(|(earlier, later)| later.checked_sub(*earlier))
        .collect()
}

// === impl SinkRates ===

impl SinkRates {
    pub(super) fn between(
        earlier: &LedgerStatus,
        later: &LedgerStatus,
        time: Duration,
    ) -> Option<Self> {
        Some(Self {
            incoming: per_second(earlier.wanted(), later.wanted(), time)?,
            outgoing: per_second(earlier.delivered, later.delivered, time)?,
            dropped: per_second(earlier.dropped_total(), later.dropped_total(), time)?,
        })
    }
}

// === impl ListenerRates ===

impl ListenerRates {
    pub(super) fn between(
        earlier: &ListenerStatus,
        later: &ListenerStatus,
        time: Duration,
    ) -> Option<Self> {
        Some(Self {
            frames: per_second(earlier.frames, later.frames, time)?,
            bytes: per_second(earlier.bytes, later.bytes, time)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::fixture::sink;

    proptest! {
        /// A rate is never negative, and the rate multiplied by the time is the growth of the counter.
        #[test]
        fn a_rate_times_the_time_is_the_count(
            earlier in 0..1_u64 << 40,
            more in 0..1_u64 << 40,
            millis in 1..1_000_000_u64,
        ) {
            let time = Duration::from_millis(millis);
            let rate = per_second(earlier, earlier + more, time).expect("time has passed");
            prop_assert!(rate >= 0.0 && rate.is_finite());
            let counted = rate * time.as_secs_f64();
            #[allow(clippy::cast_precision_loss)]
            let off = (counted - more as f64).abs();
            prop_assert!(off <= 1e-6 * counted.max(1.0), "{counted} of {more}");
        }

        #[test]
        fn a_counter_that_went_back_has_no_rate(later in any::<u64>(), less in 1..u64::MAX) {
            let earlier = later.saturating_add(less);
            prop_assume!(earlier > later);
            prop_assert_eq!(per_second(earlier, later, Duration::from_secs(1)), None);
        }

        /// Checks that the incoming rate equals the outgoing rate plus the rate of drops plus the growth of the queue
        /// per second.
        #[test]
        fn the_rates_of_a_ledger_add_up(
            delivered in 0..1_000_000_u64,
            dropped in 0..1_000_000_u64,
            queued in 0..10_000_u64,
            millis in 100..10_000_u64,
        ) {
            let earlier = sink("a", "unix:///a").ledger;
            let mut later = earlier.clone();
            later.delivered += delivered;
            later.queued = queued;
            later.dropped.insert("queue_full".into(), dropped);
            later.offered += delivered + dropped + queued;
            prop_assert!(earlier.balances() && later.balances());
            let time = Duration::from_millis(millis);
            let rates = SinkRates::between(&earlier, &later, time).expect("the counters grow");
            #[allow(clippy::cast_precision_loss)]
            let growth = queued as f64 / time.as_secs_f64();
            let sum = rates.outgoing + rates.dropped + growth;
            prop_assert!((rates.incoming - sum).abs() <= 1e-6 * rates.incoming.max(1.0));
        }
    }

    #[test]
    fn a_zero_time_has_no_rate_and_another_histogram_no_growth() {
        assert_eq!(per_second(1, 2, Duration::ZERO), None);
        assert_eq!(added(&[1, 2], &[1, 5]), Some(vec![0, 3]));
        assert_eq!(added(&[1, 2], &[1, 1]), None);
        assert_eq!(added(&[1, 2], &[1, 2, 0]), None);
    }
}
