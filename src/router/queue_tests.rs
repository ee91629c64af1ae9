//! Tests of the queue, with examples and against a model. The tests are not in `queue.rs` because
//! `tests/queue_model.rs` compiles `queue.rs` for the model checker loom.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::{DropReason, Ledger, LeftOut, Limits, Progress, Queue, Taken};
use crate::frame_stream::Chunk;

const ROOMY: Limits = Limits {
    frames: 1000,
    bytes: 1 << 20,
};

/// Returns a chunk of the frames `from..from + frames`. The payload of each frame is its number, in four bytes.
fn chunk(from: u32, frames: u32) -> Chunk {
    let mut wire = BytesMut::new();
    for number in from..from + frames {
        wire.put_u32(4);
        wire.put_u32(number);
    }
    Chunk::from_wire(wire.freeze()).expect("whole frames")
}

fn numbers(taken: &Taken) -> Vec<u32> {
    let number = |frame: &[u8]| u32::from_be_bytes(frame.try_into().expect("four bytes"));
    taken
        .chunks()
        .flat_map(|chunk| chunk.frames().map(number).collect::<Vec<_>>())
        .collect()
}

fn poll(queue: &Arc<Queue>) -> Poll<Option<Taken>> {
    queue.poll_take(&mut Context::from_waker(Waker::noop()))
}

fn take(queue: &Arc<Queue>) -> Taken {
    match poll(queue) {
        Poll::Ready(Some(taken)) => taken,
        other => panic!("nothing to take: {other:?}"),
    }
}

fn queue(limits: Limits) -> Arc<Queue> {
    Arc::new(Queue::new(limits))
}

#[test]
fn a_full_queue_keeps_the_oldest_frames_and_counts_the_newest_as_lost() {
    let queue = queue(Limits { frames: 5, ..ROOMY });
    queue.push(&chunk(0, 3));
    queue.push(&chunk(3, 4));
    queue.push(&chunk(7, 1));
    let ledger = queue.ledger();
    assert_eq!(
        (
            ledger.offered,
            ledger.queued,
            ledger.dropped(DropReason::QueueFull)
        ),
        (8, 5, 3)
    );
    let taken = take(&queue);
    assert_eq!(numbers(&taken), [0, 1, 2, 3, 4]);
    queue.push(&chunk(8, 1));
    assert_eq!(
        queue.ledger().dropped(DropReason::QueueFull),
        4,
        "frames in flight count against the bound"
    );
}

#[test]
fn a_queue_with_lower_limits_keeps_its_frames() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 5));
    queue.set_limits(Limits { frames: 3, ..ROOMY });
    queue.push(&chunk(5, 1));
    let ledger = queue.ledger();
    assert_eq!(
        (ledger.queued, ledger.dropped(DropReason::QueueFull)),
        (5, 1)
    );
    queue.set_limits(ROOMY);
    queue.push(&chunk(6, 1));
    assert_eq!(numbers(&take(&queue)), [0, 1, 2, 3, 4, 6]);
}

#[test]
fn the_bound_in_bytes_is_exact() {
    let footprint = chunk(0, 2).footprint();
    let queue = queue(Limits {
        bytes: footprint * 2,
        ..ROOMY
    });
    for from in [0, 2, 4] {
        queue.push(&chunk(from, 2));
    }
    assert_eq!(queue.ledger().held_bytes, footprint as u64 * 2);
    assert_eq!(queue.ledger().dropped(DropReason::QueueFull), 2);
    take(&queue).settle(Progress {
        frames: 4,
        ..Progress::default()
    });
    assert_eq!(queue.ledger().held_bytes, 0);
}

#[test]
fn frames_that_were_not_written_are_first_in_the_next_take() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 3));
    queue.push(&chunk(3, 3));
    let taken = take(&queue);
    assert_eq!(numbers(&taken), [0, 1, 2, 3, 4, 5]);
    queue.push(&chunk(6, 1));
    taken.settle(Progress {
        frames: 4,
        bytes: 32,
        cut: true,
    });
    let ledger = queue.ledger();
    assert_eq!(
        (
            ledger.delivered,
            ledger.delivered_bytes,
            ledger.in_flight,
            ledger.queued
        ),
        (4, 32, 0, 3)
    );
    assert_eq!(numbers(&take(&queue)), [4, 5, 6]);
}

