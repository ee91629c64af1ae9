use super::{
    super::{ErrorCode, Produced, response::BatchResponse},
    *,
};

const HOUR: Duration = Duration::from_secs(3600);
const LEADER: i32 = 1;

fn producer(partitions: usize) -> Producer {
    let mut producer = Producer::new(Settings {
        compression: Compression::None,
        linger: Duration::from_millis(5),
        headers: Headers::new(&[("tapfan-sink", "siem")]),
    });
    producer.set_id(ProducerId { id: 7, epoch: 0 });
    producer.set_leaders(&led_by(&vec![LEADER; partitions]));
    producer.set_reachable(LEADER, true);
    producer
}

fn led_by(leaders: &[i32]) -> Metadata {
    Metadata {
        leaders: leaders.iter().copied().map(Some).collect(),
        ..Metadata::default()
    }
}

fn answer(shipped: &Shipped, mut code: impl FnMut(usize) -> ErrorCode) -> Produced {
    let partitions = shipped.batches.iter().map(|(index, _)| BatchResponse {
        partition: i32::try_from(*index).expect("few"),
        code: code(*index),
        refused: Vec::new(),
        text: String::new(),
    });
    Produced {
        partitions: partitions.collect(),
        throttle_ms: 0,
    }
}

fn append(producer: &mut Producer, key: Option<&[u8]>, value: &[u8], place: u32) -> Option<i32> {
    let record = Record {
        timestamp: 1_700_000_000_000,
        key,
        value,
    };
    producer.append(&record, (0, place), Instant::now())
}

