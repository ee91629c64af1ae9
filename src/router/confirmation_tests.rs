//! Tests of frames that wait for a confirmation.

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use tokio_test::task::spawn;

use super::{DropReason, LeftOut, Limits, Progress, Queue, Taken, Written};
use crate::frame_stream::Chunk;

const ROOMY: Limits = Limits {
    frames: 1000,
    bytes: 1 << 20,
};

/// Returns a chunk of frames with consecutive numbers. Each frame has eight bytes on the wire.
fn chunk(first: u32, frames: u32) -> Chunk {
    let mut wire = BytesMut::new();
    for number in first..first + frames {
        wire.put_u32(4);
        wire.put_u32(number);
    }
    Chunk::from_wire(wire.freeze()).expect("whole frames")
}

fn queue(limits: Limits) -> Arc<Queue> {
    Arc::new(Queue::new(limits))
}

fn poll(queue: &Arc<Queue>) -> Option<Taken> {
    let mut cx = Context::from_waker(Waker::noop());
    match queue.poll_take(&mut cx) {
        Poll::Ready(taken) => taken,
        Poll::Pending => None,
    }
}

fn numbers(taken: &Taken) -> Vec<u32> {
    let frames = taken.chunks().flat_map(Chunk::frames);
    frames
        .map(|frame| u32::from_be_bytes(frame.try_into().expect("four bytes")))
        .collect()
}

fn written(frames: usize) -> Progress {
    Progress {
        frames,
        bytes: 8 * frames as u64,
        cut: false,
    }
}

#[test]
fn frames_are_delivered_when_they_are_confirmed() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 3));
    queue.push(&chunk(3, 2));
    let mut waiting = poll(&queue).expect("frames").settle_unconfirmed(written(4));
    let ledger = queue.ledger();
    assert!(ledger.balances());
    assert_eq!(
        (ledger.unconfirmed, ledger.delivered, ledger.queued),
        (4, 0, 1)
    );
    waiting.confirm(2, 16);
    let ledger = queue.ledger();
    assert_eq!(
        (ledger.unconfirmed, ledger.delivered, ledger.delivered_bytes),
        (2, 2, 16)
    );
    // The connection ends, so its unconfirmed frames are in the queue again, in their old order.
    drop(waiting);
    let again = poll(&queue).expect("frames");
    assert_eq!(numbers(&again), [2, 3, 4]);
    assert_eq!(queue.ledger().resent, 0, "not sent yet");
    again.settle(written(3));
    let ledger = queue.ledger();
    assert!(ledger.balances());
    assert_eq!(
        (ledger.resent, ledger.delivered, ledger.held_bytes),
        (2, 5, 0)
    );
}

#[test]
fn the_age_of_the_oldest_unconfirmed_frame_is_known() {
    let queue = queue(ROOMY);
    let mut pushed = Vec::new();
    for first in [0, 2, 4] {
        let chunk = chunk(first, 2);
        pushed.push(chunk.received());
        queue.push(&chunk);
    }
    assert_eq!(queue.oldest_unconfirmed(), None);
    let mut first = poll(&queue).expect("frames").settle_unconfirmed(written(6));
    queue.push(&chunk(6, 1));
    let second = poll(&queue).expect("frames").settle_unconfirmed(written(1));
    assert_eq!(queue.oldest_unconfirmed(), Some(pushed[0]));
    first.confirm(1, 8);
    assert_eq!(queue.oldest_unconfirmed(), Some(pushed[0]));
    first.confirm(2, 16);
    assert_eq!(queue.oldest_unconfirmed(), Some(pushed[1]));
    drop(first);
    assert!(queue.oldest_unconfirmed() > Some(pushed[2]));
    assert_eq!(queue.oldest(), Some(pushed[1]));
    drop(second);
    assert_eq!(queue.oldest_unconfirmed(), None);
    let again = poll(&queue).expect("frames").settle_unconfirmed(written(4));
    assert_eq!(queue.oldest_unconfirmed(), Some(pushed[1]));
    queue.abandon(DropReason::Shutdown);
    assert_eq!(queue.oldest_unconfirmed(), None);
    drop(again);
    assert_eq!(queue.oldest_unconfirmed(), None);
}

