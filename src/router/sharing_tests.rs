//! Tests of the fair sharing of a full queue, with examples and against a model. The tests are not in `sharing.rs`
//! because `tests/queue_model.rs` compiles `sharing.rs` for the model checker loom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::{DropReason, Ledger, Limits, Losses, Progress, Queue, Taken};
use crate::frame_stream::{Chunk, Source};

/// Returns a chunk from `source` with the frames `from..from + frames`. The payload of each frame has `size` bytes.
fn chunk(source: &Source, from: u32, frames: u32, size: usize) -> Chunk {
    let mut wire = BytesMut::new();
    for number in from..from + frames {
        wire.put_u32(u32::try_from(size).expect("small"));
        wire.put_u32(number);
        wire.put_bytes(0, size - 4);
    }
    Chunk::from_wire(wire.freeze())
        .expect("whole frames")
        .brought_by(source)
}

fn source(peer: &str) -> Source {
    Source::new("tcp://127.0.0.1:6000".into(), peer)
}

fn numbers(taken: &Taken) -> Vec<u32> {
    let frames = taken.chunks().flat_map(Chunk::frames);
    frames
        .map(|frame| u32::from_be_bytes(*frame.first_chunk().expect("a number")))
        .collect()
}

fn take(queue: &Arc<Queue>) -> Option<Taken> {
    match queue.poll_take(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(taken) => taken,
        Poll::Pending => None,
    }
}

fn take_all(queue: &Arc<Queue>) -> Vec<u32> {
    let mut all = Vec::new();
    while let Some(taken) = take(queue) {
        all.extend(numbers(&taken));
        let frames = numbers(&taken).len();
        taken.settle(Progress {
            frames,
            ..Progress::default()
        });
    }
    all
}

fn queue(frames: usize, bytes: usize) -> Arc<Queue> {
    Arc::new(Queue::new(Limits { frames, bytes }))
}

#[test]
fn a_quiet_sender_displaces_the_newest_frames_of_a_flooding_one() {
    let queue = queue(100, 1 << 20);
    let (loud, quiet) = (source("loud"), source("quiet"));
    queue.push(&chunk(&loud, 0, 60, 4));
    queue.push(&chunk(&loud, 60, 90, 4));
    queue.push(&chunk(&quiet, 1000, 3, 4));
    queue.push(&chunk(&quiet, 1003, 2, 4));
    queue.push(&chunk(&loud, 200, 10, 4));
    let losses = queue.losses();
    assert_eq!((losses.of(&loud), losses.of(&quiet)), (65, 0));
    let ledger = queue.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(ledger.dropped(DropReason::QueueFull), 65);
    let expected: Vec<u32> = (0..95).chain(1000..1005).collect();
    assert_eq!(take_all(&queue), expected);
}

#[test]
fn a_sender_gets_its_share_of_a_full_queue_and_no_more() {
    let queue = queue(100, 1 << 20);
    let (one, two, three) = (source("one"), source("two"), source("three"));
    queue.push(&chunk(&one, 0, 100, 4));
    queue.push(&chunk(&two, 1000, 80, 4));
    let losses = queue.losses();
    assert_eq!((losses.of(&one), losses.of(&two)), (50, 30));
    queue.push(&chunk(&three, 2000, 80, 4));
    let losses = queue.losses();
    assert_eq!(
        (losses.of(&one), losses.of(&two), losses.of(&three)),
        (66, 47, 47),
        "a third is 33; the first sender is cut to that, the second only as far as needed"
    );
    assert_eq!(queue.ledger().queued, 100);
}

