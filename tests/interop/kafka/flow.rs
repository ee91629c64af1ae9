//! A DNS server that writes numbered frames at a fixed rate.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::Shutdown,
    ops::Range,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    dnstap_fields::{Dnstap, EXTRA},
    frame_streams::{ACCEPT, FINISH, Frame, READY, START, STOP, control, read},
    kafka::record::Record,
};

/// The number of frames per second.
pub(crate) const RATE: u64 = 20_000;
/// The number of different identities and clients. Frame `n` has the identity and the client
/// `n % IDENTITIES`.
const IDENTITIES: u64 = 8;

/// A thread that sends numbered frames.
pub(crate) struct Flow {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

// === impl Flow ===

impl Flow {
    /// Connects to tapfan's unix socket, and starts to send.
    pub(crate) fn start(to: &Path) -> Self {
        let mut stream = UnixStream::connect(to).expect("tapfan listens");
        stream.write_all(&control(READY)).expect("sent");
        let accept = read(&mut stream).expect("an answer");
        assert_eq!(accept, Some(Frame::Control(ACCEPT)));
        stream.write_all(&control(START)).expect("sent");
        let (is_over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (until, count) = (Arc::clone(&is_over), Arc::clone(&sent));
        let thread = thread::spawn(move || send(&mut stream, &until, &count));
        Self {
            is_over,
            sent,
            thread,
        }
    }

    /// Waits until `frames` more frames have been sent.
    pub(crate) fn pass(&self, frames: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + frames;
        while self.sent.load(Ordering::Relaxed) < goal {
            assert!(!self.thread.is_finished(), "the sender has ended");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the number of frames that have been sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the stream, and waits until tapfan has read all of it. Returns the number of frames.
    pub(crate) fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("every frame was sent");
        self.sent.load(Ordering::Relaxed)
    }
}

/// Sends frames until `is_over` is true.
fn send(stream: &mut UnixStream, is_over: &AtomicBool, sent: &AtomicU64) {
    let begun = Instant::now();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut bytes = Vec::new();
        let due = u128::from(RATE) * begun.elapsed().as_micros() / 1_000_000;
        while u128::from(number) < due {
            let frame = frame(number);
            let length = u32::try_from(frame.len()).expect("a small frame");
            bytes.extend(length.to_be_bytes());
            bytes.extend(frame);
            number += 1;
        }
        stream.write_all(&bytes).expect("tapfan reads");
        sent.store(number, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(2));
    }
    stream.write_all(&control(STOP)).expect("tapfan reads");
    let finish = read(stream).expect("an answer");
    assert_eq!(finish, Some(Frame::Control(FINISH)));
    stream.shutdown(Shutdown::Both).expect("an open stream");
}

/// Returns the frame with this number: a query, whose field `extra` is the number.
pub(crate) fn frame(number: u64) -> Vec<u8> {
    frame_of(number, now())
}

/// Returns the frame with this number and with this time, in seconds since 1970.
pub(crate) fn frame_of(number: u64, seconds: u32) -> Vec<u8> {
    let source = number % IDENTITIES;
    let identity = format!("server-{source}");
    let client = u8::try_from(source).expect("a small number");
    let message = [
        // The type CLIENT_QUERY, over UDP and IPv4.
        &[0x08, 5, 0x10, 1, 0x18, 1, 0x22, 4, 192, 0, 2, client][..],
        &query_time(seconds),
        &[0x52, 60],
        &[0xab; 60],
    ]
    .concat();
    let field = |tag: u8, value: &[u8]| {
        let length = u8::try_from(value.len()).expect("a short field");
        [&[tag, length], value].concat()
    };
    [
        field(0x0a, identity.as_bytes()),
        field(0x1a, &number.to_be_bytes()),
        field(0x72, &message),
        vec![0x78, 1],
    ]
    .concat()
}

/// Returns the time of the first call, in seconds since 1970.
///
/// The time of frames must be recent: when a broker starts, it forgets producers whose last record
/// is older than a day, and then does not notice a batch that it has already stored.
pub(crate) fn now() -> u32 {
    static SECONDS: LazyLock<u32> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u32::try_from(now.expect("after 1970").as_secs()).expect("before 2106")
    });
    *SECONDS
}

/// Returns the field `query_time_sec`, whose value is a varint of five bytes.
fn query_time(seconds: u32) -> [u8; 6] {
    let byte = |shift: u32| (seconds >> shift).to_le_bytes()[0] | 0x80;
    [0x40, byte(0), byte(7), byte(14), byte(21), byte(28) & 0x0f]
}