#[test]
fn the_consumer_can_wait_until_nothing_is_in_flight_or_unconfirmed() {
    let queue = queue(ROOMY);
    let mut settled = spawn(poll_fn(|cx| queue.poll_settled(cx)));
    assert!(settled.poll().is_ready());
    queue.push(&chunk(0, 3));
    let taken = poll(&queue).expect("frames");
    let mut settled = spawn(poll_fn(|cx| queue.poll_settled(cx)));
    assert!(settled.poll().is_pending());
    let waiting = taken.settle_unconfirmed(written(3));
    assert!(settled.poll().is_pending());
    drop(waiting);
    assert!(settled.is_woken() && settled.poll().is_ready());
    assert_eq!(queue.ledger().queued, 3);
    // A confirmation ends the wait, too.
    let mut waiting = poll(&queue).expect("frames").settle_unconfirmed(written(3));
    let mut settled = spawn(poll_fn(|cx| queue.poll_settled(cx)));
    assert!(settled.poll().is_pending());
    waiting.confirm(3, 24);
    assert!(settled.is_woken() && settled.poll().is_ready());
}

#[test]
fn unconfirmed_frames_leave_the_room_of_the_queue_to_new_ones() {
    let queue = queue(Limits {
        frames: 4,
        bytes: 1 << 20,
    });
    queue.push(&chunk(0, 4));
    let waiting = poll(&queue).expect("frames").settle_unconfirmed(written(4));
    queue.push(&chunk(4, 4));
    assert_eq!(queue.ledger().dropped_total(), 0);
    // The frames that return to the queue may exceed its bounds. The queue keeps them all: they are its oldest frames,
    // and only newer frames are dropped to make room.
    drop(waiting);
    let ledger = queue.ledger();
    assert_eq!((ledger.queued, ledger.dropped_total()), (8, 0));
    queue.push(&chunk(8, 1));
    assert_eq!(queue.ledger().dropped(DropReason::QueueFull), 1);
    let mut all = Vec::new();
    while let Some(taken) = poll(&queue) {
        let frames = numbers(&taken);
        taken.settle(written(frames.len()));
        all.extend(frames);
    }
    assert_eq!(all, (0..8).collect::<Vec<_>>());
}

#[test]
fn frames_that_the_sink_left_out_need_no_confirmation() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 5));
    let mut taken = poll(&queue).expect("frames");
    let mut left_out = LeftOut::default();
    left_out.add(1, DropReason::Malformed);
    left_out.add(2, DropReason::Malformed);
    taken.leave_out(left_out);
    let mut waiting = taken.settle_unconfirmed(written(2));
    let ledger = queue.ledger();
    assert_eq!(
        (ledger.unconfirmed, ledger.dropped(DropReason::Malformed)),
        (2, 2)
    );
    waiting.confirm(1, 8);
    drop(waiting);
    assert_eq!(numbers(&poll(&queue).expect("frames")), [3, 4]);
}

