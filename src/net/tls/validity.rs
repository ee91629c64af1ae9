//! The period in which a certificate is valid, and the description of this period for people.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::OffsetDateTime;

use crate::closed_set::closed_set;

/// The period in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The first moment.
    pub starts: SystemTime,
    /// The last moment.
    pub expires: SystemTime,
}

closed_set! {
    /// The state of a certificate at some time, according to its dates.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub(crate) enum ValidityState {
        /// The certificate is valid for more than [`Validity::SOON`].
        Valid => "valid",
        /// The certificate is valid, but not for longer than [`Validity::SOON`].
        ExpiresSoon => "expires_soon",
        /// The certificate has expired.
        Expired => "expired",
        /// The certificate is not valid yet.
        NotYetValid => "not_yet_valid",
    }
}

/// A date and its distance from `now`: `2024-02-01, 2.8 years ago`.
pub(super) struct Away {
    pub(super) date: SystemTime,
    pub(super) now: SystemTime,
}

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY + DAY / 4;

// === impl Validity ===

impl Validity {
    /// The remaining time below which a certificate should be renewed.
    pub(crate) const SOON: Duration = Duration::from_secs(14 * DAY);

    pub(crate) fn state(&self, now: SystemTime) -> ValidityState {
        if now < self.starts {
            ValidityState::NotYetValid
        } else {
            match self.expires.duration_since(now) {
                Err(_) => ValidityState::Expired,
                Ok(left) if left < Self::SOON => ValidityState::ExpiresSoon,
                Ok(_) => ValidityState::Valid,
            }
        }
    }

    /// Describes the problem that the certificate has at the time `now`, as the end of a sentence: `expired 2024-02-01,
    /// 2.8 years ago`. `None` if there is no problem.
    pub(crate) fn problem(&self, now: SystemTime) -> Option<String> {
        let (words, date) = match self.state(now) {
            ValidityState::Valid => return None,
            ValidityState::ExpiresSoon => ("expires", self.expires),
            ValidityState::Expired => ("expired", self.expires),
            ValidityState::NotYetValid => ("is not valid before", self.starts),
        };
        Some(format!("{words} {}", Away { date, now }))
    }
}

// === impl Away ===

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, now } = *self;
        match day(date) {
            Some(day) => f.write_str(&day)?,
            // A certificate can contain a year that `time` does not support.
            None => f.write_str("in a distant year")?,
        }
        match now.duration_since(date) {
            Ok(past) => write!(f, ", {} ago", length(past)),
            Err(ahead) => write!(f, ", in {}", length(ahead.duration())),
        }
    }
}

/// Returns the day in UTC: `2024-02-01`.
fn day(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(time.date().to_string())
}

/// Returns a length of time in its largest unit.
fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let count = |number: u64, unit: &str| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    match seconds {
        ..HOUR => count(seconds / 60, "minute"),
        HOUR..DAY => count(seconds / HOUR, "hour"),
        DAY..YEAR => count(seconds / DAY, "day"),
        YEAR.. => {
            let tenths = seconds.saturating_mul(10) / YEAR;
            format!("{}.{} years", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// 2026-11-25 12:00 UTC.
    const NOW: u64 = 20_782 * DAY + 12 * HOUR;

    fn problem(starts: u64, expires: u64) -> Option<String> {
        let (starts, expires) = (at(starts), at(expires));
        Validity { starts, expires }.problem(at(NOW))
    }

    #[test]
    fn problems_are_described_with_dates_and_distances() {
        let problem = |starts, expires| problem(starts, expires).expect("a problem");
        insta::assert_snapshot!(problem(0, 1_706_745_600), @"expired 2024-02-01, 2.8 years ago");
        insta::assert_snapshot!(problem(0, NOW - YEAR), @"expired 2025-11-25, 1.0 years ago");
        insta::assert_snapshot!(problem(0, NOW - 40 * DAY), @"expired 2026-10-16, 40 days ago");
        insta::assert_snapshot!(problem(0, NOW - DAY), @"expired 2026-11-24, 1 day ago");
        insta::assert_snapshot!(problem(0, NOW - 1), @"expired 2026-11-25, 0 minutes ago");
        insta::assert_snapshot!(problem(0, NOW + 3 * HOUR), @"expires 2026-11-25, in 3 hours");
        insta::assert_snapshot!(problem(0, NOW + 14 * DAY - 1), @"expires 2026-12-09, in 13 days");
        insta::assert_snapshot!(problem(NOW + 90 * 60, u64::from(u32::MAX)), @"is not valid before 2026-11-25, in 1 hour");
        insta::assert_snapshot!(Away { date: at(1 << 40), now: at(NOW) }, @"in a distant year, in 34784.5 years");
    }

    #[test]
    fn the_state_changes_at_the_exact_second() {
        let state = |starts: u64, expires: u64| {
            let (starts, expires) = (at(starts), at(expires));
            Validity { starts, expires }.state(at(NOW))
        };
        let far = NOW + YEAR;
        assert_eq!(state(NOW, far), ValidityState::Valid);
        assert_eq!(state(NOW + 1, far), ValidityState::NotYetValid);
        assert_eq!(state(0, NOW + 14 * DAY), ValidityState::Valid);
        assert_eq!(state(0, NOW + 14 * DAY - 1), ValidityState::ExpiresSoon);
        assert_eq!(state(0, NOW), ValidityState::ExpiresSoon);
        assert_eq!(state(0, NOW - 1), ValidityState::Expired);
        assert_eq!(problem(NOW, far), None);
    }
}
