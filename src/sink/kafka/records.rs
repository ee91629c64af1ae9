//! The records of frames.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::{
    config::RecordKey,
    dnstap::{RawFrame, moment},
    frame_stream::Chunk,
    kafka::{Headers, Producer, Record},
};

/// Returns the headers of the records of the sink with this name.
pub(super) fn headers(sink: &str) -> Headers {
    Headers::new(&[
        ("content-type", "protobuf:dnstap.Dnstap"),
        ("tapfan-sink", sink),
    ])
}

/// Appends a record for each frame of the chunks. `ticket` identifies the frames in outcomes. Calls `wake` for each
/// leader that has a new or a full batch.
pub(super) fn append(
    producer: &mut Producer,
    chunks: &[Chunk],
    key: RecordKey,
    ticket: u64,
    mut wake: impl FnMut(i32),
) {
    let (now, time) = (Instant::now(), since_1970());
    let mut place = 0;
    for chunk in chunks {
        let received = time.saturating_sub(chunk.received().elapsed());
        for frame in chunk.frames() {
            let moment = moment(frame).ok().flatten();
            let record = Record {
                timestamp: milliseconds(moment.unwrap_or(received)),
                key: key_of(frame, key),
                value: frame,
            };
            if let Some(leader) = producer.append(&record, (ticket, place), now) {
                wake(leader);
            }
            place += 1;
        }
    }
}

fn key_of(frame: &[u8], key: RecordKey) -> Option<&[u8]> {
    match key {
        RecordKey::None => None,
        RecordKey::Identity => RawFrame::of_valid(frame).identity,
        RecordKey::Client => RawFrame::of_valid(frame).message?.query_address,
    }
}

fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

fn milliseconds(moment: Duration) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}