#[test]
fn many_connections_of_a_sender_get_no_more_than_one() {
    let queue = queue(100, 1 << 20);
    let crowd: Vec<_> = (0..20)
        .map(|port| source(&format!("192.0.2.1:{port}")))
        .collect();
    let quiet = source("192.0.2.2:1");
    for one in &crowd {
        queue.push(&chunk(one, 0, 50, 4));
    }
    // If 21 connections had equal shares, each share would be 4 frames. With two senders, the share of each sender is
    // 50 frames.
    for number in 0..50 {
        queue.push(&chunk(&quiet, 1000 + number, 1, 4));
    }
    let lost = queue.losses().of(&quiet);
    assert_eq!((lost, queue.ledger().queued), (0, 100));
    queue.push(&chunk(&quiet, 2000, 1, 4));
    assert_eq!(queue.losses().of(&quiet), 1, "its half is used up");
    // The 21 connections of the other sender divide its half of the room among them. Each connection gets 50 / 21
    // frames.
    let newcomer = source("192.0.2.1:99");
    queue.push(&chunk(&newcomer, 3000, 2, 4));
    assert_eq!(queue.losses().of(&newcomer), 0);
    assert!(queue.ledger().balances());
}

#[test]
fn a_queue_with_many_chunks_knows_their_senders() {
    let queue = queue(5000, 1 << 30);
    let (loud, quiet) = (source("loud"), source("quiet"));
    let push = |source: &Source, frames: std::ops::Range<u32>| {
        for number in frames {
            queue.push(&chunk(source, number, 1, 4));
        }
        assert!(queue.lock().waiting.is_consistent());
    };
    push(&quiet, 0..5);
    push(&loud, 10..4500);
    drop(take(&queue).expect("a batch"));
    assert!(queue.lock().waiting.is_consistent());
    // The queue becomes full here.
    push(&loud, 4500..6000);
    push(&quiet, 6000..6010);
    let losses = queue.losses();
    assert_eq!((losses.of(&loud), losses.of(&quiet)), (1005, 0));
    // This batch does not return.
    let taken = take(&queue).expect("a batch");
    let frames = numbers(&taken).len();
    taken.settle(Progress {
        frames,
        ..Progress::default()
    });
    assert!(queue.lock().waiting.is_consistent());
    assert_eq!(frames + take_all(&queue).len(), 5000);
    assert!(queue.lock().waiting.is_consistent());
}

#[test]
fn the_sender_that_holds_most_is_evicted_however_many_connections_it_has() {
    let queue = queue(1000, 1 << 20);
    let quiet = source("192.0.2.2:1");
    queue.push(&chunk(&quiet, 1000, 1, 2000));
    let before = queue.ledger().held_bytes;
    for port in 0..20 {
        let one = source(&format!("192.0.2.1:{port}"));
        queue.push(&chunk(&one, 10 * port, 1, 1000));
    }
    let crowd = queue.ledger().held_bytes - before;
    queue.evict(usize::try_from(crowd / 4).expect("small"));
    let ledger = queue.ledger();
    assert_eq!(queue.losses().of(&quiet), 0);
    assert_eq!(ledger.dropped(DropReason::Memory), 5);
    assert!(ledger.balances(), "{ledger:?}");
}

#[test]
fn bytes_are_shared_like_frames() {
    let large = chunk(&source("one"), 0, 1, 10_000).footprint();
    let queue = queue(1000, 8 * large);
    let (loud, quiet) = (source("loud"), source("quiet"));
    for number in 0..20 {
        queue.push(&chunk(&loud, number, 1, 10_000));
    }
    for number in 100..104 {
        queue.push(&chunk(&quiet, number, 1, 10_000));
    }
    let losses = queue.losses();
    assert_eq!((losses.of(&loud), losses.of(&quiet)), (16, 0));
    queue.push(&chunk(&quiet, 104, 1, 10_000));
    assert_eq!(queue.losses().of(&quiet), 1, "its half is used up");
    assert_eq!(queue.ledger().held_bytes, 8 * large as u64);
    assert_eq!(take_all(&queue), [0, 1, 2, 3, 100, 101, 102, 103]);
}

