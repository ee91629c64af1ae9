//! Times, as they are written in JSON and shown on screens.

use std::{
    fmt,
    num::NonZeroU8,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{
    OffsetDateTime,
    format_description::well_known::{
        Iso8601, Rfc3339,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

/// A point in time. It is written as in RFC 3339, in UTC and with milliseconds: `2026-11-22T22:18:40.123Z`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tapfan::health::Timestamp;
///
/// let when = Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_500));
/// assert_eq!(when.to_string(), "1970-01-01T00:00:01.500Z");
/// assert_eq!(serde_json::from_str::<Timestamp>("\"1970-01-01T00:00:01.500Z\"")?, when);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(SystemTime);

/// The format of RFC 3339 with exactly three decimals. With them, times are aligned when they are printed in a column.
/// The format `Rfc3339` of the crate `time` cannot be used, because it omits trailing zeros.
const FORM: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: NonZeroU8::new(3),
    })
    .encode();

// === impl Timestamp ===

impl Timestamp {
    /// Returns the current time by the system clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Returns the time from `earlier` to `self`. If the clock was set back and `earlier` is therefore later than
    /// `self`, returns zero.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.duration_since(earlier.0).unwrap_or_default()
    }

    /// Returns the seconds since 1970, in the form that the metrics of Prometheus use.
    pub fn as_unix_seconds(self) -> f64 {
        self.since_epoch().as_secs_f64()
    }

    fn since_epoch(self) -> Duration {
        // A time before 1970 means that the clock is wrong. Such a time counts as 1970.
        self.0.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(0));
        Self(UNIX_EPOCH.checked_add(millis).unwrap_or(UNIX_EPOCH))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::try_from(self.since_epoch().as_nanos()).unwrap_or(0);
        // RFC 3339 has no years after 9999, but a certificate may contain such a year.
        let text = OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|time| time.format(&Iso8601::<FORM>).ok());
        f.pad(text.as_deref().unwrap_or("9999-12-31T23:59:59.999Z"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)?;
        let nanos = u64::try_from(time.unix_timestamp_nanos())
            .map_err(|_| de::Error::custom("a time before 1970 or after 2554"))?;
        Ok((UNIX_EPOCH + Duration::from_nanos(nanos)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip() {
        for millis in [0, 1, 951_827_696_789, 4_102_444_800_000] {
            let when = Timestamp::from(UNIX_EPOCH + Duration::from_millis(millis));
            let text = serde_json::to_string(&when).expect("text");
            assert_eq!(
                serde_json::from_str::<Timestamp>(&text).expect("a time"),
                when,
                "{text}"
            );
        }
        let leap = Timestamp::from(UNIX_EPOCH + Duration::from_millis(951_827_696_789));
        assert_eq!(leap.to_string(), "2000-02-29T12:34:56.789Z");
    }

    #[test]
    fn times_out_of_range_are_clamped_or_refused() {
        let beyond = Timestamp::from(UNIX_EPOCH + Duration::from_hours(24 * 366 * 9000));
        assert_eq!(beyond.to_string(), "9999-12-31T23:59:59.999Z");
        let before = Timestamp::from(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(before.to_string(), "1970-01-01T00:00:00.000Z");
        assert!(serde_json::from_str::<Timestamp>("\"1969-01-01T00:00:00Z\"").is_err());
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_gives_zero() {
        let (early, late) = (
            Timestamp::from(UNIX_EPOCH),
            Timestamp::from(UNIX_EPOCH + Duration::from_secs(3)),
        );
        assert_eq!(late.since(early), Duration::from_secs(3));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