/// Returns a frame of about `size` bytes, without a number.
pub(crate) fn large_frame(size: usize) -> Vec<u8> {
    let size = u32::try_from(size).expect("a small frame");
    // The length is a varint of three bytes.
    let byte = |shift: u32| (size >> shift).to_le_bytes()[0] & 0x7f;
    let [a, b, c] = [byte(0) | 0x80, byte(7) | 0x80, byte(14)];
    let mut frame = vec![0x1a, a, b, c];
    frame.resize(4 + size as usize, b'x');
    frame.extend(b"\x72\x02\x08\x05\x78\x01");
    frame
}

/// Returns the number of a frame.
pub(crate) fn number_of(frame: &[u8]) -> u64 {
    let dnstap = Dnstap::parse(frame);
    let extra = dnstap.outer_field(EXTRA).expect("a numbered frame");
    u64::from_be_bytes(extra.try_into().expect("eight bytes"))
}

/// Asserts that `records` are the frames `0..sent`, each of them once and byte for byte, and that
/// the frames of each identity are in order in one partition.
pub(crate) fn assert_stored(topic: &str, records: &[Record], sent: u64) {
    let missing = missing(topic, records, sent);
    assert!(
        missing.is_empty(),
        "{topic}: {missing:?} of {sent} are missing"
    );
}

/// Asserts that `records` are the frames `0..sent`, each of them once and byte for byte, and that
/// the frames of each partition are in order. The records have no keys.
pub(crate) fn assert_stored_without_keys(topic: &str, records: &[Record], sent: u64) {
    let mut last = BTreeMap::new();
    for record in records {
        let number = number_of(&record.value);
        if let Some(before) = last.insert(record.partition, number) {
            assert!(number > before, "{topic}: {number} follows {before}");
        }
    }
    let missing = gaps(topic, records, sent);
    assert!(
        missing.is_empty(),
        "{topic}: {missing:?} of {sent} are missing"
    );
}

/// Asserts that each of the first `partitions` partitions has records of frames that were sent after
/// the frame `number`.
pub(crate) fn assert_each_partition_goes_on(
    topic: &str,
    records: &[Record],
    partitions: u32,
    number: u64,
) {
    let later = records.iter().filter(|it| number_of(&it.value) > number);
    let found: BTreeSet<u32> = later.map(|record| record.partition).collect();
    let all: BTreeSet<u32> = (0..partitions).collect();
    assert_eq!(found, all, "{topic}: the partitions after {number}");
}

/// Returns the frames of `0..sent` that are not in `records`. Asserts that each other frame is there
/// once and byte for byte, and that the frames of each identity are in order in one partition.
pub(crate) fn missing(topic: &str, records: &[Record], sent: u64) -> Vec<Range<u64>> {
    let mut last = BTreeMap::new();
    for record in records {
        let number = number_of(&record.value);
        let place = (record.partition, number);
        if let Some((partition, before)) = last.insert(number % IDENTITIES, place) {
            assert!(number > before, "{topic}: {number} follows {before}");
            assert_eq!(record.partition, partition, "{topic}: {number}, {before}");
        }
    }
    gaps(topic, records, sent)
}

/// Returns the frames of `0..sent` that are not in `records`. Asserts that each other frame is there
/// once and byte for byte.
pub(crate) fn gaps(topic: &str, records: &[Record], sent: u64) -> Vec<Range<u64>> {
    let mut numbers = BTreeSet::new();
    for record in records {
        let number = number_of(&record.value);
        assert!(
            record.value == frame(number),
            "{topic}: the bytes of {number}"
        );
        assert!(numbers.insert(number), "{topic}: {number} is stored twice");
    }
    let mut missing = Vec::new();
    let mut next = 0;
    for number in numbers.into_iter().chain([sent]) {
        if number > next {
            missing.push(next..number);
        }
        next = number + 1;
    }
    assert_eq!(next, sent + 1, "{topic}: a frame that was not sent");
    missing
}

#[test]
fn frames_have_their_numbers() {
    let dnstap = Dnstap::parse(&frame(77));
    assert_eq!(number_of(&frame(77)), 77);
    assert_eq!(dnstap.message_type(), 5);
    assert_eq!(
        dnstap.outer_field(crate::dnstap_fields::IDENTITY),
        Some(b"server-5".as_slice())
    );
}