#[test]
fn a_take_leaves_room_for_other_senders() {
    let queue = queue(10_000, 1 << 20);
    let (loud, quiet) = (source("loud"), source("quiet"));
    queue.push(&chunk(&loud, 0, 13_000, 4));
    let mut in_flight = Vec::new();
    for round in 0..5 {
        in_flight.extend(take(&queue));
        queue.push(&chunk(&loud, 20_000, 10_000, 4));
        queue.push(&chunk(&quiet, 50_000 + round, 1, 4));
    }
    assert_eq!(in_flight.len(), 5);
    assert_eq!(queue.losses().of(&quiet), 0);
    drop(in_flight);
    let taken = take_all(&queue);
    assert!(
        taken
            .iter()
            .copied()
            .filter(|number| *number < 20_000)
            .eq(0..9_995)
    );
    assert!(
        taken
            .iter()
            .copied()
            .filter(|number| *number >= 50_000)
            .eq(50_000..50_005)
    );
}

#[test]
fn prepended_frames_are_shared_too() {
    let (from, to) = (queue(100, 1 << 20), queue(100, 1 << 20));
    let (loud, quiet) = (source("loud"), source("quiet"));
    from.push(&chunk(&loud, 0, 50, 4));
    from.push(&chunk(&quiet, 1000, 5, 4));
    to.push(&chunk(&loud, 50, 80, 4));
    to.prepend(&from.withdraw());
    let expected: Vec<u32> = (0..20).chain(1000..1005).chain(50..125).collect();
    assert_eq!(take_all(&to), expected);
    assert!(to.ledger().balances() && from.ledger().balances());
    assert_eq!((from.ledger().offered, to.losses().of(&quiet)), (0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Push {
        sender: usize,
        frames: u32,
        size: usize,
    },
    Take,
    Settle {
        which: prop::sample::Index,
        share: f64,
        cut: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let settle = (any::<prop::sample::Index>(), 0.0..=1.0, any::<bool>());
    let push = (0_usize..4, 1_u32..60, 4_usize..80);
    prop_oneof![
        6 => push.prop_map(|(sender, frames, size)| Step::Push {
            sender,
            // Sender 0 sends little, and sender 3 sends a lot.
            frames: 1 + frames * u32::try_from(sender).expect("small") / 3,
            size,
        }),
        1 => Just(Step::Take),
        1 => settle.prop_map(|(which, share, cut)| Step::Settle { which, share, cut }),
    ]
}

/// A frame of the model.
#[derive(Debug, Clone, Copy)]
struct Frame {
    sender: usize,
    chunk: u32,
    /// The bytes that count for the frame: its payload, 4 bytes for the length, and 7 bytes for its entry in the index.
    content: usize,
}

/// Returns the number of frames, and an upper bound for their bytes. The bound adds the fixed cost of a chunk for each
/// part of a split chunk, although the queue adds it for one part only.
fn hold<'a>(frames: impl Iterator<Item = &'a Frame>) -> (usize, usize) {
    const OVERHEAD: usize = 128;
    let (mut count, mut bytes, mut chunks) = (0, 0, BTreeSet::new());
    for frame in frames {
        count += 1;
        bytes += frame.content;
        chunks.insert(frame.chunk);
    }
    (count, bytes + chunks.len() * OVERHEAD)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// If a sender is within its share of the room, it loses no frames, whatever the other senders do. This holds for
    /// the frames that it pushes and for its waiting frames. Every lost frame is counted for one sender. The frames of
    /// each sender stay in their order.
    #[test]
    fn a_sender_within_its_share_loses_nothing(
        steps in prop::collection::vec(step(), 0..120),
        frames in 1_usize..200,
        bytes in prop_oneof![Just(1 << 20), 0_usize..8000],
    ) {
        let limits = Limits { frames, bytes };
        let queue = queue(limits.frames, limits.bytes);
        // The last two sources are connections of one sender.
        let sources = [source("a"), source("b"), source("192.0.2.1:1"), source("192.0.2.1:2")];
        let mut waiting: BTreeMap<u32, Frame> = BTreeMap::new();
        let mut in_flight: Vec<(Taken, Vec<(u32, Frame)>)> = Vec::new();
        let (mut next, mut pushed) = (0, 0);
        let mut before = (Ledger::default(), Losses::default());
        for step in steps {
            prop_assert!(queue.lock().waiting.is_consistent());
            match step {
                Step::Push { sender, frames, size } => {
                    pushed += 1;
                    let flying = in_flight.iter().flat_map(|(_, frames)| frames);
                    let flying = hold(flying.map(|(_, frame)| frame));
                    let of = |sender: usize| hold(waiting.values().filter(|frame| frame.sender == sender));
                    let active: Vec<_> = (0..4).filter(|other| *other == sender || of(*other).0 > 0).collect();
                    let both = active.ends_with(&[2, 3]);
                    let senders = active.len() - usize::from(both);
                    let share = |of: usize| {
                        let connections = if both && of >= 2 { 2 } else { 1 };
                        (
                            limits.frames.saturating_sub(flying.0) / senders / connections,
                            limits.bytes.saturating_sub(flying.1) / senders / connections,
                        )
                    };
                    let new = chunk(&sources[sender], next, frames, size);
                    let mut within = Vec::new();
                    for other in 0..4 {
                        let mut holds = of(other);
                        if other == sender {
                            holds = (holds.0 + new.len(), holds.1 + new.footprint());
                        }
                        within.push(holds.0 <= share(other).0 && holds.1 <= share(other).1);
                    }
                    queue.push(&new);
                    let losses = queue.losses();
                    let lost = |sender: usize| losses.of(&sources[sender]) - before.1.of(&sources[sender]);
                    for (other, within) in within.into_iter().enumerate() {
                        prop_assert!(!within || lost(other) == 0, "{} lost {}", other, lost(other));
                        if other == sender {
                            continue;
                        }
                        // A sender loses its newest frames first.
                        for _ in 0..lost(other) {
                            let newest = waiting.iter().rev().find(|(_, frame)| frame.sender == other);
                            let newest = *newest.expect("as many").0;
                            waiting.remove(&newest);
                        }
                    }
                    let kept = frames - u32::try_from(lost(sender)).expect("small");
                    let frame = Frame { sender, chunk: pushed, content: size + 11 };
                    waiting.extend((next..next + kept).map(|number| (number, frame)));
                    next += frames;
                }
                Step::Take => {
                    let flying: usize = in_flight.iter().map(|(_, frames)| frames.len()).sum();
                    let Some(taken) = take(&queue) else {
                        prop_assert!(waiting.is_empty());
                        continue;
                    };
                    let now = numbers(&taken);
                    let most = (limits.frames.saturating_sub(flying) / 2).max(64);
                    prop_assert!(!now.is_empty() && now.len() <= most);
                    let mut frames = Vec::new();
                    for number in now {
                        let first = waiting.pop_first().expect("something waits");
                        prop_assert_eq!(first.0, number);
                        frames.push(first);
                    }
                    in_flight.push((taken, frames));
                }
                Step::Settle { which, share, cut } => {
                    if in_flight.is_empty() {
                        continue;
                    }
                    let (taken, mut frames) = in_flight.swap_remove(which.index(in_flight.len()));
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                    let out = (frames.len() as f64 * share) as usize;
                    taken.settle(Progress { frames: out, cut: cut && out < frames.len(), ..Progress::default() });
                    let given_up = queue.ledger().dropped(DropReason::Disconnected) - before.0.dropped(DropReason::Disconnected);
                    frames.drain(..out + usize::try_from(given_up).expect("small"));
                    waiting.extend(frames);
                }
            }
            let (ledger, losses) = (queue.ledger(), queue.losses());
            prop_assert!(ledger.balances(), "{:?}", ledger);
            prop_assert_eq!(losses.total(), ledger.dropped(DropReason::QueueFull));
            prop_assert_eq!(losses.others(), 0);
            prop_assert_eq!(ledger.queued, waiting.len() as u64);
            prop_assert!(ledger.queued + ledger.in_flight <= limits.frames as u64);
            prop_assert!(ledger.held_bytes <= limits.bytes as u64);
            before = (ledger, losses);
        }
        for (_, frames) in in_flight.drain(..) {
            waiting.extend(frames);
        }
        prop_assert!(take_all(&queue).into_iter().eq(waiting.into_keys()));
        prop_assert_eq!(queue.ledger().held_bytes, 0);
    }
}
