//! Tests of a queue with a spool, by example and against a model. The disk is a list of frames.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::{
    DropReason, Limits, Progress, Queue, Taken, Written,
    spooled::Writes,
    spooling::{Read, Turn, Wants, Work},
    watch::{LONGEST, PATIENCE, STEADY},
};
use crate::frame_stream::Chunk;

const LIMITS: Limits = Limits {
    frames: 40,
    bytes: 1 << 20,
};

const ALL: Wants = Wants {
    done: true,
    reads: true,
};

/// Returns the frames `from..from + frames`. The payload of each frame is its number, in four bytes.
fn chunk(from: u32, frames: u32) -> Chunk {
    chunk_of(from..from + frames)
}

fn chunk_of(numbers: impl IntoIterator<Item = u32>) -> Chunk {
    let mut wire = BytesMut::new();
    for number in numbers {
        wire.put_u32(4);
        wire.put_u32(number);
    }
    Chunk::from_wire(wire.freeze()).expect("whole frames")
}

fn numbers<'a>(chunks: impl IntoIterator<Item = &'a Chunk>) -> Vec<u32> {
    let frames = chunks.into_iter().flat_map(Chunk::frames);
    frames
        .map(|frame| u32::from_be_bytes(frame.try_into().expect("four bytes")))
        .collect()
}

fn spooled(limits: Limits, found: std::ops::Range<u64>) -> Arc<Queue> {
    Arc::new(Queue::with_spool(limits, Arc::default(), found))
}

fn poll(queue: &Arc<Queue>) -> Option<Taken> {
    let mut cx = Context::from_waker(Waker::noop());
    match queue.poll_take(&mut cx) {
        Poll::Ready(taken) => taken,
        Poll::Pending => None,
    }
}

fn take(queue: &Arc<Queue>) -> Vec<u32> {
    let taken = poll(queue).expect("frames");
    let frames = numbers(taken.chunks());
    taken.settle(Progress {
        frames: frames.len(),
        ..Progress::default()
    });
    frames
}

fn work(queue: &Arc<Queue>) -> Option<Work> {
    let cx = Context::from_waker(Waker::noop());
    // At this time, every frame is old enough to be written.
    match queue.spool_turn(&cx, ALL, Instant::now() + Duration::from_secs(60)) {
        Turn::Work(work) => Some(work),
        Turn::Wait(_) => None,
    }
}

/// A queue, and the disk of its spool: the payload of each frame.
struct Bench {
    queue: Arc<Queue>,
    disk: Vec<u32>,
}

impl Bench {
    fn new() -> Self {
        Self {
            queue: spooled(LIMITS, 0..0),
            disk: Vec::new(),
        }
    }

    /// Writes at most `at_most` waiting chunks to the disk.
    fn write(&mut self, at_most: usize) {
        drop(self.begin_write(at_most));
    }

    /// Writes chunks like [`write`](Self::write). For the queue, the write ends when the result is dropped.
    fn begin_write(&mut self, at_most: usize) -> Option<Work> {
        let mut work = work(&self.queue)?;
        self.write_some(&mut work, at_most);
        Some(work)
    }

    fn write_some(&mut self, work: &mut Work, at_most: usize) {
        for _ in 0..at_most {
            let Some(frames) = work.unspooled.next().map(|chunk| numbers([chunk])) else {
                break;
            };
            work.unspooled.mark_written(self.disk.len() as u64);
            self.disk.extend(frames);
        }
    }

    /// Writes chunks like [`write`](Self::write), but first divides the first chunk until it has a single frame. Drops
    /// this frame unless it `fits`.
    fn write_divided(&mut self, at_most: usize, fits: bool) {
        let Some(mut work) = work(&self.queue) else {
            return;
        };
        while work.unspooled.divide_next() {}
        if !fits {
            work.unspooled.drop_next(DropReason::QueueFull);
        }
        self.write_some(&mut work, at_most);
    }

