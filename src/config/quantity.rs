//! Numbers with and without units: counts, sizes and times.

use std::{fmt, ops::RangeInclusive, time::Duration};

/// A size in bytes, shown as in a Tapfile: `64MiB`, `1500`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A time, shown as in a Tapfile: `10s`, `1m30s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

/// The error for a text that is not the required quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuantityError {
    #[error("{0} is not a whole number")]
    NotANumber(String),
    #[error("{0} is not a size")]
    NotASize(String),
    #[error("{0} is not a time")]
    NotATime(String),
    #[error("{0} has no unit")]
    NoUnit(String),
    #[error("{value} is not between {low} and {high}")]
    OutOfBounds {
        value: String,
        low: String,
        high: String,
    },
}

/// Units of size, largest first.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Units of time in milliseconds, largest first.
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a whole number within bounds.
pub(crate) fn number(text: &str, bounds: &RangeInclusive<u64>) -> Result<u64, QuantityError> {
    let shown = quoted(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_digits(digits) {
        return Err(QuantityError::NotANumber(shown));
    }
    // The text consists of digits, so parsing fails only if the number is too large.
    let value = digits.parse().unwrap_or(u64::MAX);
    let negative = text.starts_with('-') && value > 0;
    within((!negative).then_some(value), bounds, shown, u64::to_string)
}

/// Reads a size: bytes, or a number of `KiB`, `MiB` or `GiB`.
pub(crate) fn size(text: &str, bounds: &RangeInclusive<u64>) -> Result<u64, QuantityError> {
    let shown = quoted(text);
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let mut units = SIZES.iter().chain([&("", 1)]);
    let factor = units.find(|(name, _)| *name == unit);
    let (Some((_, factor)), true) = (factor, is_digits(digits)) else {
        return Err(QuantityError::NotASize(shown));
    };
    let value = digits
        .parse::<u64>()
        .ok()
        .and_then(|value| value.checked_mul(*factor))
        .unwrap_or(u64::MAX);
    within(Some(value), bounds, shown, |size| Size(*size).to_string())
}

/// Reads a time: numbers with the units `h`, `m`, `s` and `ms`, largest first.
pub(crate) fn time(
    text: &str,
    bounds: &RangeInclusive<Duration>,
) -> Result<Duration, QuantityError> {
    let shown = quoted(text);
    if is_digits(text) {
        return Err(QuantityError::NoUnit(shown));
    }
    let Some(value) = milliseconds(text) else {
        return Err(QuantityError::NotATime(shown));
    };
    let value = Duration::from_millis(value);
    within(Some(value), bounds, shown, |time| Time(*time).to_string())
}

/// Returns the value if it is within the bounds. If it is not, returns an error that contains the text `shown`.
fn within<T: PartialOrd>(
    value: Option<T>,
    bounds: &RangeInclusive<T>,
    shown: String,
    show: impl Fn(&T) -> String,
) -> Result<T, QuantityError> {
    value
        .filter(|value| bounds.contains(value))
        .ok_or_else(|| QuantityError::OutOfBounds {
            value: shown,
            low: show(bounds.start()),
            high: show(bounds.end()),
        })
}

/// Returns the sum of the parts of a time such as `1m30s`, in milliseconds. If the time is too large, returns
/// `u64::MAX`, which is always out of bounds.
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    let mut units = TIMES.iter();
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.strip_suffix(after)?;
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        // The iterator `units` continues after the unit of the previous part. So each unit can occur only once, and
        // larger units must come first.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        if digits.is_empty() {
            return None;
        }
        let part = digits.parse().unwrap_or(u64::MAX).saturating_mul(*factor);
        sum = sum.saturating_add(part);
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn quoted(text: &str) -> String {
    format!("`{}`", super::diagnostics::shown(text))
}

// === impl QuantityError ===

impl QuantityError {
    /// Returns advice on what to write.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotANumber(_) => "write digits only",
            Self::NotASize(_) => {
                "write bytes, as in `4096`, or a unit, as in `64KiB`, `8MiB`, `1GiB`"
            }
            Self::NotATime(_) => {
                "write numbers with the units `h`, `m`, `s` and `ms`, as in `500ms`, `10s`, `1m30s`"
            }
            Self::NoUnit(_) => "add the unit, as in `10s` or `500ms`",
            // The message contains the bounds already.
            Self::OutOfBounds { .. } => return None,
        })
    }
}

// === impl Size ===

impl Size {
    pub(crate) fn of(bytes: usize) -> Self {
        Self(bytes as u64)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZES
            .iter()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor))
        {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

// === impl Time ===

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in TIMES {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: RangeInclusive<u64> = 0..=u64::MAX;
    const EVER: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        for (text, bytes) in [
            ("4096", 4096),
            ("0", 0),
            ("1KiB", 1024),
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("007KiB", 7 << 10),
        ] {
            assert_eq!(size(text, &ANY), Ok(bytes), "{text}");
        }
        for text in [
            "", "MiB", "64MB", "64M", "64mib", "1.5MiB", "-1", "64 MiB", "MiB64", "1KiB1",
        ] {
            assert!(
                matches!(size(text, &ANY), Err(QuantityError::NotASize(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn times_have_units_in_their_order() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h1m1s1ms", 3_661_001),
            ("0s", 0),
            ("90s", 90_000),
        ] {
            assert_eq!(
                time(text, &EVER),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "", "s", "10S", "1.5s", "30s1m", "1s1s", "10 s", "-1s", "10sec", "1m30",
        ] {
            assert!(
                matches!(time(text, &EVER), Err(QuantityError::NotATime(_))),
                "{text}"
            );
        }
        assert_eq!(time("10", &EVER), Err(QuantityError::NoUnit("`10`".into())));
    }

    #[test]
    fn bounds_are_inclusive() {
        for (text, value) in [("1", 1), ("9", 9), ("+007", 7)] {
            assert_eq!(number(text, &(1..=9)), Ok(value), "{text}");
        }
        for text in ["0", "10", "-1", "-0", "99999999999999999999999"] {
            let error = number(text, &(1..=9)).expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("`{text}` is not between 1 and 9")
            );
        }
        for text in [
            "1023",
            "3KiB",
            "99999999999999999999999GiB",
            "99999999999GiB",
        ] {
            let error = size(text, &(1024..=2048)).expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("`{text}` is not between 1KiB and 2KiB")
            );
        }
        let bounds = Duration::from_millis(100)..=Duration::from_mins(10);
        for text in ["99ms", "10m1ms", "99999999999999999999h"] {
            let error = time(text, &bounds).expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("`{text}` is not between 100ms and 10m")
            );
        }
        for text in ["", "+", "x", "1x", "1.0", "0x1", "１"] {
            assert!(
                matches!(number(text, &ANY), Err(QuantityError::NotANumber(_))),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_shown_quantity_reads_the_same(bytes in 0..1_u64 << 50, milliseconds in 0..1_u64 << 40) {
            prop_assert_eq!(size(&Size(bytes).to_string(), &ANY), Ok(bytes));
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(time(&Time(duration).to_string(), &EVER), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in r"([0-9]{1,24}|[a-zA-Z+-]|\PC){0,6}") {
            let _ = (size(&text, &ANY), time(&text, &EVER), number(&text, &ANY));
        }
    }
}