/// Returns a chunk that is so large that a batch contains no other chunk.
fn large(from: u32, frames: u32) -> Chunk {
    let mut wire = BytesMut::new();
    for number in from..from + frames {
        wire.put_u32(100_000);
        wire.put_u32(number);
        wire.put_bytes(0, 99_996);
    }
    Chunk::from_wire(wire.freeze()).expect("whole frames")
}

fn firsts(taken: &Taken) -> Vec<u32> {
    let frames = taken.chunks().flat_map(Chunk::frames);
    frames
        .map(|frame| u32::from_be_bytes(*frame.first_chunk().expect("a number")))
        .collect()
}

#[test]
fn several_flights_go_back_to_their_positions() {
    let queue = queue(Limits {
        bytes: 1 << 30,
        ..ROOMY
    });
    let begun = Instant::now();
    for from in [0, 3, 6, 9] {
        queue.push(&large(from, 3));
    }
    let [one, two, three] = [take(&queue), take(&queue), take(&queue)];
    assert_eq!(queue.ledger().in_flight, 9);
    let oldest = queue.oldest().expect("something is held");
    let received = |taken: &Taken| taken.chunks().next().expect("a chunk").received();
    assert_eq!(oldest, received(&one));
    assert!(oldest >= begun);
    drop(three);
    assert_eq!(queue.oldest(), Some(oldest));
    let wrote = |frames| Progress {
        frames,
        ..Progress::default()
    };
    let second = received(&two);
    one.settle(wrote(3));
    assert_eq!(queue.oldest(), Some(second));
    two.settle(wrote(1));
    let ledger = queue.ledger();
    assert_eq!(
        (ledger.delivered, ledger.in_flight, ledger.queued),
        (4, 0, 8)
    );
    assert!(ledger.balances());
    let [two, three] = [take(&queue), take(&queue)];
    assert_eq!((firsts(&two), firsts(&three)), (vec![4, 5], vec![6, 7, 8]));
    drop(two);
    drop(three);
    assert_eq!(
        firsts(&take(&queue)),
        [4, 5],
        "in the order of positions, not of return"
    );
}

#[test]
fn frames_that_come_back_wake_the_consumer() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 1));
    let taken = take(&queue);
    let mut next = tokio_test::task::spawn(std::future::poll_fn(|cx| queue.poll_take(cx)));
    assert!(next.poll().is_pending());
    drop(taken);
    assert!(next.is_woken());
    let Poll::Ready(Some(taken)) = next.poll() else {
        panic!("nothing came back");
    };
    assert!(next.poll().is_pending());
    queue.close();
    assert!(next.is_woken());
    assert!(
        next.poll().is_pending(),
        "the frame in flight may come back"
    );
    taken.settle(Progress {
        frames: 1,
        ..Progress::default()
    });
    assert!(next.is_woken());
    assert!(matches!(next.poll(), Poll::Ready(None)));
}

#[test]
fn a_frame_in_which_three_connections_died_is_dropped() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 3));
    let cut = Progress {
        cut: true,
        ..Progress::default()
    };
    for _ in 0..2 {
        let taken = take(&queue);
        assert_eq!(numbers(&taken), [0, 1, 2]);
        taken.settle(cut);
        // If a connection dies between two frames, this does not count against the next frame.
        take(&queue).settle(Progress::default());
    }
    take(&queue).settle(cut);
    assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 1);
    assert_eq!(numbers(&take(&queue)), [1, 2]);
    assert!(queue.ledger().balances());
}

