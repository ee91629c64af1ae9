//! The distribution of latencies, in bounded memory.

use std::{fmt, time::Duration};

/// Counts of latencies in buckets. There are 16 buckets for each power of two, so a quantile is at most 6 % too large.
#[derive(Debug)]
pub(super) struct Latencies {
    buckets: Box<[u64]>,
    count: u64,
    max: Duration,
}

/// The number of buckets for each power of two.
const PARTS: u32 = 16;

// === impl Latencies ===

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanoseconds)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(latency);
    }

    /// Returns a quantile, given in hundredths. For 95, it is the latency that 95 % of all latencies do not exceed.
    /// Returns `None` if there are no latencies.
    fn quantile(&self, hundredths: u64) -> Option<Duration> {
        let rank = (self.count * hundredths).div_ceil(100).max(1);
        let mut below = 0;
        let bucket = self.buckets.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Duration::from_nanos(largest_of(bucket)).min(self.max))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: vec![0; bucket_of(u64::MAX) + 1].into(),
            count: 0,
            max: Duration::ZERO,
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |it: Duration| it.as_secs_f64() * 1000.0;
        let (Some(p50), Some(p99)) = (self.quantile(50), self.quantile(99)) else {
            return f.write_str("unknown: no response has the time of its query");
        };
        write!(
            f,
            "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms, of {} responses",
            milliseconds(p50),
            milliseconds(p99),
            milliseconds(self.max),
            self.count
        )
    }
}

/// Returns the index of the bucket for a latency. Each number below 16 has its own bucket. For larger numbers, the five
/// highest bits select the bucket.
fn bucket_of(nanoseconds: u64) -> usize {
    let bits = u64::BITS - nanoseconds.leading_zeros();
    let shift = bits.saturating_sub(PARTS.ilog2() + 1);
    // This value is at most 60 × 16 + 31, so the conversion never fails.
    let part = usize::try_from(nanoseconds >> shift).unwrap_or_default();
    shift as usize * PARTS as usize + part
}

/// Returns the largest latency in a bucket.
fn largest_of(bucket: usize) -> u64 {
    let parts = PARTS as usize;
    let shift = (bucket / parts).saturating_sub(1);
    let part = (bucket - shift * parts) as u64;
    ((part + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_a_bucket_that_is_at_most_a_sixteenth_too_large() {
        for shift in 0..64 {
            for near in [0, 1, 2] {
                let nanoseconds = (1_u64 << shift).saturating_add(near).saturating_sub(1);
                let largest = largest_of(bucket_of(nanoseconds));
                assert!(largest >= nanoseconds, "{nanoseconds}: {largest}");
                assert!(
                    largest - nanoseconds <= nanoseconds / 16,
                    "{nanoseconds}: {largest}"
                );
            }
        }
    }

    #[test]
    fn quantiles_of_a_hundred_latencies() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(50), None);
        for milliseconds in 1..=100 {
            latencies.add(Duration::from_millis(milliseconds));
        }
        let near = |found: Option<Duration>, expected: u64| {
            let found = found.expect("some").as_secs_f64() * 1000.0;
            #[allow(clippy::cast_precision_loss)]
            let expected = expected as f64;
            assert!((expected..expected * 1.07).contains(&found), "{found}");
        };
        near(latencies.quantile(50), 50);
        near(latencies.quantile(99), 99);
        assert_eq!(latencies.quantile(100), Some(Duration::from_millis(100)));
    }
}
