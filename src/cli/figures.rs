//! Short forms of numbers, times and sizes.

use std::time::Duration;

use crate::health::Timestamp;

const COUNTS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
const BYTES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Formats a count in at most five characters: `999`, `1.2k`, `19.8k`, `198k`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn count(number: u64) -> String {
    scaled(number as f64, 1000.0, &COUNTS)
}

/// Formats a rate in at most five characters: like [`count`], but with one decimal below 10.
pub(super) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 {
        let text = format!("{per_second:.1}");
        // A small rate must not look like 0.
        return if text == "0.0" {
            "<0.1".to_owned()
        } else {
            text
        };
    }
    scaled(per_second, 1000.0, &COUNTS)
}

/// Formats a number of bytes: `512B`, `1.2MiB`.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &BYTES)
}

/// Formats a time in its two largest units: `12s`, `3m12s`, `3h12m`, `2d4h`.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{}s", seconds % 60),
        3600..86_400 => format!("{hours}h{}m", minutes % 60),
        86_400..8_640_000 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// Formats the time of day in UTC: `12:00:00 UTC`. The date comes before it, unless it is the date of `now`.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_string(), now.to_string());
    let (date, time) = at.split_once('T').unwrap_or(("", &at));
    let time = time.get(..8).unwrap_or(time);
    if now.starts_with(date) {
        format!("{time} UTC")
    } else {
        format!("{date} {time} UTC")
    }
}

/// Formats a short time in one unit: `120µs`, `1.2ms`, `12ms`, `3.4s`.
pub(super) fn latency(seconds: f64) -> String {
    let (value, unit) = match seconds {
        _ if seconds < 0.000_999_5 => (seconds * 1e6, "µs"),
        _ if seconds < 0.9995 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    if value < 9.95 && unit != "µs" {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// Formats a share in whole percent, rounded down. A share below 1 % is shown as `<1%`. Only an exact 0 gives `0%`, and
/// only an exact 1 gives `100%`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn percent(share: f64) -> String {
    match share {
        _ if share <= 0.0 => "0%".to_owned(),
        _ if share < 0.01 => "<1%".to_owned(),
        _ => format!("{}%", (share.min(1.0) * 100.0).floor() as u8),
    }
}

fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    let mut value = number;
    let mut units = units.iter();
    let smallest = units.next().copied().unwrap_or_default();
    let mut unit = smallest;
    // A value that rounds to 1000 or more is shown in the next larger unit.
    while value.round() >= 1000.0 {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    if unit == smallest || value >= 99.95 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_at_most_three_digits_and_a_unit() {
        for (number, shown) in [
            (0, "0"),
            (7, "7"),
            (999, "999"),
            (1000, "1.0k"),
            (1234, "1.2k"),
            (19_849, "19.8k"),
            (99_949, "99.9k"),
            (99_951, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (12_345_678_901, "12.3G"),
        ] {
            assert_eq!(count(number), shown, "{number}");
        }
        for (number, shown) in [
            (0.0, "0"),
            (0.01, "<0.1"),
            (0.5, "0.5"),
            (9.94, "9.9"),
            (9.96, "10"),
            (19_800.0, "19.8k"),
        ] {
            assert_eq!(rate(number), shown, "{number}");
        }
        for (number, shown) in [
            (0.0, "0B"),
            (512.0, "512B"),
            (1010.0, "1.0KiB"),
            (1024.0, "1.0KiB"),
            (1_258_291.0, "1.2MiB"),
            (104_857_600.0, "100MiB"),
        ] {
            assert_eq!(bytes(number), shown, "{number}");
        }
    }

    #[test]
    fn times_show_their_two_largest_units() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3599, "59m59s"),
            (3600, "1h0m"),
            (86_399, "23h59m"),
            (86_400, "1d0h"),
            (8_640_000, "100d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), shown);
        }
        for (seconds, shown) in [
            (0.0, "0µs"),
            (0.000_12, "120µs"),
            (0.0012, "1.2ms"),
            (0.012, "12ms"),
            (0.9996, "1.0s"),
            (34.0, "34s"),
        ] {
            assert_eq!(latency(seconds), shown);
        }
    }

    #[test]
    fn only_exact_shares_show_as_0_or_100_percent() {
        for (share, shown) in [
            (0.0, "0%"),
            (0.001, "<1%"),
            (0.01, "1%"),
            (0.999, "99%"),
            (1.0, "100%"),
            (1.2, "100%"),
        ] {
            assert_eq!(percent(share), shown);
        }
    }

    proptest! {
        #[test]
        fn a_count_has_at_most_five_characters(number in 0..999_000_000_000_000_000_u64) {
            prop_assert!(count(number).len() <= 5, "{}", count(number));
        }

        #[test]
        fn a_rate_has_at_most_five_characters(number in 0.0..1e17) {
            prop_assert!(rate(number).len() <= 5, "{}", rate(number));
        }
    }
}
