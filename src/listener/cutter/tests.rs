use bytes::BufMut;
use proptest::prelude::*;

use super::*;

/// The shortest valid frame: `type: MESSAGE`, and a message of type `AUTH_QUERY`.
const SHORT: &[u8] = b"\x72\x02\x08\x01\x78\x01";
const NO_DNSTAP: &[u8] = b"\x72\x02\x08\x01";
const LIMIT: u32 = 200;

fn valid(filling: usize) -> Vec<u8> {
    let mut frame = SHORT.to_vec();
    if filling > 0 {
        frame.extend([
            0xfa,
            0x01,
            u8::try_from(filling).expect("one byte of length") & 0x7f,
        ]);
        frame.resize(frame.len() + (filling & 0x7f), b'.');
    }
    frame
}

fn data(payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    wire.put_u32(u32::try_from(payload.len()).expect("small"));
    wire.put_slice(payload);
    wire
}

/// The results of cutting a whole stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    frames: Vec<Vec<u8>>,
    malformed: u64,
    oversize: u64,
    end: Option<End>,
}

fn run(stream: &[u8], mut reads: impl Iterator<Item = usize>) -> Outcome {
    let mut cutter = Cutter::new(LIMIT);
    let mut outcome = Outcome::default();
    let mut rest = stream;
    while !rest.is_empty() && outcome.end.is_none() {
        let room = {
            let buffer = cutter.buffer();
            buffer.capacity() - buffer.len()
        };
        let (read, behind) = rest.split_at(
            reads
                .next()
                .unwrap_or(usize::MAX)
                .clamp(1, rest.len().min(room)),
        );
        cutter.buffer().extend_from_slice(read);
        rest = behind;
        let cut = cutter.cut(Instant::now());
        if let Some(chunk) = cut.chunk {
            assert!(!chunk.is_empty());
            assert_eq!(
                Chunk::from_wire(Bytes::copy_from_slice(chunk.wire())).map(|chunk| chunk.len()),
                Some(chunk.len())
            );
            for (frame, of) in chunk.frames().zip(chunk.message_types()) {
                assert_eq!(dnstap::message_type(frame), Ok(of));
            }
            outcome.frames.extend(chunk.frames().map(<[u8]>::to_vec));
        }
        outcome.malformed += cut.malformed;
        outcome.oversize += cut.oversize;
        outcome.end = cut.end;
    }
    outcome
}

fn at_once(stream: &[u8]) -> Outcome {
    run(stream, std::iter::empty())
}

#[test]
fn a_read_of_valid_frames_is_one_chunk_of_the_same_bytes() {
    let stream = [data(SHORT), data(&valid(50))].concat();
    let mut cutter = Cutter::new(LIMIT);
    cutter.buffer().extend_from_slice(&stream);
    let chunk = cutter.cut(Instant::now()).chunk.expect("two frames");
    assert_eq!((chunk.len(), chunk.wire()), (2, stream.as_slice()));
    assert_eq!(cutter.frame_began(), None);
}

#[test]
fn bad_frames_are_removed_and_the_others_stay() {
    let stream = [
        data(SHORT),
        data(NO_DNSTAP),
        data(&valid(9)),
        data(&[0x72; 300]),
        Control::start().encode().to_vec(),
        data(&valid(7)),
        Control::stop().encode().to_vec(),
        data(SHORT),
    ];
    let outcome = at_once(&stream.concat());
    assert_eq!(outcome.frames, [SHORT.to_vec(), valid(9), valid(7)]);
    assert_eq!(
        (outcome.malformed, outcome.oversize, outcome.end),
        (1, 1, Some(End::Stop))
    );
}

#[test]
fn the_limit_is_the_longest_frame_that_passes() {
    let longest = [SHORT, b"\xfa\x01\xbf\x01", &[0; 191][..]].concat();
    assert_eq!(longest.len(), 201);
    let outcome = at_once(&data(&longest));
    assert_eq!((outcome.frames.len(), outcome.oversize), (0, 1));
    let longest = [SHORT, b"\xfa\x01\xbe\x01", &[0; 190][..]].concat();
    assert_eq!(longest.len(), LIMIT as usize);
    assert_eq!(at_once(&data(&longest)).frames.len(), 1);
}

#[test]
fn the_age_of_an_unfinished_frame_counts_from_its_first_byte() {
    let mut cutter = Cutter::new(LIMIT);
    let start = Instant::now();
    let at = |seconds| start + std::time::Duration::from_secs(seconds);
    let long = data(&[0x72; 300]);
    let stream = [data(SHORT), data(SHORT), long.clone(), data(SHORT)].concat();
    let ends = [10, 20, 20 + long.len() as u64, 30 + long.len() as u64];
    for (second, byte) in (1..).zip(stream) {
        cutter.buffer().extend_from_slice(&[byte]);
        let _ = cutter.cut(at(second));
        let began = ends
            .iter()
            .rfind(|end| **end < second)
            .map_or(1, |end| end + 1);
        let expected = (!ends.contains(&second)).then(|| at(began));
        assert_eq!(cutter.frame_began(), expected, "at byte {second}");
    }
}

