//! The queue against a model of it, and its corners. Here and not in `queue.rs`, which is also compiled with loom.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::{DropReason, Ledger, Limits, Progress, Queue};
use crate::frame_stream::{Batch, Chunk};

const ROOMY: Limits = Limits {
    frames: 1000,
    bytes: 1 << 20,
};

/// A chunk of frames with four bytes of payload: the numbers `from..from + frames`.
fn chunk(from: u32, frames: u32) -> Chunk {
    let mut wire = BytesMut::new();
    let mut ends = Vec::new();
    for number in from..from + frames {
        wire.put_u32(4);
        wire.put_u32(number);
        ends.push(u32::try_from(wire.len()).expect("small"));
    }
    Chunk::new(wire.freeze(), ends.into(), Instant::now())
}

fn numbers(batch: &Batch) -> Vec<u32> {
    let number = |frame: &[u8]| u32::from_be_bytes(frame.try_into().expect("four bytes"));
    batch
        .iter()
        .flat_map(|chunk| chunk.frames().map(number).collect::<Vec<_>>())
        .collect()
}

fn take(queue: &Queue) -> Poll<Option<Batch>> {
    queue.poll_take(&mut Context::from_waker(Waker::noop()))
}

fn taken(queue: &Queue) -> Vec<u32> {
    match take(queue) {
        Poll::Ready(Some(batch)) => numbers(&batch),
        other => panic!("nothing to take: {other:?}"),
    }
}

#[test]
fn a_full_queue_keeps_the_oldest_and_counts_the_newest() {
    let queue = Queue::new(Limits { frames: 5, ..ROOMY });
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
    assert_eq!(taken(&queue), [0, 1, 2, 3, 4]);
    queue.push(&chunk(8, 1));
    assert_eq!(
        queue.ledger().dropped(DropReason::QueueFull),
        4,
        "what is in flight counts against the bound"
    );
}

#[test]
fn a_queue_that_shrinks_keeps_what_it_holds() {
    let queue = Queue::new(ROOMY);
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
    assert_eq!(taken(&queue), [0, 1, 2, 3, 4, 6]);
}

#[test]
fn the_bound_in_bytes_is_kept_to_the_byte() {
    let footprint = chunk(0, 2).footprint();
    let queue = Queue::new(Limits {
        bytes: footprint * 2,
        ..ROOMY
    });
    for from in [0, 2, 4] {
        queue.push(&chunk(from, 2));
    }
    assert_eq!(queue.ledger().held_bytes, footprint as u64 * 2);
    assert_eq!(queue.ledger().dropped(DropReason::QueueFull), 2);
    let _ = taken(&queue);
    queue.settle(Progress {
        frames: 4,
        ..Progress::default()
    });
    assert_eq!(queue.ledger().held_bytes, 0);
}

