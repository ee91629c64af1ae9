//! Times as text.

use ::time::OffsetDateTime;
use jiff::{Timestamp, tz::TimeZone};

use super::digits;
use crate::dnstap::Moment;

/// Writes times of day in the local time zone. The environment variable `TZ` sets the zone. If `TZ` is not set,
/// `/etc/localtime` does.
#[derive(Debug, Clone)]
pub(crate) struct LocalClock {
    zone: TimeZone,
    /// The quarter of an hour in which the last written time was, and the offset of the zone from UTC at that time, in
    /// seconds. Other times in the same quarter have the same offset, because no zone changes its offset within a
    /// quarter of an hour.
    last: Option<(i64, i64)>,
}

/// The number of seconds in a quarter of an hour.
const QUARTER: i64 = 900;

/// The parts of a time.
#[derive(Debug, Clone, Copy)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Text(&'static str),
}

use Part::{Day, Hour, Minute, Month, Second, Text, Year};

// === impl LocalClock ===

impl LocalClock {
    /// Reads the local time zone.
    pub(crate) fn local() -> Self {
        Self::of(TimeZone::system())
    }

    /// Writes times in UTC.
    pub(super) fn utc() -> Self {
        Self::of(TimeZone::UTC)
    }

    fn of(zone: TimeZone) -> Self {
        Self { zone, last: None }
    }

    /// Appends the time of day, such as `15:04:05`. `seconds` is the time since 1970.
    pub(super) fn write(&mut self, seconds: u64, out: &mut Vec<u8>) {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let local = seconds.saturating_add(self.offset(seconds));
        let of_day = local.rem_euclid(86_400).unsigned_abs();
        digits::padded(of_day / 3600, 2, out);
        out.push(b':');
        digits::padded(of_day / 60 % 60, 2, out);
        out.push(b':');
        digits::padded(of_day % 60, 2, out);
    }

    fn offset(&mut self, seconds: i64) -> i64 {
        let quarter = seconds.div_euclid(QUARTER);
        match self.last {
            Some((known, offset)) if known == quarter => offset,
            _ => {
                let timestamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
                let offset = self.zone.to_offset(timestamp).seconds().into();
                self.last = Some((quarter, offset));
                offset
            }
        }
    }
}

/// Appends the time in UTC, in the format `20060102150405`.
pub(super) fn write_digits(seconds: u64, out: &mut Vec<u8>) {
    write(seconds, &[Year, Month, Day, Hour, Minute, Second], out);
}

/// Appends the time in UTC, in the format `2006-01-02 15:04:05.999999999`, without trailing zeros.
pub(super) fn write_spaced(moment: Moment, out: &mut Vec<u8>) {
    write_moment(moment, " ", "", out);
}

/// Appends the time in UTC, in the format `2006-01-02T15:04:05.999999999Z`, without trailing zeros in the seconds.
pub(crate) fn write_rfc3339(moment: Moment, out: &mut Vec<u8>) {
    write_moment(moment, "T", "Z", out);
}

/// Appends a time. If a part of `moment` is missing, appends nothing.
fn write_moment(moment: Moment, between: &'static str, after: &str, out: &mut Vec<u8>) {
    let Some((seconds, nanoseconds)) = moment.normal() else {
        return;
    };
    let date = [Year, Text("-"), Month, Text("-"), Day, Text(between)];
    let time = [Hour, Text(":"), Minute, Text(":"), Second];
    if !write(seconds, &date, out) {
        return;
    }
    write(seconds, &time, out);
    if nanoseconds > 0 {
        out.push(b'.');
        digits::padded(nanoseconds.into(), 9, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.extend_from_slice(after.as_bytes());
}

/// Appends the given parts of a time. For a time after the year 9999, appends `@` and the seconds since 1970, and
/// returns false.
fn write(seconds: u64, parts: &[Part], out: &mut Vec<u8>) -> bool {
    let signed = i64::try_from(seconds).unwrap_or(i64::MAX);
    let Ok(time) = OffsetDateTime::from_unix_timestamp(signed) else {
        out.push(b'@');
        digits::number(seconds, out);
        return false;
    };
    for part in parts {
        match part {
            Text(text) => out.extend_from_slice(text.as_bytes()),
            Year => digits::padded(time.year().unsigned_abs().into(), 4, out),
            Month => digits::padded(u8::from(time.month()).into(), 2, out),
            Day => digits::padded(time.day().into(), 2, out),
            Hour => digits::padded(time.hour().into(), 2, out),
            Minute => digits::padded(time.minute().into(), 2, out),
            Second => digits::padded(time.second().into(), 2, out),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64, nanoseconds: u32) -> Moment {
        Moment {
            seconds: Some(seconds),
            nanoseconds: Some(nanoseconds),
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn times_are_written_without_trailing_zeros() {
        for (time, expected) in [
            (
                moment(1_795_370_000, 50_456_437),
                "2026-11-22T17:53:20.050456437Z",
            ),
            (moment(1_795_370_000, 500_000_000), "2026-11-22T17:53:20.5Z"),
            (moment(0, 0), "1970-01-01T00:00:00Z"),
            // Some senders write a whole second or more in the field for nanoseconds.
            (moment(0, 1_000_000_001), "1970-01-01T00:00:01.000000001Z"),
            (moment(1 << 40, 5), "@1099511627776"),
            (moment(u64::MAX, u32::MAX), "@18446744073709551615"),
            (Moment::default(), ""),
        ] {
            assert_eq!(written(|out| write_rfc3339(time, out)), expected);
        }
        let spaced = written(|out| write_spaced(moment(0, 10), out));
        assert_eq!(spaced, "1970-01-01 00:00:00.00000001");
        let digits = written(|out| write_digits(1_795_370_000, out));
        assert_eq!(digits, "20261122175320");
    }

    #[test]
    fn the_local_time_of_day_follows_the_zone() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let mut clock = LocalClock::of(berlin);
        for (seconds, expected) in [
            (1_795_370_000, "18:53:20"),
            (1_795_370_001, "18:53:21"),
            // At this time, summer time ends in the time zone of the test.
            (1_792_889_999, "02:59:59"),
            (1_792_890_000, "02:00:00"),
            (u64::MAX, "15:30:07"),
        ] {
            let text = written(|out| clock.write(seconds, out));
            assert_eq!(text, expected, "{seconds}");
        }
    }
}