/// Returns the values of the records of a batch.
fn values(batch: &Batch) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    batch
        .records
        .each(|record| values.push(record.value.to_vec()));
    values
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_more_records_until_linger_is_over() {
    let mut producer = producer(1);
    let begun = Instant::now();
    assert_eq!(append(&mut producer, None, b"one", 0), Some(LEADER));
    assert_eq!(append(&mut producer, None, b"two", 1), None);
    assert!(producer.collect(LEADER, begun).is_none());
    assert_eq!(producer.due(LEADER), Some(begun + Duration::from_millis(5)));
    producer.flush(true);
    let shipped = producer.collect(LEADER, begun).expect("a batch");
    assert_eq!(values(&shipped.batches[0].1), [b"one", b"two"]);
    assert!(producer.collect(LEADER, begun + HOUR).is_none());
    let mut outcomes = Vec::new();
    let stored = answer(&shipped, |_| ErrorCode::NONE);
    producer.settle(shipped, Some(&stored), begun, &mut outcomes);
    let span = Span {
        ticket: 0,
        first: 0,
        count: 2,
    };
    assert_eq!(outcomes, [Outcome::Stored(span)]);
    assert!(producer.is_empty());
    assert_eq!(producer.memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_an_answer_is_sent_again_with_the_same_stamp_and_the_same_records() {
    let mut producer = producer(1);
    let now = Instant::now();
    append(&mut producer, None, b"one", 0);
    let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
    let stamp = shipped.batches[0].1.stamp;
    assert!(stamp.is_some());
    // More records arrive while the batch is in flight. They must not join it.
    append(&mut producer, None, b"two", 1);
    producer.settle(shipped, None, now, &mut Vec::new());
    append(&mut producer, None, b"three", 2);
    let again = producer.collect(LEADER, now).expect("the same batch");
    assert_eq!(again.batches[0].1.stamp, stamp);
    assert_eq!(values(&again.batches[0].1), [b"one"]);
    let stored = answer(&again, |_| ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    let mut outcomes = Vec::new();
    producer.settle(again, Some(&stored), now, &mut outcomes);
    assert!(matches!(outcomes[..], [Outcome::Stored(_)]));
    let next = producer.collect(LEADER, now + HOUR).expect("the rest");
    let sequence = next.batches[0].1.stamp.map(|stamp| stamp.sequence);
    assert_eq!(sequence, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_divided_until_one_record_is_refused() {
    let mut producer = producer(1);
    let now = Instant::now();
    let long = [b'x'; 100];
    for (place, value) in [&b"a"[..], b"b", &long, b"c", b"d"].into_iter().enumerate() {
        append(
            &mut producer,
            None,
            value,
            u32::try_from(place).expect("few"),
        );
    }
    let (mut stored, mut refused, mut sequence) = (Vec::new(), Vec::new(), 0);
    while let Some(shipped) = producer.collect(LEADER, now + HOUR) {
        let batch = &shipped.batches[0].1;
        assert_eq!(batch.stamp.map(|stamp| stamp.sequence), Some(sequence));
        let values = values(batch);
        let code = if values.iter().any(|it| it.len() > 50) {
            ErrorCode::MESSAGE_TOO_LARGE
        } else {
            sequence += i32::try_from(values.len()).expect("few");
            stored.extend(values);
            ErrorCode::NONE
        };
        let answer = answer(&shipped, |_| code);
        let mut outcomes = Vec::new();
        producer.settle(shipped, Some(&answer), now, &mut outcomes);
        refused.extend(outcomes.into_iter().filter_map(|it| match it {
            Outcome::Refused(span) => Some(span),
            _ => None,
        }));
    }
    assert_eq!(stored, [b"a", b"b", b"c", b"d"]);
    let span = Span {
        ticket: 0,
        first: 2,
        count: 1,
    };
    assert_eq!(refused, [span]);
    assert!(producer.is_empty());
}

#[tokio::test(start_paused = true)]
async fn records_that_the_broker_names_are_refused_at_once() {
    let mut producer = producer(1);
    let now = Instant::now();
    for place in 0..4 {
        append(&mut producer, None, b"x", place);
    }
    let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
    let mut named = answer(&shipped, |_| ErrorCode::INVALID_TIMESTAMP);
    named.partitions[0].refused = vec![1, 3, 99, -1];
    let mut outcomes = Vec::new();
    let consequence = producer.settle(shipped, Some(&named), now, &mut outcomes);
    assert!(consequence.refused.is_some() && !consequence.needs_lookup);
    assert_eq!(outcomes.len(), 2);
    let rest = producer.collect(LEADER, now).expect("the others");
    assert_eq!(rest.batches[0].1.records.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_the_broker_forgot_gets_a_new_id_and_counts_what_it_sends_again() {
    let mut producer = producer(2);
    let now = Instant::now();
    append(&mut producer, None, b"one", 0);
    let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
    let forgotten = answer(&shipped, |_| ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let mut outcomes = Vec::new();
    let consequence = producer.settle(shipped, Some(&forgotten), now, &mut outcomes);
    assert!(matches!(outcomes[..], [Outcome::Resent(_)]));
    assert!(consequence.needs_lookup && producer.needs_id());
    assert!(producer.collect(LEADER, now + HOUR).is_none());
    producer.set_id(ProducerId { id: 8, epoch: 0 });
    assert!(producer.collect(LEADER, now).is_none(), "too soon");
    let again = producer.collect(LEADER, now + HOUR).expect("the batch");
    let stamp = again.batches[0].1.stamp.expect("a stamp");
    assert_eq!((stamp.producer.id, stamp.sequence), (8, 0));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_gets_the_batch_and_a_partition_that_vanished_gives_it_up() {
    let mut producer = producer(2);
    let now = Instant::now();
    let key = |partition| (0..=u8::MAX).find(|it| partition_of(&[*it], 2) == partition);
    let (one, two) = (key(0).expect("a key"), key(1).expect("a key"));
    append(&mut producer, Some(&[one]), b"one", 0);
    append(&mut producer, Some(&[two]), b"two", 1);
    let shipped = producer.collect(LEADER, now + HOUR).expect("both");
    let moved = answer(&shipped, |_| ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let consequence = producer.settle(shipped, Some(&moved), now, &mut Vec::new());
    assert!(consequence.needs_lookup);
    producer.set_leaders(&led_by(&[2, 3]));
    assert!(producer.collect(LEADER, now + HOUR).is_none());
    assert_eq!(producer.collect(2, now).map(|it| it.batches.len()), Some(1));
    let resent = producer.set_leaders(&led_by(&[2]));
    assert!(matches!(resent[..], [Outcome::Resent(_)]));
    assert_eq!(producer.leaders().into_iter().collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_moves_to_a_broker_with_a_connection_gets_records() {
    let mut producer = producer(2);
    let is_reachable = |producer: &Producer| producer.partitions.iter().all(|it| it.is_reachable);
    producer.set_leaders(&led_by(&[LEADER, 2]));
    assert!(!is_reachable(&producer));
    producer.set_leaders(&led_by(&[LEADER, LEADER]));
    assert!(is_reachable(&producer));
    let value = vec![b'x'; BATCH_BYTES - 200];
    append(&mut producer, None, &value, 0);
    append(&mut producer, None, &value, 1);
    let waiting = producer.partitions.iter().map(|it| it.waiting.len());
    assert_eq!(waiting.collect::<Vec<_>>(), [1, 1]);
    producer.set_reachable(LEADER, false);
    producer.set_leaders(&led_by(&[2, LEADER]));
    producer.set_leaders(&led_by(&[LEADER, LEADER]));
    assert!(!is_reachable(&producer));
}

/// A broker calls a batch a duplicate if its sequence numbers were used before, and does not store it.
#[test]
fn metadata_with_fewer_partitions_or_an_earlier_leader_are_older() {
    let mut producer = producer(2);
    let state = |epochs: &[i32]| Metadata {
        leaders: vec![Some(LEADER); epochs.len()],
        epochs: epochs.to_vec(),
        ..Metadata::default()
    };
    producer.set_leaders(&state(&[3, 5]));
    for older in [&[3][..], &[3, 4], &[0, 9]] {
        assert!(producer.is_older(&state(older)), "{older:?}");
    }
    // A broker says -1 if it does not know the epoch.
    for newer in [&[3, 5][..], &[3, 6], &[3, 5, 0], &[-1, -1]] {
        assert!(!producer.is_older(&state(newer)), "{newer:?}");
    }
    producer.set_leaders(&state(&[0]));
    assert!(!producer.is_older(&state(&[1])));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_vanishes_and_returns_uses_no_sequence_number_twice() {
    let mut producer = producer(2);
    let now = Instant::now();
    let key = (0..=u8::MAX).find(|it| partition_of(&[*it], 2) == 1);
    let key = [key.expect("a key")];
    append(&mut producer, Some(&key), b"one", 0);
    let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
    producer.set_leaders(&led_by(&[LEADER]));
    producer.set_leaders(&led_by(&[LEADER, LEADER]));
    append(&mut producer, Some(&key), b"two", 1);
    assert!(
        producer.collect(LEADER, now + HOUR).is_none(),
        "one in flight"
    );
    let stored = answer(&shipped, |_| ErrorCode::NONE);
    producer.settle(shipped, Some(&stored), now, &mut Vec::new());
    let next = producer.collect(LEADER, now + HOUR).expect("the second");
    let sequence = next.batches[0].1.stamp.map(|stamp| stamp.sequence);
    assert_eq!((next.batches[0].0, sequence), (1, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_that_is_refused_later_leaves_its_sequence_numbers() {
    let mut producer = producer(1);
    let now = Instant::now();
    append(&mut producer, None, b"one", 0);
    let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
    producer.settle(shipped, None, now, &mut Vec::new());
    let again = producer.collect(LEADER, now + HOUR).expect("the batch");
    let refused = answer(&again, |_| ErrorCode::MESSAGE_TOO_LARGE);
    let consequence = producer.settle(again, Some(&refused), now, &mut Vec::new());
    assert!(consequence.needs_lookup && producer.needs_id());
}

/// A leader that answers with such an error has appended the batch. The broker would take the next batch of the same size
/// for the same batch, and not store it.
#[tokio::test(start_paused = true)]
async fn a_batch_that_may_be_appended_and_is_refused_later_leaves_its_sequence_numbers() {
    for code in [
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ] {
        let mut producer = producer(1);
        let now = Instant::now();
        append(&mut producer, None, b"one", 0);
        append(&mut producer, None, b"two", 1);
        let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
        let appended = answer(&shipped, |_| code);
        let mut outcomes = Vec::new();
        producer.settle(shipped, Some(&appended), now, &mut outcomes);
        assert_eq!(outcomes, []);
        let again = producer.collect(LEADER, now + HOUR).expect("the batch");
        let refused = answer(&again, |_| ErrorCode::MESSAGE_TOO_LARGE);
        let consequence = producer.settle(again, Some(&refused), now, &mut outcomes);
        assert!(consequence.needs_lookup && producer.needs_id());
        // Both records are sent again, and may be stored twice.
        let resent = |first| {
            Outcome::Resent(Span {
                ticket: 0,
                first,
                count: 1,
            })
        };
        assert_eq!(outcomes, [resent(0), resent(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_shrinks_during_an_outage_loses_no_record_to_a_missing_partition() {
    let mut producer = producer(6);
    let now = Instant::now();
    let value = vec![b'x'; BATCH_BYTES - 200];
    for place in 0..4 {
        append(&mut producer, None, &value, place);
    }
    assert_eq!(producer.sticky, 4);
    producer.set_reachable(LEADER, false);
    producer.set_leaders(&led_by(&[LEADER; 3]));
    append(&mut producer, None, &value, 4);
    producer.set_reachable(LEADER, true);
    let mut outcomes = Vec::new();
    while let Some(shipped) = producer.collect(LEADER, now + HOUR) {
        let stored = answer(&shipped, |_| ErrorCode::NONE);
        producer.settle(shipped, Some(&stored), now, &mut outcomes);
    }
    assert_eq!(outcomes.len(), 5);
    assert!(producer.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_partition_is_noticed() {
    let mut producer = producer(1);
    let now = Instant::now();
    append(&mut producer, None, b"one", 0);
    let shipped = producer.collect(LEADER, now + HOUR).expect("a batch");
    let empty = Produced::default();
    let consequence = producer.settle(shipped, Some(&empty), now, &mut Vec::new());
    assert!(consequence.is_incomplete);
    assert!(producer.sent_to().contains(&LEADER));
}

#[tokio::test(start_paused = true)]
async fn records_without_a_key_fill_one_batch_after_the_other() {
    let mut producer = producer(3);
    let value = vec![b'x'; BATCH_BYTES / 4];
    for place in 0..9 {
        append(&mut producer, None, &value, place);
    }
    let now = Instant::now();
    let shipped = producer.collect(LEADER, now + HOUR).expect("three batches");
    let counts = shipped.batches.iter().map(|(_, it)| it.records.count());
    assert_eq!(counts.collect::<Vec<_>>(), [3, 3, 3]);
    // A partition without a connection to its leader gets no records.
    producer.set_leaders(&led_by(&[LEADER, 2, LEADER]));
    for place in 9..20 {
        append(&mut producer, None, &value, place);
    }
    assert!(producer.partitions[1].waiting.is_empty());
}

/// Appends records of 100 bytes until `bytes` are sent and stored, with a broker that stores no batch of more than `most`
/// bytes. Returns the bytes that were sent, and the size of the largest batch that was stored.
fn store(producer: &mut Producer, bytes: usize, most: usize) -> (usize, usize) {
    let (mut sent, mut stored, mut largest, mut place) = (0, 0, 0, 0);
    while stored < bytes {
        while producer.memory() < 2 * BATCH_BYTES {
            append(producer, None, &[b'x'; 100], place);
            place += 1;
        }
        let shipped = producer
            .collect(LEADER, Instant::now())
            .expect("full batches");
        let size = |index| {
            let mut batches = shipped.batches.iter();
            let found = batches.find(|(other, _)| *other == index);
            found.expect("its batch").1.records.size()
        };
        let answer = answer(&shipped, |index| {
            sent += size(index);
            if size(index) > most {
                return ErrorCode::MESSAGE_TOO_LARGE;
            }
            stored += size(index);
            largest = largest.max(size(index));
            ErrorCode::NONE
        });
        let mut outcomes = Vec::new();
        let consequence = producer.settle(shipped, Some(&answer), Instant::now(), &mut outcomes);
        assert!(consequence.refused.is_none(), "no record is too large");
    }
    (sent, largest)
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_topic_is_learned_once_and_tried_again_after_minutes() {
    const MIB: usize = 1 << 20;
    const MOST: usize = 20_000;
    let mut producer = producer(3);
    let (sent, _) = store(&mut producer, MIB, MOST);
    assert!(sent < 3 * MIB, "{sent} bytes to learn the limit");
    let (sent, largest) = store(&mut producer, MIB, MOST);
    assert!(sent < MIB + 2 * BATCH_BYTES, "{sent} bytes for 1 MiB");
    assert!((MOST / 2..=MOST).contains(&largest), "{largest} bytes");
    // The limit of the topic is raised. Larger batches are tried one doubling at a time.
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(5 * 60)).await;
        store(&mut producer, MIB, MIB);
    }
    let (sent, largest) = store(&mut producer, MIB, MIB);
    assert!(largest > BATCH_BYTES / 8 * 7, "{largest} bytes");
    assert!(sent < MIB + 3 * BATCH_BYTES, "{sent} bytes for 1 MiB");
}

#[tokio::test(start_paused = true)]
async fn a_single_record_that_is_too_large_makes_no_other_batch_smaller() {
    let mut producer = producer(1);
    let now = Instant::now();
    for place in 0..20 {
        append(&mut producer, None, &vec![b'x'; BATCH_BYTES], place);
        let shipped = producer.collect(LEADER, now).expect("a batch");
        let refused = answer(&shipped, |_| ErrorCode::MESSAGE_TOO_LARGE);
        let consequence = producer.settle(shipped, Some(&refused), now, &mut Vec::new());
        assert!(consequence.refused.is_some());
    }
    assert_eq!(producer.limit.current(now), BATCH_BYTES);
}

/// Returns a key of each partition.
fn keys(partitions: usize) -> Vec<[u8; 4]> {
    let key = |partition| {
        let mut keys = (0_u32..).map(u32::to_be_bytes);
        keys.find(|key| partition_of(key, partitions) == partition)
    };
    (0..partitions).map(|it| key(it).expect("a key")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_on_which_brokers_hang_up_gets_smaller() {
    let partitions = REQUEST_BYTES / BATCH_BYTES;
    let mut producer = producer(partitions);
    let now = Instant::now();
    for (key, place) in keys(partitions).iter().zip(0..) {
        let value = vec![b'x'; BATCH_BYTES - 200];
        append(&mut producer, Some(key), &value, place);
    }
    let mut counts = Vec::new();
    loop {
        let shipped = producer.collect(LEADER, now).expect("batches");
        counts.push(shipped.batches.len());
        assert!(counts.len() < 9, "{counts:?}");
        // The largest request of this broker has 1 MiB.
        if shipped.batches.len() <= 4 {
            let stored = answer(&shipped, |_| ErrorCode::NONE);
            producer.settle(shipped, Some(&stored), now, &mut Vec::new());
            break;
        }
        producer.settle(shipped, None, now, &mut Vec::new());
    }
    // A broker that restarts hangs up once.
    assert_eq!(counts, [16, 16, 8, 4]);
    let small = producer.request_limit.current(now);
    let later = now + Duration::from_secs(3600);
    assert_eq!(producer.request_limit.current(later), 2 * small);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_larger_than_its_limit() {
    const PARTITIONS: usize = 30;
    let mut producer = producer(PARTITIONS);
    let value = vec![b'x'; 200 << 10];
    for key in keys(PARTITIONS) {
        append(&mut producer, Some(&key), &value, 0);
    }
    let later = Instant::now() + producer.settings.linger;
    let mut partitions = BTreeSet::new();
    while let Some(shipped) = producer.collect(LEADER, later) {
        let sizes = shipped
            .batches
            .iter()
            .map(|(_, batch)| batch.records.size());
        let size: usize = sizes.sum();
        assert!(size <= REQUEST_BYTES, "{size} bytes");
        partitions.extend(shipped.batches.iter().map(|(index, _)| *index));
        let stored = answer(&shipped, |_| ErrorCode::NONE);
        producer.settle(shipped, Some(&stored), later, &mut Vec::new());
    }
    assert_eq!(partitions.len(), PARTITIONS);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_ends_each_connection_is_sent_alone_and_does_not_hold_up_others() {
    const BAD: usize = 1;
    let mut producer = producer(4);
    let keys = keys(4);
    let (mut stored, mut cuts, mut requests) = ([0; 4], 0, 0);
    while requests < 200 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for (partition, key) in keys.iter().enumerate() {
            if producer.partitions[partition].waiting.is_empty() {
                append(&mut producer, Some(key), b"a record", 0);
            }
        }
        let now = Instant::now();
        let Some(shipped) = producer.collect(LEADER, now + producer.settings.linger) else {
            continue;
        };
        requests += 1;
        let sent: Vec<_> = shipped.batches.iter().map(|(it, _)| *it).collect();
        if sent.contains(&BAD) {
            cuts += 1;
            assert!(cuts <= 5 || sent == [BAD], "{sent:?} after {cuts} cuts");
            producer.settle(shipped, None, now, &mut Vec::new());
            producer.set_reachable(LEADER, false);
            producer.set_reachable(LEADER, true);
            continue;
        }
        for partition in sent {
            stored[partition] += 1;
        }
        let answer = answer(&shipped, |_| ErrorCode::NONE);
        producer.settle(shipped, Some(&answer), now, &mut Vec::new());
    }
    // Once in ten seconds after some time.
    assert!((9..20).contains(&cuts), "{cuts}");
    assert!(
        stored
            .iter()
            .enumerate()
            .all(|(it, stored)| it == BAD || *stored > 100),
        "{stored:?}"
    );
    let shown: Vec<_> = producer.partitions().map(|it| it.cuts).collect();
    assert_eq!(shown, [0, cuts, 0, 0]);
    // A new record without a key goes to another partition.
    let value = vec![b'x'; BATCH_BYTES / 4];
    for place in 0..20 {
        append(&mut producer, None, &value, place);
    }
    assert_eq!(producer.partitions[BAD].waiting.len(), 1);
    // An answer ends the suspicion.
    let later = Instant::now() + HOUR;
    while let Some(shipped) = producer.collect(LEADER, later) {
        let answer = answer(&shipped, |_| ErrorCode::NONE);
        let consequence = producer.settle(shipped, Some(&answer), later, &mut Vec::new());
        assert!(consequence.refused.is_none());
    }
    assert!(producer.is_empty());
    assert!(producer.partitions().all(|it| it.cuts == 0));
}

#[tokio::test(start_paused = true)]
async fn small_requests_without_an_answer_make_no_later_request_smaller() {
    let mut producer = producer(2);
    let now = Instant::now();
    for (key, place) in keys(2).iter().zip(0..) {
        append(&mut producer, Some(key), &[b'x'; 100], place);
    }
    // The broker hangs, and is killed.
    for _ in 0..3 {
        let shipped = producer.collect(LEADER, now + HOUR).expect("batches");
        assert_eq!(shipped.batches.len(), 2);
        producer.settle(shipped, None, now, &mut Vec::new());
    }
    assert_eq!(producer.request_limit.current(now), REQUEST_BYTES);
}

#[tokio::test(start_paused = true)]
async fn every_partition_gets_its_turn_although_a_request_has_no_room_for_all() {
    let partitions = 2 * REQUEST_BYTES / BATCH_BYTES + 3;
    let mut producer = producer(partitions);
    let (keys, now) = (keys(partitions), Instant::now());
    let value = vec![b'x'; BATCH_BYTES - 200];
    let mut sent = vec![0; partitions];
    for request in 0..9 {
        // All partitions are always busy.
        for (partition, key) in keys.iter().enumerate() {
            if producer.partitions[partition].waiting.is_empty() {
                append(&mut producer, Some(key), &value, 0);
            }
        }
        let shipped = producer.collect(LEADER, now).expect("batches");
        for (partition, _) in &shipped.batches {
            sent[*partition] += 1;
        }
        let stored = answer(&shipped, |_| ErrorCode::NONE);
        producer.settle(shipped, Some(&stored), now, &mut Vec::new());
        let (least, most) = (sent.iter().min(), sent.iter().max());
        let turns = (least.expect("some"), most.expect("some"));
        assert!(turns.1 - turns.0 <= 1, "after request {request}: {sent:?}");
    }
    // The turns of brokers that lead no partition any more are forgotten.
    assert!(!producer.turns.is_empty());
    producer.set_leaders(&led_by(&vec![LEADER + 1; partitions]));
    assert!(producer.turns.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_batch_uses_the_memory_that_it_needs_and_the_next_one_begins_with_it() {
    let mut producer = producer(128);
    let (keys, now) = (keys(128), Instant::now());
    for key in &keys {
        append(&mut producer, Some(key), &[b'x'; 150], 0);
    }
    assert!(producer.memory() < 128 * 1200, "{}", producer.memory());
    // One partition is busy.
    let fill = |producer: &mut Producer| {
        let memory = |producer: &Producer| producer.partitions[0].waiting[0].records.memory();
        let mut changes = 0;
        while !producer.partitions[0].waiting[0].is_full() {
            let before = memory(producer);
            append(producer, Some(&keys[0]), &[b'x'; 150], 0);
            changes += u32::from(memory(producer) != before);
        }
        assert!(memory(producer) <= BATCH_BYTES);
        changes
    };
    assert_eq!(fill(&mut producer), 8, "from 1 KiB to 256 KiB");
    let shipped = producer.collect(LEADER, now + HOUR).expect("batches");
    let stored = answer(&shipped, |_| ErrorCode::NONE);
    producer.settle(shipped, Some(&stored), now, &mut Vec::new());
    append(&mut producer, Some(&keys[0]), &[b'x'; 150], 0);
    assert_eq!(fill(&mut producer), 0);
    // The buffers of 128 busy partitions would exceed this bound.
    producer.set_bound(4 << 20);
    let shipped = producer.collect(LEADER, now + HOUR).expect("batches");
    let stored = answer(&shipped, |_| ErrorCode::NONE);
    producer.settle(shipped, Some(&stored), now, &mut Vec::new());
    append(&mut producer, Some(&keys[0]), &[b'x'; 150], 0);
    assert!(
        producer.memory() <= (4 << 20) / 4 / 64,
        "{}",
        producer.memory()
    );
}
