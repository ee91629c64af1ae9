//! The records of frames.

use std::time::{Duration, Instant, SystemTime};

use crate::{
    config::RecordKey,
    dnstap::{RawFrame, moment},
    kafka::{Headers, Record},
};

/// The time at which records are made, on two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    clock: Instant,
    since_1970: Duration,
}

/// The longest time by which the time in a frame may be ahead of this machine's clock. A record gets no later timestamp.
///
/// Since Kafka 4.0, brokers refuse a record that is more than an hour ahead of their clock (`message.timestamp.after.max.ms`,
/// KIP-1030). All frames of a DNS server with a wrong clock would be lost. A timestamp far in the future would also keep a
/// segment of the topic for as long.
const AHEAD_AT_MOST: Duration = Duration::from_secs(60);

// === impl Now ===

impl Now {
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            clock: Instant::now(),
            since_1970: since.unwrap_or_default(),
        }
    }

    /// Returns the timestamp of a frame that tapfan has received at this time.
    fn timestamp(self, frame: &[u8], received: Instant) -> i64 {
        let latest = self.since_1970.saturating_add(AHEAD_AT_MOST);
        let moment = moment(frame).ok().flatten();
        let moment = moment.filter(|moment| *moment <= latest);
        milliseconds(moment.unwrap_or_else(|| {
            let age = self.clock.saturating_duration_since(received);
            self.since_1970.saturating_sub(age)
        }))
    }
}

/// Returns the headers of the records of the sink with this name.
pub(super) fn headers(sink: &str) -> Headers {
    Headers::new(&[
        ("content-type", "protobuf:dnstap.Dnstap"),
        ("tapfan-sink", sink),
    ])
}

/// Returns the record of a frame that tapfan has received at this time.
pub(super) fn of(frame: &[u8], received: Instant, key: RecordKey, now: Now) -> Record<'_> {
    Record {
        timestamp: now.timestamp(frame, received),
        key: key_of(frame, key),
        value: frame,
    }
}

fn key_of(frame: &[u8], key: RecordKey) -> Option<&[u8]> {
    match key {
        RecordKey::None => None,
        RecordKey::Identity => RawFrame::of_valid(frame).identity,
        RecordKey::Client => RawFrame::of_valid(frame).message?.query_address,
    }
}

fn milliseconds(moment: Duration) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame with this time of the query.
    fn frame(seconds: u64) -> Vec<u8> {
        let mut message = vec![0x08, 0x05, 0x40];
        let mut rest = seconds;
        while rest >= 0x80 {
            message.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
            rest >>= 7;
        }
        message.push(u8::try_from(rest).expect("seven bits"));
        let length = u8::try_from(message.len()).expect("short");
        [&[0x72, length][..], &message, b"\x78\x01"].concat()
    }

    #[test]
    fn a_record_has_the_time_of_its_frame_unless_that_is_ahead_of_the_clock() {
        let clock = Instant::now();
        let now = Now {
            clock: clock + Duration::from_secs(3),
            since_1970: Duration::from_secs(1_800_000_000),
        };
        let timestamp = |frame: &[u8]| of(frame, clock, RecordKey::None, now).timestamp;
        // Frames of long ago keep their time.
        assert_eq!(timestamp(&frame(5)), 5000);
        assert_eq!(timestamp(&frame(1_800_000_000)), 1_800_000_000_000);
        assert_eq!(timestamp(&frame(1_800_000_060)), 1_800_000_060_000);
        // The others, and frames without a time, get the time at which they were received.
        for ahead in [frame(1_800_000_061), frame(u64::MAX), b"\x78\x01".to_vec()] {
            assert_eq!(timestamp(&ahead), 1_799_999_997_000);
        }
    }
}