#[test]
fn a_queue_that_ends_counts_unconfirmed_frames_as_such() {
    let queue = queue(ROOMY);
    queue.push(&chunk(0, 3));
    let mut waiting = poll(&queue).expect("frames").settle_unconfirmed(written(2));
    queue.close();
    assert!(!queue.is_finished());
    queue.abandon(DropReason::Shutdown);
    waiting.confirm(1, 8);
    drop(waiting);
    let ledger = queue.ledger();
    assert!(ledger.balances());
    assert_eq!(
        (
            ledger.dropped(DropReason::Unconfirmed),
            ledger.dropped(DropReason::Shutdown),
            ledger.unconfirmed
        ),
        (2, 1, 0)
    );
    assert!(queue.is_finished());
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Take,
    /// Writes a share of a batch.
    Write(prop::sample::Index, f64),
    /// Confirms a share of the frames of a batch.
    Confirm(prop::sample::Index, f64),
    /// Ends the connection of a batch.
    Lose(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        3 => (1_u32..40).prop_map(Step::Push),
        3 => Just(Step::Take),
        2 => (which(), 0.0..=1.0).prop_map(|(which, share)| Step::Write(which, share)),
        2 => (which(), 0.0..=1.0).prop_map(|(which, share)| Step::Confirm(which, share)),
        1 => which().prop_map(Step::Lose),
    ]
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn part(whole: usize, share: f64) -> usize {
    (whole as f64 * share) as usize
}

proptest! {
    /// With any number of batches that are in flight or unconfirmed, three things hold: the ledger balances, each batch
    /// contains the oldest waiting frames, and no frame is confirmed twice.
    #[test]
    fn every_frame_is_confirmed_once(steps in prop::collection::vec(step(), 0..160)) {
        let queue = queue(ROOMY);
        let mut next = 0;
        let mut waiting = BTreeSet::new();
        let mut in_flight: Vec<(Taken, VecDeque<u32>)> = Vec::new();
        let mut unconfirmed: Vec<(Written, VecDeque<u32>)> = Vec::new();
        let mut sent = BTreeSet::new();
        let mut confirmed = BTreeSet::new();
        let mut resent = 0;
        for step in steps {
            match step {
                Step::Push(frames) => {
                    let before = queue.ledger().queued;
                    queue.push(&chunk(next, frames));
                    let kept = u32::try_from(queue.ledger().queued - before).expect("few");
                    waiting.extend(next..next + kept);
                    next += frames;
                }
                Step::Take => {
                    let Some(taken) = poll(&queue) else {
                        prop_assert!(waiting.is_empty());
                        continue;
                    };
                    let numbers = numbers(&taken);
                    for number in &numbers {
                        prop_assert_eq!(waiting.pop_first(), Some(*number));
                    }
                    in_flight.push((taken, numbers.into()));
                }
                Step::Write(which, share) if !in_flight.is_empty() => {
                    let (taken, mut numbers) = in_flight.swap_remove(which.index(in_flight.len()));
                    let out = part(numbers.len(), share);
                    let receipt = taken.settle_unconfirmed(written(out));
                    let now: VecDeque<u32> = numbers.drain(..out).collect();
                    resent += now.iter().filter(|number| !sent.insert(**number)).count() as u64;
                    waiting.extend(numbers);
                    unconfirmed.push((receipt, now));
                }
                Step::Confirm(which, share) if !unconfirmed.is_empty() => {
                    let which = which.index(unconfirmed.len());
                    let (receipt, numbers) = &mut unconfirmed[which];
                    let out = part(numbers.len(), share);
                    receipt.confirm(out, 8 * out as u64);
                    for number in numbers.drain(..out) {
                        prop_assert!(confirmed.insert(number), "{} twice", number);
                    }
                }
                Step::Lose(which) if !unconfirmed.is_empty() => {
                    let (receipt, numbers) = unconfirmed.swap_remove(which.index(unconfirmed.len()));
                    drop(receipt);
                    waiting.extend(numbers);
                }
                _ => {}
            }
            let ledger = queue.ledger();
            let in_all = |batches: usize| batches as u64;
            prop_assert!(ledger.balances(), "{:?}", ledger);
            prop_assert_eq!(ledger.queued, in_all(waiting.len()));
            prop_assert_eq!(ledger.unconfirmed, in_all(unconfirmed.iter().map(|(_, numbers)| numbers.len()).sum()));
            prop_assert_eq!(ledger.delivered, in_all(confirmed.len()));
            prop_assert_eq!(ledger.delivered_bytes, 8 * ledger.delivered);
            prop_assert_eq!(ledger.resent, resent);
            prop_assert_eq!(ledger.held_bytes == 0, ledger.queued + ledger.in_flight + ledger.unconfirmed == 0);
        }
        drop((in_flight, unconfirmed));
        let ledger = queue.ledger();
        prop_assert!(ledger.balances() && ledger.in_flight == 0 && ledger.unconfirmed == 0);
    }
}

#[test]
fn returned_frames_take_no_room_from_new_ones() {
    let queue = queue(Limits {
        frames: 10,
        bytes: 1 << 20,
    });
    queue.push(&chunk(0, 10));
    drop(
        poll(&queue)
            .expect("frames")
            .settle_unconfirmed(written(10)),
    );
    queue.push(&chunk(10, 10));
    let ledger = queue.ledger();
    assert_eq!((ledger.queued, ledger.dropped_total()), (20, 0));
    queue.push(&chunk(20, 1));
    assert_eq!(queue.ledger().dropped(DropReason::QueueFull), 1);
    // If the queue ends now, it loses new frames, and frames that may have arrived at the collector.
    queue.abandon(DropReason::Shutdown);
    let ledger = queue.ledger();
    assert_eq!(
        (
            ledger.dropped(DropReason::Shutdown),
            ledger.dropped(DropReason::Unconfirmed)
        ),
        (10, 10)
    );
}