#[test]
fn frames_that_others_write_do_not_reset_the_cuts_of_a_frame() {
    let queue = queue(Limits {
        bytes: 1 << 30,
        ..ROOMY
    });
    for from in [0, 3] {
        queue.push(&large(from, 3));
    }
    for round in 0..3 {
        queue.push(&large(6 + round * 3, 3));
        let (bad, other) = (take(&queue), take(&queue));
        assert_eq!(firsts(&bad)[0], 0);
        other.settle(Progress {
            frames: 3,
            ..Progress::default()
        });
        assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 0);
        bad.settle(Progress {
            cut: true,
            ..Progress::default()
        });
    }
    assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 1);
    assert_eq!(firsts(&take(&queue)), [1, 2]);
}

#[test]
fn a_panic_cuts_only_the_batch_that_is_being_written() {
    let queue = queue(Limits {
        bytes: 1 << 30,
        ..ROOMY
    });
    queue.push(&large(0, 3));
    queue.push(&large(3, 3));
    for _ in 0..3 {
        let (mut written, waiting) = (take(&queue), take(&queue));
        let fault = std::thread::spawn(move || {
            let _ = written.begin();
            let _both = (written, waiting);
            panic!("a fault, for the test");
        });
        assert!(fault.join().is_err());
    }
    assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 1);
    let (one, two) = (take(&queue), take(&queue));
    assert_eq!((firsts(&one), firsts(&two)), (vec![1, 2], vec![3, 4, 5]));
}

fn malformed(places: impl IntoIterator<Item = usize>) -> LeftOut {
    let mut left_out = LeftOut::default();
    for place in places {
        left_out.add(place, DropReason::Malformed);
    }
    left_out
}

#[test]
fn frames_that_the_sink_left_out_are_counted_at_their_place() {
    // The sink leaves out the frames 0, 2, 3 and 5. A frame that is left out counts as dropped if it is before the last
    // written frame or directly follows it.
    for (written, dropped, rest) in [(0, 1, &[1, 2, 3, 4, 5][..]), (1, 3, &[4, 5]), (2, 4, &[])] {
        let queue = queue(ROOMY);
        queue.push(&chunk(0, 3));
        queue.push(&chunk(3, 3));
        let mut taken = take(&queue);
        taken.leave_out(malformed([0, 2, 3, 5]));
        taken.settle(Progress {
            frames: written,
            ..Progress::default()
        });
        let ledger = queue.ledger();
        assert!(ledger.balances());
        assert_eq!(
            (ledger.delivered, ledger.dropped(DropReason::Malformed)),
            (written as u64, dropped)
        );
        if rest.is_empty() {
            assert_eq!(ledger.queued, 0);
        } else {
            assert_eq!(numbers(&take(&queue)), rest);
        }
    }
}

#[test]
fn a_closed_queue_ends_when_it_is_empty() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 1));
    queue.close();
    let taken = take(&queue);
    assert_eq!(numbers(&taken), [0]);
    assert!(
        poll(&queue).is_pending(),
        "the frame in flight may come back"
    );
    taken.settle(Progress {
        frames: 1,
        ..Progress::default()
    });
    assert!(matches!(poll(&queue), Poll::Ready(None)));
}

#[test]
fn an_abandoned_queue_wakes_its_consumer() {
    let queue = queue(ROOMY);
    let mut end = tokio_test::task::spawn(std::future::poll_fn(|cx| queue.poll_end(cx)));
    assert!(end.poll().is_pending());
    queue.abandon(DropReason::Shutdown);
    assert!(end.is_woken());
    assert!(end.poll().is_ready());
}

#[test]
fn an_abandoned_queue_counts_its_frames_and_later_ones_as_lost() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 2));
    let taken = take(&queue);
    queue.push(&chunk(2, 1));
    queue.abandon(DropReason::Shutdown);
    queue.push(&chunk(3, 4));
    let ledger = queue.ledger();
    assert_eq!(
        (ledger.dropped(DropReason::Shutdown), ledger.held_bytes),
        (7, 0)
    );
    assert!(ledger.balances());
    taken.settle(Progress {
        frames: 2,
        ..Progress::default()
    });
    assert_eq!(queue.ledger(), ledger, "a late settlement changes nothing");
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Take,
    /// Settles one of the batches in flight, after a share of its frames was written.
    Settle {
        which: prop::sample::Index,
        share: f64,
        malformed: bool,
        cut: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let settle = (
        any::<prop::sample::Index>(),
        prop_oneof![Just(0.0), 0.0..=1.0],
        any::<bool>(),
        any::<bool>(),
    );
    prop_oneof![
        3 => (1_u32..40).prop_map(Step::Push),
        3 => Just(Step::Take),
        2 => settle.prop_map(|(which, share, malformed, cut)| Step::Settle { which, share, malformed, cut }),
    ]
}