#[test]
fn what_was_not_written_whole_goes_out_first_the_next_time() {
    let queue = Queue::new(ROOMY);
    queue.push(&chunk(0, 3));
    queue.push(&chunk(3, 3));
    assert_eq!(taken(&queue), [0, 1, 2, 3, 4, 5]);
    queue.push(&chunk(6, 1));
    queue.settle(Progress {
        frames: 4,
        bytes: 32,
        malformed: 0,
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
    assert_eq!(taken(&queue), [4, 5, 6]);
}

#[test]
fn a_frame_that_three_connections_died_in_is_given_up() {
    let queue = Queue::new(ROOMY);
    queue.push(&chunk(0, 3));
    let cut = Progress {
        cut: true,
        ..Progress::default()
    };
    for _ in 0..2 {
        assert_eq!(taken(&queue), [0, 1, 2]);
        queue.settle(cut);
        // A connection that dies before it takes anything says nothing about the frame.
        assert_eq!(taken(&queue), [0, 1, 2]);
        queue.settle(Progress::default());
    }
    assert_eq!(taken(&queue), [0, 1, 2]);
    queue.settle(cut);
    assert_eq!(queue.ledger().dropped(DropReason::Disconnected), 1);
    assert_eq!(taken(&queue), [1, 2]);
    assert!(queue.ledger().balances());
}

#[test]
fn malformed_frames_are_passed_over_and_counted() {
    let queue = Queue::new(ROOMY);
    queue.push(&chunk(0, 3));
    let _ = taken(&queue);
    queue.settle(Progress {
        frames: 1,
        bytes: 8,
        malformed: 1,
        cut: false,
    });
    let ledger = queue.ledger();
    assert_eq!(
        (
            ledger.delivered,
            ledger.dropped(DropReason::Malformed),
            ledger.queued
        ),
        (1, 1, 1)
    );
    assert_eq!(taken(&queue), [2]);
}

#[test]
fn a_closed_queue_ends_when_it_is_empty() {
    let queue = Queue::new(ROOMY);
    queue.push(&chunk(0, 1));
    queue.close();
    assert_eq!(taken(&queue), [0]);
    assert!(take(&queue).is_pending(), "what is in flight may come back");
    queue.settle(Progress {
        frames: 1,
        ..Progress::default()
    });
    assert!(matches!(take(&queue), Poll::Ready(None)));
}

#[test]
fn an_abandoned_queue_wakes_its_consumer() {
    let queue = Queue::new(ROOMY);
    let mut end = tokio_test::task::spawn(std::future::poll_fn(|cx| queue.poll_end(cx)));
    assert!(end.poll().is_pending());
    queue.abandon();
    assert!(end.is_woken());
    assert!(end.poll().is_ready());
}

#[test]
fn an_abandoned_queue_counts_what_it_held_and_what_still_comes() {
    let queue = Queue::new(ROOMY);
    queue.push(&chunk(0, 2));
    let _ = taken(&queue);
    queue.push(&chunk(2, 1));
    queue.abandon();
    queue.push(&chunk(3, 4));
    let ledger = queue.ledger();
    assert_eq!(
        (ledger.dropped(DropReason::Shutdown), ledger.held_bytes),
        (7, 0)
    );
    assert!(ledger.balances());
    queue.settle(Progress {
        frames: 2,
        ..Progress::default()
    });
    assert_eq!(queue.ledger(), ledger, "a late settlement changes nothing");
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Take,
    Settle {
        share: f64,
        malformed: bool,
        cut: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u32..40).prop_map(Step::Push),
        2 => Just(Step::Take),
        2 => (0.0..=1.0, any::<bool>(), any::<bool>())
            .prop_map(|(share, malformed, cut)| Step::Settle { share, malformed, cut }),
    ]
}

proptest! {
    /// Whatever happens: the ledger adds up, frames leave in the order in which they came, none twice, and none is
    /// lost that no counter tells of.
    #[test]
    fn the_ledger_adds_up_and_order_is_kept(
        steps in prop::collection::vec(step(), 0..120),
        frames in 1_usize..100,
        bytes in 0_usize..4000,
    ) {
        let limits = Limits { frames, bytes };
        let queue = Queue::new(limits);
        let mut next = 0;
        let mut waiting = VecDeque::new();
        let mut in_flight = VecDeque::new();
        let mut done = 0_u64;
        let (mut expected, mut before) = (Ledger::default(), Ledger::default());
        for step in steps {
            match step {
                Step::Push(frames) => {
                    queue.push(&chunk(next, frames));
                    let kept = queue.ledger().queued - before.queued;
                    let kept = u32::try_from(kept).expect("small");
                    waiting.extend(next..next + kept);
                    expected.offered += u64::from(frames);
                    next += frames;
                }
                Step::Take if in_flight.is_empty() => {
                    let Poll::Ready(Some(batch)) = take(&queue) else {
                        prop_assert!(waiting.is_empty());
                        continue;
                    };
                    in_flight.extend(numbers(&batch));
                    let head: VecDeque<_> = waiting.drain(..in_flight.len()).collect();
                    prop_assert_eq!(&in_flight, &head);
                }
                Step::Take => {}
                Step::Settle { share, malformed, cut } => {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                    let out = (in_flight.len() as f64 * share) as usize;
                    let malformed = usize::from(malformed && out > 0);
                    let cut = cut && out < in_flight.len();
                    queue.settle(Progress { frames: out - malformed, bytes: 0, malformed, cut });
                    in_flight.drain(..out);
                    let given_up = queue.ledger().dropped(DropReason::Disconnected) - before.dropped(DropReason::Disconnected);
                    prop_assert!(given_up == 0 || cut && out == 0);
                    in_flight.drain(..usize::try_from(given_up).expect("small"));
                    done += out as u64 + given_up;
                    for number in in_flight.drain(..).rev() {
                        waiting.push_front(number);
                    }
                }
            }
            let ledger = queue.ledger();
            prop_assert!(ledger.balances(), "{:?}", ledger);
            prop_assert_eq!(ledger.offered, expected.offered);
            prop_assert_eq!(ledger.queued, waiting.len() as u64);
            prop_assert_eq!(ledger.in_flight, in_flight.len() as u64);
            prop_assert!(ledger.queued + ledger.in_flight <= limits.frames as u64);
            prop_assert!(ledger.held_bytes <= limits.bytes as u64);
            prop_assert_eq!(ledger.offered - ledger.dropped(DropReason::QueueFull), done + ledger.queued + ledger.in_flight);
            before = ledger;
        }
    }
}
