//! Functions that read the times of a frame, and set them in place.

use std::{ops::Range, time::Duration};

use super::{malformed::Malformed, schema, varint::number, wire::Fields};

/// The byte ranges of the query time and the response time in a frame. Each time has one range for its seconds and one
/// for its nanoseconds.
#[derive(Debug, Default)]
struct Places {
    query: [Option<Range<usize>>; 2],
    response: [Option<Range<usize>>; 2],
}

/// Returns the time of the frame, counted from 1970. It is the time of the response or, if that is missing, of the
/// query. `None` if the frame has neither.
///
/// # Errors
/// If the frame is malformed.
pub(crate) fn moment(frame: &[u8]) -> Result<Option<Duration>, Malformed> {
    let places = Places::find(frame)?;
    let times = [&places.response, &places.query];
    Ok(times.into_iter().find_map(|place| read(frame, place)))
}

/// Sets the time that [`moment`] returns to `now`, counted from 1970. If the frame has both a query time and a response
/// time, the query time is set so that the duration between them stays the same. The length of the frame and all other
/// bytes stay the same.
///
/// Returns false if the frame has no time, or if the new time needs more bytes than the old one has.
///
/// # Errors
/// If the frame is malformed.
pub(crate) fn set_moment(frame: &mut [u8], now: Duration) -> Result<bool, Malformed> {
    let Places { query, response } = Places::find(frame)?;
    let (asked, answered) = (read(frame, &query), read(frame, &response));
    let between = match (asked, answered) {
        (Some(asked), Some(answered)) => answered.saturating_sub(asked),
        (None, None) => return Ok(false),
        _ => Duration::ZERO,
    };
    let fits = |place: &[Option<Range<usize>>; 2], time: Option<Duration>, new: Duration| {
        time.is_none()
            || place[0]
                .as_ref()
                .is_some_and(|place| place.len() * 7 >= bits(new.as_secs()))
    };
    let before = now.saturating_sub(between);
    if !fits(&query, asked, before) || !fits(&response, answered, now) {
        return Ok(false);
    }
    if asked.is_some() {
        write(frame, &query, before);
    }
    if answered.is_some() {
        write(frame, &response, now);
    }
    Ok(true)
}

// === impl Places ===

impl Places {
    /// Finds the last value of each time field, because protobuf ignores the earlier values.
    fn find(frame: &[u8]) -> Result<Self, Malformed> {
        let mut places = Self::default();
        for field in Fields::new(frame) {
            let field = field?;
            schema::DNSTAP_FIELDS.check(&field)?;
            if field.number != schema::MESSAGE {
                continue;
            }
            for field in field.fields() {
                let field = field?;
                schema::MESSAGE_FIELDS.check(&field)?;
                let place = match field.number {
                    schema::QUERY_TIME_SEC => &mut places.query[0],
                    schema::QUERY_TIME_NSEC => &mut places.query[1],
                    schema::RESPONSE_TIME_SEC => &mut places.response[0],
                    schema::RESPONSE_TIME_NSEC => &mut places.response[1],
                    _ => continue,
                };
                // The value begins directly after the tag, because varints and fixed values have no length.
                *place = Some(field.range.start + field.tag..field.range.end);
            }
        }
        Ok(places)
    }
}

fn read(frame: &[u8], [seconds, nanos]: &[Option<Range<usize>>; 2]) -> Option<Duration> {
    let seconds = number(frame.get(seconds.clone()?)?);
    let nanos = nanos
        .clone()
        .and_then(|place| frame.get(place)?.first_chunk());
    let nanos = nanos.map_or(0, |nanos| u32::from_le_bytes(*nanos));
    Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))
}

/// Writes a time. It must fit in the ranges.
fn write(frame: &mut [u8], [seconds, nanos]: &[Option<Range<usize>>; 2], time: Duration) {
    if let Some(place) = seconds.clone().and_then(|place| frame.get_mut(place)) {
        let mut value = time.as_secs();
        let last = place.len().saturating_sub(1);
        for (index, byte) in place.iter_mut().enumerate() {
            // The varint is padded with zeros to its old length.
            let more = if index < last { 0x80 } else { 0 };
            *byte = (value & 0x7f) as u8 | more;
            value >>= 7;
        }
    }
    if let Some(place) = nanos.clone().and_then(|place| frame.get_mut(place)) {
        place.copy_from_slice(&time.subsec_nanos().to_le_bytes());
    }
}

fn bits(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::{
        super::proto::{Dnstap, Message},
        *,
    };

    const NOW: Duration = Duration::new(1_800_000_000, 123_456_789);

    fn frame(query: Option<(u64, u32)>, response: Option<(u64, u32)>) -> Vec<u8> {
        let message = Message {
            r#type: 5,
            query_time_sec: query.map(|time| time.0),
            query_time_nsec: query.map(|time| time.1),
            response_time_sec: response.map(|time| time.0),
            response_time_nsec: response.map(|time| time.1),
            query_message: Some(vec![7; 40]),
            ..Message::default()
        };
        let frame = Dnstap {
            r#type: 1,
            message: Some(message),
            ..Dnstap::default()
        };
        frame.encode_to_vec()
    }

    #[test]
    fn the_time_between_query_and_response_stays() {
        let mut bytes = frame(
            Some((1_700_000_000, 900_000_000)),
            Some((1_700_000_001, 100_000_000)),
        );
        assert_eq!(
            moment(&bytes),
            Ok(Some(Duration::new(1_700_000_001, 100_000_000)))
        );
        assert_eq!(set_moment(&mut bytes, NOW), Ok(true));
        let query = NOW.checked_sub(Duration::from_millis(200)).expect("later");
        let expected = frame(
            Some((query.as_secs(), query.subsec_nanos())),
            Some((NOW.as_secs(), NOW.subsec_nanos())),
        );
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_frame_without_a_time_or_without_room_stays() {
        for bytes in [frame(None, None), frame(Some((1, 0)), None)] {
            let mut set = bytes.clone();
            assert_eq!(set_moment(&mut set, NOW), Ok(false));
            assert_eq!(set, bytes);
        }
        assert!(set_moment(&mut [0x72, 9, 1], NOW).is_err());
    }

    proptest! {
        #[test]
        fn every_time_is_set(query in 1_u64 << 28..1 << 34, between in 0..1_u64 << 20, now in 1_u64 << 29..1 << 34) {
            let mut bytes = frame(Some((query, 5)), Some((query + between, 5)));
            let now = Duration::new(now, 6);
            prop_assert_eq!(set_moment(&mut bytes, now), Ok(true));
            let decoded = Dnstap::decode(&*bytes).expect("prost").message.expect("a message");
            prop_assert_eq!(decoded.response_time_sec, Some(now.as_secs()));
            prop_assert_eq!(decoded.query_time_sec, Some(now.as_secs() - between));
        }

        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = moment(&bytes);
            let _ = set_moment(&mut bytes, NOW);
        }
    }
}