proptest! {
    /// With any number of batches in flight, four things hold: the ledger balances, frames are taken in the order of
    /// their arrival, no frame is in two batches, and every lost frame is counted.
    #[test]
    fn the_ledger_balances_and_the_order_is_kept(
        steps in prop::collection::vec(step(), 0..160),
        frames in 1_usize..100,
        bytes in 0_usize..4000,
    ) {
        let limits = Limits { frames, bytes };
        let queue = queue(limits);
        let mut next = 0;
        let mut waiting = BTreeSet::new();
        let mut in_flight: Vec<(Taken, VecDeque<u32>)> = Vec::new();
        let mut done = 0_u64;
        let (mut offered, mut before) = (0, Ledger::default());
        for step in steps {
            match step {
                Step::Push(frames) => {
                    queue.push(&chunk(next, frames));
                    let kept = queue.ledger().queued - before.queued;
                    let kept = u32::try_from(kept).expect("small");
                    waiting.extend(next..next + kept);
                    offered += u64::from(frames);
                    next += frames;
                }
                Step::Take => {
                    let Poll::Ready(Some(taken)) = poll(&queue) else {
                        prop_assert!(waiting.is_empty());
                        continue;
                    };
                    let taken_now = numbers(&taken);
                    for number in &taken_now {
                        prop_assert_eq!(waiting.pop_first(), Some(*number));
                    }
                    in_flight.push((taken, taken_now.into()));
                }
                Step::Settle { which, share, malformed, cut } => {
                    if in_flight.is_empty() {
                        continue;
                    }
                    let (mut taken, mut numbers) = in_flight.swap_remove(which.index(in_flight.len()));
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                    let out = (numbers.len() as f64 * share) as usize;
                    let bad = usize::from(malformed && out > 0);
                    let cut = cut && out < numbers.len();
                    // Leaves out the last of the `out` frames of the batch.
                    taken.leave_out(self::malformed((bad > 0).then(|| out - 1)));
                    taken.settle(Progress { frames: out - bad, bytes: 0, cut });
                    numbers.drain(..out);
                    let given_up = queue.ledger().dropped(DropReason::Disconnected) - before.dropped(DropReason::Disconnected);
                    prop_assert!(given_up == 0 || cut && given_up == 1);
                    numbers.drain(..usize::try_from(given_up).expect("small"));
                    done += out as u64 + given_up;
                    waiting.extend(numbers);
                }
            }
            let ledger = queue.ledger();
            prop_assert!(ledger.balances(), "{:?}", ledger);
            prop_assert_eq!(ledger.offered, offered);
            prop_assert_eq!(ledger.queued, waiting.len() as u64);
            prop_assert_eq!(ledger.in_flight, in_flight.iter().map(|(_, numbers)| numbers.len() as u64).sum::<u64>());
            prop_assert!(ledger.queued + ledger.in_flight <= limits.frames as u64);
            prop_assert!(ledger.held_bytes <= limits.bytes as u64);
            prop_assert_eq!(ledger.offered - ledger.dropped(DropReason::QueueFull), done + ledger.queued + ledger.in_flight);
            let held = ledger.queued + ledger.in_flight > 0;
            prop_assert_eq!(queue.oldest().is_some(), held);
            before = ledger;
        }
        drop(in_flight);
        let ledger = queue.ledger();
        prop_assert!(ledger.balances() && ledger.in_flight == 0);
    }
}
