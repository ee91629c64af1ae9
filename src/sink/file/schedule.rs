//! The times at which files begin and end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// The period of time for which one file receives frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// The time that is in the name of the file.
    pub(super) named: OffsetDateTime,
    /// The time until the next file begins. `None` if files are not rotated by time.
    pub(super) left: Option<Duration>,
}

// === impl Slot ===

impl Slot {
    /// Returns the period of a file that begins at `now`. Periods end at multiples of `rotate` since 1970, in UTC.
    ///
    /// If the file begins just before the end of a period, it belongs to the next period. The reason: while the system
    /// clock is slewed, the timer for the end of a period runs too fast by up to 1/2000. The next file then begins a
    /// little before its period. Without this rule, that file would get the same name as the previous file.
    pub(super) fn at(now: SystemTime, rotate: Option<Duration>) -> Self {
        // A time before 1970 means that the clock is wrong.
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let Some(rotate) = rotate.filter(|rotate| !rotate.is_zero()) else {
            return Self {
                named: date(now),
                left: None,
            };
        };
        let past = now.as_nanos() % rotate.as_nanos();
        let past = Duration::from_nanos(u64::try_from(past).unwrap_or_default());
        let left = rotate.saturating_sub(past);
        if left > rotate / 1000 {
            return Self {
                named: date(now),
                left: Some(left),
            };
        }
        Self {
            named: date(now + left),
            left: Some(left + rotate),
        }
    }
}

fn date(since_epoch: Duration) -> OffsetDateTime {
    // A time after the year 9999 means that the clock is wrong.
    i64::try_from(since_epoch.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn slot(milliseconds: u64, rotate: Duration) -> (i64, u128) {
        let now = UNIX_EPOCH + Duration::from_millis(milliseconds);
        let slot = Slot::at(now, Some(rotate));
        let left = slot.left.expect("an end");
        (slot.named.unix_timestamp(), left.as_millis())
    }

    #[test]
    fn a_slot_ends_at_a_multiple_of_its_length() {
        assert_eq!(slot(7_200_000, HOUR), (7200, 3_600_000));
        assert_eq!(slot(7_200_001, HOUR), (7200, 3_599_999));
        assert_eq!(slot(10_000_000, HOUR), (10_000, 800_000));
        let none = Slot::at(UNIX_EPOCH + HOUR, None);
        assert_eq!((none.named.unix_timestamp(), none.left), (3600, None));
    }

    #[test]
    fn a_timer_that_ends_a_little_early_begins_the_next_slot() {
        assert_eq!(slot(10_796_000, HOUR), (10_796, 4000));
        assert_eq!(slot(10_796_400, HOUR), (10_800, 3_603_600));
        assert_eq!(slot(10_799_999, HOUR), (10_800, 3_600_001));
        assert_eq!(slot(4_999, Duration::from_secs(1)), (5, 1001));
    }

    #[test]
    fn no_clock_panics() {
        let far = Duration::from_secs(u64::MAX >> 2);
        for now in [
            UNIX_EPOCH - HOUR,
            UNIX_EPOCH,
            UNIX_EPOCH.checked_add(far).unwrap_or(UNIX_EPOCH),
        ] {
            for rotate in [None, Some(Duration::ZERO), Some(HOUR)] {
                Slot::at(now, rotate);
            }
        }
    }
}