    /// Reads at most `at_most` frames. The `lost` frames before them are lost.
    fn read(&mut self, lost: usize, at_most: usize) {
        let Some(from) = work(&self.queue).and_then(|work| work.read_from) else {
            return;
        };
        let first = self
            .disk
            .len()
            .min(usize::try_from(from).expect("few") + lost);
        let end = self.disk.len().min(first + at_most);
        let read = chunk_of(self.disk[first..end].iter().copied());
        let read = Read {
            number: first as u64,
            chunk: (!read.is_empty()).then_some(read),
            expired: 0,
            lost: DropReason::SpoolCorrupt,
        };
        self.queue.have_read(from, read);
    }
}

#[test]
fn a_frame_is_sent_only_when_it_is_on_the_disk() {
    let mut bench = Bench::new();
    bench.queue.push(&chunk(0, 3));
    assert!(poll(&bench.queue).is_none());
    bench.write(9);
    assert_eq!(take(&bench.queue), [0, 1, 2]);
    assert!(bench.queue.ledger().balances());
    assert_eq!(bench.queue.spool_range(), 3..3);
}

#[test]
fn frames_beyond_the_memory_wait_on_the_disk_and_come_back_in_order() {
    let mut bench = Bench::new();
    for from in (0..200).step_by(5) {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    let ledger = bench.queue.ledger();
    assert_eq!((ledger.queued, ledger.dropped_total()), (200, 0));
    let counts = bench.queue.spool_counts().expect("a spool");
    assert_eq!((counts.frames, counts.only_on_disk), (200, 170));
    let mut sent = Vec::new();
    while bench.queue.ledger().queued > 0 {
        bench.read(0, 7);
        sent.extend(take(&bench.queue));
    }
    assert_eq!(sent, (0..200).collect::<Vec<_>>());
    assert_eq!(bench.queue.ledger().held_bytes, 0);
}

#[test]
fn a_full_memory_forgets_what_the_disk_has_and_loses_only_new_frames() {
    let mut bench = Bench::new();
    for from in [0, 5, 10, 15] {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    // The spool is full. The memory has room for 40 frames, and the oldest 5 frames stay in it.
    bench.queue.set_writes(Writes::Full);
    bench.queue.push(&chunk(20, 30));
    assert_eq!(bench.queue.ledger().dropped_total(), 0);
    bench.queue.push(&chunk(50, 20));
    let ledger = bench.queue.ledger();
    assert_eq!(ledger.dropped(DropReason::QueueFull), 15);
    bench.queue.evict(1 << 20);
    assert_eq!(bench.queue.ledger().dropped(DropReason::Memory), 35);
    let mut sent = take(&bench.queue);
    while bench.queue.ledger().queued > 0 {
        bench.read(0, 100);
        sent.extend(take(&bench.queue));
    }
    assert_eq!(sent, (0..20).collect::<Vec<_>>());
}

#[test]
fn while_the_disk_fails_new_frames_follow_those_on_the_disk() {
    let mut bench = Bench::new();
    for from in (0..50).step_by(5) {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    bench.queue.set_writes(Writes::Failing);
    bench.queue.push(&chunk(50, 5));
    let mut sent = Vec::new();
    while bench.queue.ledger().queued > 0 {
        bench.read(0, 100);
        sent.extend(take(&bench.queue));
    }
    bench.queue.push(&chunk(55, 5));
    let unsent = poll(&bench.queue).expect("from memory");
    assert_eq!(numbers(unsent.chunks()), (55..60).collect::<Vec<_>>());
    // The disk works again, and newer frames are written to it before the older frames return.
    bench.queue.set_writes(Writes::On);
    bench.queue.push(&chunk(60, 5));
    bench.write(9);
    drop(unsent);
    sent.extend(take(&bench.queue));
    assert_eq!(sent, (0..65).collect::<Vec<_>>());
    assert!(bench.queue.ledger().balances());
}

#[test]
fn frames_from_before_a_restart_are_offered_and_queued_and_come_first() {
    let queue = spooled(LIMITS, 7..10);
    let mut bench = Bench {
        queue,
        disk: (100..110).collect(),
    };
    let ledger = bench.queue.ledger();
    assert_eq!((ledger.offered, ledger.queued), (3, 3));
    bench.queue.push(&chunk(110, 1));
    bench.write(1);
    bench.read(0, 9);
    assert_eq!(take(&bench.queue), [107, 108, 109, 110]);
    assert_eq!(bench.queue.spool_range(), 11..11);
}

#[test]
fn an_abandoned_queue_keeps_what_is_on_the_disk() {
    let mut bench = Bench::new();
    for from in (0..50).step_by(5) {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    take(&bench.queue);
    bench.queue.push(&chunk(50, 4));
    bench.queue.abandon(DropReason::Shutdown);
    let ledger = bench.queue.ledger();
    assert!(ledger.balances());
    assert_eq!(ledger.dropped(DropReason::Shutdown), 4);
    assert_eq!(ledger.queued, 50 - ledger.delivered);
    assert_eq!((ledger.held_bytes, ledger.in_flight), (0, 0));
}

#[test]
fn frames_that_a_full_spool_gives_up_are_lost_only_if_they_are_not_in_memory() {
    let mut bench = Bench::new();
    for from in (0..100).step_by(5) {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    let in_memory = 100 - bench.queue.spool_counts().expect("a spool").only_on_disk;
    let lost = bench.queue.raise_floor(60, DropReason::SpoolOldest);
    assert_eq!(lost, 60 - in_memory);
    let ledger = bench.queue.ledger();
    assert_eq!(ledger.dropped(DropReason::SpoolOldest), lost);
    assert!(ledger.balances());
    // Frames that are no longer on the disk stay in memory.
    bench.queue.evict(1 << 20);
    assert_eq!(take(&bench.queue).len() as u64, in_memory);
    bench.queue.abandon(DropReason::Shutdown);
    assert_eq!(bench.queue.ledger().queued, 40);
}

#[test]
fn frames_that_return_unconfirmed_and_are_forgotten_count_as_sent_again() {
    let mut bench = Bench::new();
    bench.queue.push(&chunk(0, 5));
    bench.queue.push(&chunk(5, 5));
    bench.write(9);
    let taken = poll(&bench.queue).expect("frames");
    let written = taken.settle_unconfirmed(Progress {
        frames: 10,
        ..Progress::default()
    });
    for from in (10..60).step_by(5) {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    drop(written);
    bench.queue.push(&chunk(60, 20));
    bench.queue.evict(1 << 20);
    let mut sent = Vec::new();
    while bench.queue.ledger().queued > 0 {
        bench.read(0, 100);
        sent.extend(take(&bench.queue));
    }
    assert_eq!(sent, (0..60).collect::<Vec<_>>());
    assert_eq!(bench.queue.ledger().resent, 10);
}

/// Returns a queue with one chunk in flight that was taken before it was on the disk.
fn with_frames_in_flight() -> (Bench, Taken) {
    let bench = Bench::new();
    bench.queue.set_direct(true);
    bench.queue.push(&chunk(0, 5));
    let taken = poll(&bench.queue).expect("frames that are not on the disk");
    (bench, taken)
}

fn delivers(frames: usize) -> Progress {
    Progress {
        frames,
        ..Progress::default()
    }
}

#[test]
fn frames_that_are_delivered_soon_are_never_on_the_disk() {
    let (mut bench, taken) = with_frames_in_flight();
    taken.settle(delivers(5));
    bench.write(9);
    assert_eq!((bench.disk.len(), bench.queue.spool_range()), (0, 0..0));
    assert_eq!(bench.queue.ledger().delivered, 5);
}

#[test]
fn frames_in_flight_that_take_long_are_written_once() {
    let (mut bench, taken) = with_frames_in_flight();
    bench.queue.push(&chunk(5, 5));
    bench.write(9);
    bench.write(9);
    assert_eq!(bench.disk, (0..10).collect::<Vec<_>>());
    taken.settle(delivers(3));
    assert_eq!(bench.queue.spool_range(), 3..10);
    assert_eq!(take(&bench.queue), (3..10).collect::<Vec<_>>());
    assert_eq!(bench.queue.spool_range(), 10..10);
}

#[test]
fn frames_in_flight_that_the_disk_cannot_take_are_tried_again_when_they_return() {
    let (mut bench, taken) = with_frames_in_flight();
    let mut refused = work(&bench.queue).expect("frames in flight");
    refused.unspooled.drop_next(DropReason::QueueFull);
    drop(refused);
    assert!(work(&bench.queue).is_none(), "they are in flight");
    taken.settle(delivers(3));
    bench.write(9);
    assert_eq!(bench.disk, [3, 4]);
    assert_eq!(bench.queue.ledger().dropped_total(), 0);
}

#[test]
fn frames_that_are_confirmed_soon_are_never_on_the_disk() {
    let (mut bench, taken) = with_frames_in_flight();
    let mut written = taken.settle_unconfirmed(delivers(5));
    written.confirm(2, 0);
    // Those that are not confirmed are written.
    bench.write(9);
    assert_eq!(bench.disk, [2, 3, 4]);
    written.confirm(1, 0);
    assert_eq!(bench.queue.spool_range(), 1..3);
    drop(written);
    assert_eq!(take(&bench.queue), [3, 4]);
    assert_eq!(bench.queue.spool_range(), 3..3);
    let ledger = bench.queue.ledger();
    assert_eq!((ledger.delivered, ledger.resent), (5, 2));
}

#[test]
fn frames_that_are_confirmed_while_they_are_written_are_done() {
    let (mut bench, taken) = with_frames_in_flight();
    let mut written = taken.settle_unconfirmed(delivers(5));
    let writing = bench.begin_write(9);
    written.confirm(2, 0);
    drop(writing);
    assert_eq!(bench.queue.spool_range(), 2..5);
    written.confirm(3, 0);
    assert_eq!(bench.queue.spool_range(), 5..5);
}

#[test]
fn a_chunk_in_flight_that_is_too_long_is_written_in_parts() {
    let (mut bench, taken) = with_frames_in_flight();
    bench.write_divided(9, false);
    assert_eq!(bench.disk, [1, 2, 3, 4]);
    drop(taken);
    // The first frame, which does not fit, comes from memory.
    assert_eq!(take(&bench.queue), [0, 1, 2, 3, 4]);
    assert_eq!(bench.queue.spool_range(), 4..4);
}

#[test]
fn frames_that_are_settled_while_they_are_written_are_done_or_wait_on_the_disk() {
    let (mut bench, taken) = with_frames_in_flight();
    let writing = bench.begin_write(9);
    taken.settle(delivers(3));
    // The other frames wait for the end of the write, because they must not be written again.
    assert!(poll(&bench.queue).is_none());
    drop(writing);
    assert_eq!(bench.queue.spool_range(), 3..5);
    bench.write(9);
    assert_eq!(bench.disk.len(), 5);
    assert_eq!(take(&bench.queue), [3, 4]);
}

#[test]
fn an_abandoned_queue_keeps_frames_in_flight_that_are_on_the_disk() {
    let (mut bench, taken) = with_frames_in_flight();
    bench.write(9);
    bench.queue.push(&chunk(5, 5));
    bench.queue.abandon(DropReason::Shutdown);
    drop(taken);
    let ledger = bench.queue.ledger();
    assert_eq!(
        (ledger.queued, ledger.dropped(DropReason::Shutdown)),
        (5, 5)
    );
    assert!(ledger.balances());
}

#[test]
fn the_thread_is_patient_only_while_few_frames_wait() {
    let bench = Bench::new();
    bench.queue.set_direct(true);
    let cx = Context::from_waker(Waker::noop());
    let waits_until = |now| match bench.queue.spool_turn(&cx, ALL, now) {
        Turn::Wait(until) => until,
        Turn::Work(work) => panic!("{work:?}"),
    };
    let first = chunk(0, 5);
    let received = first.received();
    assert_eq!(waits_until(received), None);
    bench.queue.push(&first);
    assert_eq!(waits_until(received), Some(received + PATIENCE));
    // The sink takes every frame at once. As long as frames come, the thread looks again.
    take(&bench.queue);
    bench.queue.push(&chunk(5, 5));
    take(&bench.queue);
    assert_eq!(waits_until(received), Some(received + STEADY));
    assert_eq!(waits_until(received + STEADY), None);
    // A sink that delivers frames gets more time than one that does not.
    let late = |at| {
        bench.queue.push(&chunk(10, 5).received_at(at));
        take(&bench.queue);
        bench.queue.push(&chunk(10, 5).received_at(at));
    };
    let later = received + LONGEST;
    late(received + STEADY);
    assert_eq!(waits_until(later), Some(later + STEADY));
    let turn = bench.queue.spool_turn(&cx, ALL, later + STEADY);
    assert!(matches!(turn, Turn::Work(work) if !work.unspooled.is_empty()));
    late(received);
    let turn = bench.queue.spool_turn(&cx, ALL, later);
    assert!(matches!(turn, Turn::Work(work) if !work.unspooled.is_empty()));
    bench.queue.push(&chunk(15, 26));
    let turn = bench.queue.spool_turn(&cx, ALL, received);
    assert!(matches!(turn, Turn::Work(work) if !work.unspooled.is_empty()));
}

#[test]
fn a_steady_sink_may_pause_for_longer_than_the_patience() {
    let (bench, taken) = with_frames_in_flight();
    let received = chunk(5, 5).received();
    let cx = Context::from_waker(Waker::noop());
    let works = |after| {
        let turn = bench.queue.spool_turn(&cx, ALL, received + after);
        matches!(turn, Turn::Work(work) if !work.unspooled.is_empty())
    };
    taken.settle(delivers(5));
    assert!(!works(Duration::ZERO), "nothing waits");
    bench.queue.push(&chunk(5, 5).received_at(received));
    let _taken = poll(&bench.queue);
    assert!(!works(2 * PATIENCE));
    assert!(!works(4 * PATIENCE));
    assert!(works(STEADY));
}

#[test]
fn the_consumer_looks_for_confirmations_before_frames_are_written() {
    /// Counts how often the consumer is woken.
    struct Consumer(AtomicU32);
    impl Wake for Consumer {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let (mut bench, taken) = with_frames_in_flight();
    let mut written = taken.settle_unconfirmed(delivers(5));
    let consumer = Arc::new(Consumer(AtomicU32::new(0)));
    let waker = Waker::from(Arc::clone(&consumer));
    let waits = || bench.queue.poll_take(&mut Context::from_waker(&waker));
    assert!(waits().is_pending());
    assert!(work(&bench.queue).is_none(), "the consumer is asked");
    assert_eq!(consumer.0.load(Relaxed), 1);
    // Only some frames are confirmed. The others are written, and the consumer is not asked a second time.
    written.confirm(2, 0);
    assert!(waits().is_pending());
    bench.write(9);
    assert_eq!(bench.disk, [2, 3, 4]);
    assert_eq!(consumer.0.load(Relaxed), 1);
}

#[derive(Debug, Clone)]
enum Op {
    Push(u32),
    Write(usize),
    Read(usize, usize),
    Take,
    /// The index of the flight, the number of frames that were written, and whether they wait for a confirmation.
    Settle(usize, usize, bool),
    Confirm(usize, usize),
    Break(usize),
    Evict(usize),
    Writes(Writes),
    Floor(u64),
    /// Starts to write at most this many chunks. Other operations can follow before the write ends.
    BeginWrite(usize),
    EndWrite,
    /// Like `Write`, but divides the first chunk until it has a single frame. The spool takes this frame, or never takes
    /// it.
    WriteDivided(usize, bool),
    Direct(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let writes = prop_oneof![
        4 => Just(Writes::On),
        1 => Just(Writes::Full),
        2 => Just(Writes::Failing),
    ];
    prop_oneof![
        8 => (1_u32..12).prop_map(Op::Push),
        8 => (0_usize..4).prop_map(Op::Write),
        4 => (prop_oneof![9 => Just(0_usize), 1 => 1_usize..4], 1_usize..20)
            .prop_map(|(lost, frames)| Op::Read(lost, frames)),
        6 => Just(Op::Take),
        6 => (0_usize..3, 0_usize..40, any::<bool>())
            .prop_map(|(flight, frames, waits)| Op::Settle(flight, frames, waits)),
        3 => (0_usize..3, 0_usize..40).prop_map(|(at, frames)| Op::Confirm(at, frames)),
        2 => (0_usize..3).prop_map(Op::Break),
        1 => (0_usize..2000).prop_map(Op::Evict),
        2 => writes.prop_map(Op::Writes),
        1 => (0_u64..200).prop_map(Op::Floor),
        4 => (0_usize..4).prop_map(Op::BeginWrite),
        4 => Just(Op::EndWrite),
        1 => (0_usize..4, any::<bool>()).prop_map(|(at_most, fits)| Op::WriteDivided(at_most, fits)),
        1 => any::<bool>().prop_map(Op::Direct),
    ]
}

/// A run of random operations, with several flights.
struct Run {
    bench: Bench,
    next: u32,
    flights: Vec<Taken>,
    /// Batches that were written, each with its frames that are not confirmed yet.
    unconfirmed: Vec<(Written, Vec<u32>)>,
    delivered: Vec<u32>,
    /// Every frame below this number was deleted from the disk.
    floor: u64,
    /// The write that is in progress.
    writing: Option<Work>,
}

impl Run {
    fn apply(&mut self, op: &Op) {
        let queue = Arc::clone(&self.bench.queue);
        match *op {
            Op::Push(frames) => {
                queue.push(&chunk(self.next, frames));
                self.next += frames;
            }
            // The thread of a spool does one thing at a time.
            Op::Write(_)
            | Op::Read(..)
            | Op::BeginWrite(_)
            | Op::WriteDivided(..)
            | Op::Floor(_)
            | Op::Writes(_)
                if self.writing.is_some() => {}
            Op::Write(at_most) => self.bench.write(at_most),
            Op::BeginWrite(at_most) => self.writing = self.bench.begin_write(at_most),
            Op::EndWrite => self.writing = None,
            Op::WriteDivided(at_most, fits) => self.bench.write_divided(at_most, fits),
            Op::Direct(is_allowed) => queue.set_direct(is_allowed),
            Op::Read(lost, frames) => self.bench.read(lost, frames),
            Op::Take => self.flights.extend(poll(&queue)),
            Op::Settle(at, frames, waits) => self.settle(at, frames, waits),
            Op::Confirm(at, frames) => {
                if let Some((written, left)) = self.unconfirmed.get_mut(at) {
                    let frames = frames.min(left.len());
                    written.confirm(frames, 0);
                    self.delivered.extend(left.drain(..frames));
                }
            }
            Op::Break(at) => {
                if at < self.unconfirmed.len() {
                    self.unconfirmed.remove(at);
                }
            }
            Op::Evict(bytes) => queue.evict(bytes),
            Op::Writes(writes) => queue.set_writes(writes),
            Op::Floor(floor) => {
                let below = floor.min(self.bench.disk.len() as u64);
                self.floor = self.floor.max(below);
                queue.raise_floor(below, DropReason::SpoolOldest);
            }
        }
    }

    fn settle(&mut self, at: usize, frames: usize, waits: bool) {
        if at >= self.flights.len() {
            return;
        }
        let taken = self.flights.remove(at);
        let mut frames_of = numbers(taken.chunks());
        frames_of.truncate(frames);
        let progress = Progress {
            frames: frames_of.len(),
            ..Progress::default()
        };
        if waits {
            let written = taken.settle_unconfirmed(progress);
            self.unconfirmed.push((written, frames_of));
        } else {
            taken.settle(progress);
            self.delivered.extend(frames_of);
        }
    }

    fn check(&self) {
        let ledger = self.bench.queue.ledger();
        assert!(ledger.balances(), "{ledger:?}");
        assert_eq!(ledger.offered, u64::from(self.next));
        assert_eq!(ledger.delivered, self.delivered.len() as u64);
        let delivered: BTreeSet<_> = self.delivered.iter().collect();
        assert_eq!(delivered.len(), self.delivered.len(), "delivered twice");
        // A kill at this moment loses only frames that are done or were never on the disk.
        let range = self.bench.queue.spool_range();
        let below = usize::try_from(range.start).expect("few");
        let waiting = |taken: &Taken| numbers(taken.chunks());
        let taken = self.flights.iter().flat_map(waiting);
        let unconfirmed = self.unconfirmed.iter().flat_map(|(_, left)| left.clone());
        let places: BTreeMap<u32, usize> = (0..)
            .zip(&self.bench.disk)
            .map(|(at, it)| (*it, at))
            .collect();
        for frame in taken.chain(unconfirmed) {
            let place = places.get(&frame);
            assert!(
                place.is_none_or(|place| *place >= below),
                "{frame} {range:?}"
            );
        }
        let counts = self.bench.queue.spool_counts().expect("a spool");
        assert!(counts.frames <= ledger.queued + ledger.in_flight + ledger.unconfirmed);
    }

    /// Delivers everything that is left. Returns the frames.
    fn finish(&mut self) -> Vec<u32> {
        self.flights.clear();
        self.unconfirmed.clear();
        self.writing = None;
        self.bench.queue.set_writes(Writes::On);
        let mut sent = Vec::new();
        for _ in 0..10_000 {
            self.bench.write(9);
            self.bench.read(0, 50);
            if let Some(taken) = poll(&self.bench.queue) {
                let frames = numbers(taken.chunks());
                taken.settle(Progress {
                    frames: frames.len(),
                    ..Progress::default()
                });
                sent.extend(frames);
            } else if self.bench.queue.ledger().queued == 0 {
                return sent;
            }
        }
        panic!("stuck: {:?}", self.bench.queue);
    }
}

/// Tests a fault of the past: frames were sent from memory, older chunks were removed from memory, and the order was
/// wrong.
#[test]
fn chunks_before_frames_that_were_sent_from_memory_stay_there() {
    let mut bench = Bench::new();
    for from in [0, 5] {
        bench.queue.push(&chunk(from, 5));
        bench.write(9);
    }
    bench.queue.set_writes(Writes::Failing);
    bench.queue.push(&chunk(10, 10));
    let taken = poll(&bench.queue).expect("frames");
    assert_eq!(numbers(taken.chunks()), (0..20).collect::<Vec<_>>());
    drop(taken);
    bench.queue.push(&chunk(20, 25));
    bench.queue.evict(1);
    let mut sent = take(&bench.queue);
    while bench.queue.ledger().queued > 0 {
        bench.read(0, 100);
        sent.extend(take(&bench.queue));
    }
    assert!(sent.is_sorted(), "{sent:?}");
    assert!(bench.queue.ledger().balances());
}

proptest! {
    #[test]
    fn no_frame_is_lost_repeated_or_out_of_order(
        ops in prop::collection::vec(op(), 0..120),
        is_direct in any::<bool>(),
    ) {
        let bench = Bench::new();
        bench.queue.set_direct(is_direct);
        let mut run = Run {
            bench,
            next: 0,
            flights: Vec::new(),
            unconfirmed: Vec::new(),
            delivered: Vec::new(),
            floor: 0,
            writing: None,
        };
        for op in &ops {
            run.apply(op);
            run.check();
        }
        let sent = run.finish();
        prop_assert!(sent.is_sorted(), "{:?}", sent);
        run.delivered.extend(sent);
        run.check();
        let ledger = run.bench.queue.ledger();
        prop_assert_eq!((ledger.queued, ledger.held_bytes), (0, 0));
        prop_assert_eq!(ledger.delivered + ledger.dropped_total(), u64::from(run.next));
        let range = run.bench.queue.spool_range();
        prop_assert_eq!(range.start, range.end);
        prop_assert_eq!(range.end, run.bench.disk.len() as u64);
    }
}