#[test]
fn no_memory_is_allocated_from_a_claimed_length() {
    let mut cutter = Cutter::new(16 << 20);
    cutter
        .buffer()
        .extend_from_slice(&(16_u32 << 20).to_be_bytes());
    let _ = cutter.cut(Instant::now());
    assert!(cutter.frame_began().is_some());
    assert!(
        cutter.buffer().capacity() <= 2 * MIN_READ,
        "{}",
        cutter.buffer().capacity()
    );
}

#[test]
fn a_chunk_keeps_no_more_than_twice_its_bytes_alive() {
    let mut cutter = Cutter::new(1 << 20);
    let stream = data(&valid(90)).repeat(40_000);
    let mut rest = stream.as_slice();
    let mut largest = 0;
    while !rest.is_empty() {
        let buffer = cutter.buffer();
        let capacity = buffer.capacity();
        let read = (capacity - buffer.len()).min(rest.len());
        buffer.extend_from_slice(&rest[..read]);
        rest = &rest[read..];
        let chunk = cutter.cut(Instant::now()).chunk.expect("frames");
        largest = largest.max(chunk.wire().len());
        let copied = cutter.buffer.capacity() == capacity;
        assert!(copied || chunk.wire().len() * 2 >= capacity);
    }
    assert!(
        largest > MAX_READ / 2,
        "a sender that fills the buffer gets a larger one: {largest}"
    );
}

#[test]
fn a_quiet_sender_gives_its_large_buffer_back() {
    let mut cutter = Cutter::new(1 << 20);
    cutter.read_size = MAX_READ;
    for _ in 0..20 {
        cutter.buffer().extend_from_slice(&data(SHORT));
        assert!(cutter.cut(Instant::now()).chunk.is_some());
    }
    assert!(
        cutter.buffer().capacity() <= 4 * MIN_READ,
        "{}",
        cutter.buffer().capacity()
    );
}

#[test]
fn a_waiting_connection_holds_only_the_bytes_that_have_arrived() {
    let mut cutter = Cutter::new(1 << 20);
    cutter.read_size = MAX_READ;
    assert!(cutter.buffer().capacity() >= MAX_READ);
    assert_eq!(cutter.wait(), 0);
    assert_eq!(cutter.buffer.capacity(), 0, "between two frames");
    let long = valid(90).repeat(9000);
    let stream = [
        &data(SHORT),
        (u32::try_from(long.len()).expect("short"))
            .to_be_bytes()
            .as_slice(),
        &long,
    ]
    .concat();
    for end in [100, 5000, 100_000, stream.len() - 1] {
        let mut held = 0;
        let mut cutter = Cutter::new(1 << 20);
        let mut rest = &stream[..end];
        while !rest.is_empty() {
            let buffer = cutter.buffer();
            let read = rest.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&rest[..read]);
            rest = &rest[read..];
            let _ = cutter.cut(Instant::now());
            held = cutter.wait();
        }
        let came = end - data(SHORT).len();
        assert_eq!(held, cutter.buffer.capacity());
        assert!(held <= (2 * came).max(SMALL), "{held} for {came}");
        assert!(
            held <= stream.len() + 2 * MIN_READ,
            "{held}: beyond its end"
        );
        assert_eq!(cutter.buffer.len(), came);
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0_usize..100).prop_map(|filling| data(&valid(filling))),
        2 => prop::collection::vec(any::<u8>(), 1..60).prop_map(|payload| data(&payload)),
        1 => (201_usize..500).prop_map(|length| data(&vec![0x72; length])),
        1 => Just(b"\0\0\0\0\0\0\0\x04\0\0\0\x63".to_vec()),
    ]
}

proptest! {
    #[test]
    fn the_boundaries_of_reads_change_nothing(
        pieces in prop::collection::vec(piece(), 0..30),
        stop in any::<bool>(),
        reads in prop::collection::vec(1_usize..80, 1..20),
    ) {
        let mut stream = pieces.concat();
        if stop {
            stream.extend_from_slice(&Control::stop().encode());
        }
        let expected = at_once(&stream);
        prop_assert_eq!(run(&stream, reads.iter().copied().cycle()), expected);
    }

    #[test]
    fn no_input_panics(
        stream in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..400),
        reads in prop::collection::vec(1_usize..80, 1..20),
    ) {
        let expected = at_once(&stream);
        prop_assert_eq!(run(&stream, reads.iter().copied().cycle()), expected);
    }
}
