//! The delay before the next attempt to connect.

use std::time::Duration;

use tokio::time::Instant;
use tower::util::rng::{HasherRng, Rng};

/// The delays between attempts to connect. Each delay is random, between zero and an upper bound. The bound starts at
/// 50 ms and doubles up to 10 s.
///
/// The bound grows with the age of the outage, not with the number of attempts. It is at most an
/// [eighth](Self::AGE_PER_STEP) of the time since the outage began. So if a collector returns after one second, the
/// next attempt comes within an eighth of a second. In a long outage there is an attempt every five seconds on average.
///
/// The delays are random because many routers can lose the same collector at the same time. They must not all reconnect
/// at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// The start of the outage. `None` if there is no outage.
    began: Option<Instant>,
    rng: HasherRng,
}

// === impl Backoff ===

impl Backoff {
    /// The first upper bound of the delay.
    pub(crate) const MIN: Duration = Duration::from_millis(50);
    /// The greatest upper bound of the delay.
    pub(crate) const MAX: Duration = Duration::from_secs(10);
    /// The upper bound of the delay is at most the age of the outage divided by this number.
    pub(crate) const AGE_PER_STEP: u32 = 8;

    /// Creates a backoff without an outage.
    pub(crate) fn new() -> Self {
        Self {
            began: None,
            rng: HasherRng::new(),
        }
    }

    /// Returns the delay before the next attempt, after an attempt has failed.
    ///
    /// The delay is in whole milliseconds, because people read it in the log. It is at least one millisecond: without a
    /// pause, an attempt that fails immediately would be repeated without end in the same poll of the task.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let step = self.step(Instant::now());
        let delay = step.mul_f64(self.rng.next_f64().clamp(0.0, 1.0));
        let fraction = Duration::from_nanos((delay.subsec_nanos() % 1_000_000).into());
        delay.saturating_sub(fraction).max(Duration::from_millis(1))
    }

    /// Returns the delay before the next attempt, after a failure that only an operator can fix.
    pub(crate) fn longest_delay(&mut self) -> Duration {
        self.began.get_or_insert_with(Instant::now);
        Self::MAX
    }

    /// Ends the outage. The next outage starts with the shortest delays.
    pub(crate) fn reset(&mut self) {
        self.began = None;
    }

    fn step(&mut self, now: Instant) -> Duration {
        let age = now - *self.began.get_or_insert(now);
        let mut step = Self::MIN;
        while step < Self::MAX && step * 2 * Self::AGE_PER_STEP <= age {
            step *= 2;
        }
        step.min(Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_step_doubles_with_the_age_of_the_outage() {
        let mut backoff = Backoff::new();
        let began = Instant::now();
        let mut steps = Vec::new();
        for age in [
            0, 799, 800, 1599, 1600, 12_800, 102_399, 102_400, 10_000_000,
        ] {
            steps.push(backoff.step(began + Duration::from_millis(age)).as_millis());
        }
        assert_eq!(steps, [50, 50, 100, 100, 200, 1600, 6400, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.step(began + Duration::from_hours(9)), Backoff::MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_spread_over_the_whole_step() {
        let mut backoff = Backoff::new();
        backoff.next_delay();
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut delays: Vec<_> = (0..1000).map(|_| backoff.next_delay()).collect();
        delays.sort();
        let least = Duration::from_millis(1)..Duration::from_millis(10);
        assert!(least.contains(&delays[0]), "{:?}", delays[0]);
        assert!(
            delays[999] > Duration::from_millis(90) && delays[999] <= Duration::from_millis(100)
        );
        let fractions = delays
            .iter()
            .filter(|delay| delay.subsec_nanos() % 1_000_000 != 0);
        assert_eq!(fractions.count(), 0);
    }
}
