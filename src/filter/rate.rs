//! A limit on the frames per second.

use std::{
    num::NonZeroU32,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::lock::Mutex;

/// A limit on the frames per second: a token bucket. The bucket is full at first, and has room for the frames of one
/// second, so a burst of this size passes after a pause.
#[derive(Debug)]
pub struct RateLimit {
    rate: NonZeroU32,
    bucket: Arc<Mutex<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// The tokens for frames, in billionths. A bucket gets `rate` billionths in each nanosecond, so no token is lost by
    /// rounding.
    level: u64,
    /// The time of the last refill of the bucket; `None` before the first frame.
    filled: Option<Instant>,
}

/// The error for a text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate: write `50000/s` for 50,000 frames in a second")]
pub struct BadRate(String);

/// A whole token, in billionths.
const TOKEN: u64 = 1_000_000_000;

// === impl RateLimit ===

impl RateLimit {
    /// Creates a limit of `rate` frames per second.
    pub fn new(rate: NonZeroU32) -> Self {
        let bucket = Bucket {
            level: u64::from(rate.get()) * TOKEN,
            filled: None,
        };
        Self {
            rate,
            bucket: Arc::new(Mutex::new(bucket)),
        }
    }

    /// Returns the limit, in frames per second.
    pub(crate) fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    /// Uses the bucket of a limit that this limit replaces, so that the replacement allows no second burst. Does nothing
    /// if the two rates differ.
    pub(crate) fn continue_from(&mut self, replaced: &Self) {
        if self.rate == replaced.rate {
            self.bucket = Arc::clone(&replaced.bucket);
        }
    }

    /// Takes a token for each of up to `frames` frames. Returns the number of tokens that were there.
    pub(super) fn take(&self, frames: u64, now: Instant) -> u64 {
        let rate = u64::from(self.rate.get());
        let mut bucket = self.bucket.lock();
        // Another thread may have used a later time.
        let passed = bucket.filled.map_or(Duration::ZERO, |filled| {
            now.saturating_duration_since(filled)
        });
        bucket.filled = bucket.filled.max(Some(now));
        // After a second, the bucket is full. So neither the product nor the sum overflows.
        let nanoseconds = u64::try_from(passed.as_nanos()).unwrap_or(TOKEN).min(TOKEN);
        bucket.level = (bucket.level + nanoseconds * rate).min(rate * TOKEN);
        let taken = frames.min(bucket.level / TOKEN);
        bucket.level -= taken * TOKEN;
        taken
    }
}

impl Clone for RateLimit {
    /// Creates a limit with the same rate and a full bucket.
    fn clone(&self) -> Self {
        Self::new(self.rate)
    }
}

impl FromStr for RateLimit {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let rate = text.strip_suffix("/s");
        let rate = rate.filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        let rate = rate.and_then(|it| it.parse().ok());
        rate.map(Self::new).ok_or_else(|| BadRate(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate() {
        let limit: RateLimit = "1000/s".parse().expect("a rate");
        let start = Instant::now();
        let take = |frames, after| limit.take(frames, start + Duration::from_micros(after));
        assert_eq!(take(600, 0), 600);
        assert_eq!(take(600, 0), 400);
        assert_eq!(take(600, 999), 0);
        assert_eq!(take(600, 1000), 1);
        assert_eq!(take(600, 11_500), 10);
        // Half a token is left from above.
        assert_eq!(take(600, 12_000), 1);
        // A time before the last one adds nothing.
        assert_eq!(take(600, 5_000), 0);
        assert_eq!(take(600, 13_000), 1);
        assert_eq!(take(5000, 3_600_000_000), 1000);
    }

    #[test]
    fn over_many_seconds_the_rate_is_exact() {
        let limit: RateLimit = "7/s".parse().expect("a rate");
        let start = Instant::now();
        let steps =
            (0..1_000_000).map(|step| limit.take(3, start + Duration::from_micros(step * 100)));
        assert_eq!(steps.sum::<u64>(), 7 + 99 * 7 + 6);
    }

    #[test]
    fn the_largest_rate_does_not_overflow() {
        let limit: RateLimit = "4294967295/s".parse().expect("a rate");
        let start = Instant::now();
        assert_eq!(limit.take(u64::MAX, start), u64::from(u32::MAX));
        let later = start + Duration::from_secs(u64::from(u32::MAX));
        assert_eq!(limit.take(u64::MAX, later), u64::from(u32::MAX));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "5",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "5/m",
            "4294967296/s",
        ] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
    }
}
