//! Durations in buckets whose width grows with the duration.

use serde::{Deserialize, Serialize};

/// A histogram of durations in nanoseconds. The width of a bucket is at most 1/32 of the durations
/// in it.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

/// Quantiles of durations, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) most: u64,
}

/// The number of buckets for durations between two powers of two.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;

// === impl Histogram ===

impl Histogram {
    pub(crate) fn record(&mut self, duration: u64) {
        self.counts[bucket(duration)] += 1;
        self.total += 1;
        self.most = self.most.max(duration);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.most = self.most.max(other.most);
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.quantile(500),
            p99: self.quantile(990),
            p999: self.quantile(999),
            most: self.most,
        }
    }

    /// Returns a quantile, which `thousandths` selects. For example, with 990 thousandths, 99 % of
    /// the recorded durations are not longer than the result. 0 if no durations were recorded.
    fn quantile(&self, thousandths: u64) -> u64 {
        let rank = (self.total * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return end(bucket).min(self.most);
            }
        }
        self.most
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
            most: 0,
        }
    }
}

/// Returns the bucket of a duration. Each of the first [`STEPS`] buckets is for a single duration.
fn bucket(duration: u64) -> usize {
    let octave = duration.max(1).ilog2().saturating_sub(STEP_BITS);
    let step = duration >> octave;
    usize::try_from(u64::from(octave) * STEPS + step).expect("a few thousand buckets")
}

/// Returns the longest duration of a bucket.
fn end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let octave = (bucket / STEPS).saturating_sub(1);
    let step = bucket - octave * STEPS;
    // The first duration after the last bucket does not fit in 64 bits, so the calculation uses 128
    // bits.
    ((u128::from(step) + 1) << octave)
        .saturating_sub(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

/// Fails unless the buckets follow each other without gaps, and a quantile is right.
///
/// A benchmark without the test harness has no unit tests. So each trial calls this function.
pub(crate) fn check() -> Result<(), String> {
    for bits in 0..u64::BITS {
        for duration in [1 << bits, (1 << bits) - 1, (3 << bits) >> 1] {
            let (at, last) = (bucket(duration), end(bucket(duration)));
            let is_first = duration == 0 || bucket(duration - 1) <= at;
            if last < duration || last - duration > duration / 32 || bucket(last) != at || !is_first
            {
                return Err(format!(
                    "{duration} ns is in bucket {at}, which ends at {last}"
                ));
            }
        }
    }
    let mut histogram = Histogram::default();
    for duration in 1..=1000 {
        histogram.record(duration * 1000);
    }
    let Quantiles {
        p50,
        p99,
        p999,
        most,
    } = histogram.quantiles();
    let fits = |found: u64, exact: u64| (exact..=exact + exact / 32).contains(&found);
    let is_right = fits(p50, 500_000) && fits(p99, 990_000) && fits(p999, 999_000);
    if is_right && most == 1_000_000 {
        Ok(())
    } else {
        Err(format!(
            "quantiles of 1 to 1000 µs: {:?}",
            histogram.quantiles()
        ))
    }
}
