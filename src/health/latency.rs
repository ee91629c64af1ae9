//! The latency of frames. For each frame, it begins when the frame is read from the sender, and ends when the frame is
//! written to the collector.

use std::time::Duration;

/// A histogram of the latency of frames. The latency of a frame begins when it has been read from its sender, and ends
/// when it has been written to the collector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

// === impl Latency ===

impl Latency {
    /// The upper bounds of all buckets except the last one, which has no upper bound.
    pub const BOUNDS: [Duration; 14] = [
        Duration::from_micros(50),
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(2),
        Duration::from_secs(10),
        Duration::from_secs(60),
    ];

    /// Returns the number of frames in each bucket, without those in lower buckets. The last bucket counts the frames
    /// above the highest bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the sum of the latencies of all frames.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub(crate) fn record(&mut self, took: Duration, frames: u32) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < took);
        self.counts[bucket] += u64::from(frames);
        self.sum = self.sum.saturating_add(took.saturating_mul(frames));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut latency = Latency::default();
        latency.record(Duration::ZERO, 1);
        latency.record(Duration::from_micros(50), 2);
        latency.record(Duration::from_nanos(50_001), 4);
        latency.record(Duration::from_secs(61), 8);
        assert_eq!(latency.counts()[..2], [3, 4]);
        assert_eq!(latency.counts().last(), Some(&8));
        assert_eq!(
            latency.sum(),
            Duration::from_nanos(100_000 + 200_004) + Duration::from_secs(488)
        );
    }
}
