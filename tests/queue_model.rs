//! Tests of a sink's queue with loom, which runs every interleaving of three actions: the router adds frames, the sink
//! takes frames, and the queue is closed.
//!
//! The queue is compiled from the same source as in the crate, but with loom's lock instead of the standard library's.

#![allow(missing_docs, dead_code, unreachable_pub)]

mod config {
    pub use tapfan::config::QueueLimits;
}

mod frame_stream {
    pub use tapfan::internals::{Batch, Chunk, Source};
}

mod sync {
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

#[path = "../src/router/amount.rs"]
mod amount;
#[path = "../src/closed_set.rs"]
mod closed_set;
#[path = "../src/router/contents.rs"]
mod contents;
#[path = "../src/router/direct.rs"]
mod direct;
#[path = "../src/router/done.rs"]
mod done;
#[path = "../src/router/held.rs"]
mod held;
#[path = "../src/health/latency.rs"]
mod latency;
#[path = "../src/health/ledger.rs"]
mod ledger;
#[path = "../src/router/left_out.rs"]
mod left_out;
#[path = "../src/router/losses.rs"]
mod losses;
#[path = "../src/router/progress.rs"]
mod progress;
#[path = "../src/router/queue.rs"]
mod queue;
#[path = "../src/router/senders.rs"]
mod senders;
#[path = "../src/router/settlement.rs"]
mod settlement;
#[path = "../src/router/sharing.rs"]
mod sharing;
#[path = "../src/router/spool_steps.rs"]
mod spool_steps;
#[path = "../src/router/spooled.rs"]
mod spooled;
#[path = "../src/router/spooling.rs"]
mod spooling;
#[path = "../src/router/taken.rs"]
mod taken;
#[path = "../src/router/waiting.rs"]
mod waiting;
#[path = "../src/router/watch.rs"]
mod watch;
#[path = "../src/router/written.rs"]
mod written;

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use amount::Limits;
use frame_stream::{Chunk, Source};
use latency::Latency;
use ledger::{DropReason, Exclusions, Ledger};
use loom::{future::block_on, thread};
use progress::Progress;
use queue::Queue;
use taken::Taken;

/// Explores every interleaving in which loom interrupts threads at most three times. Interleavings with more
/// interruptions have found no further faults in practice, and would take far too long.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

const LIMITS: Limits = Limits {
    frames: 2,
    bytes: 1 << 20,
};

fn chunk() -> Chunk {
    Chunk::from_wire(b"\0\0\0\x01a".as_slice().into()).expect("one frame")
}

fn frames(taken: &Taken) -> usize {
    taken.chunks().map(Chunk::len).sum()
}

/// Takes batches from the queue and delivers them until the queue has ended. Returns the number of frames.
fn consume(queue: &Arc<Queue>) -> usize {
    let mut written = 0;
    while let Some(taken) = block_on(poll_fn(|cx| queue.poll_take(cx))) {
        written += write(taken);
        assert!(queue.ledger().balances());
    }
    written
}

/// Delivers all frames of a batch.
fn write(taken: Taken) -> usize {
    let frames = frames(&taken);
    taken.settle(Progress {
        frames,
        ..Progress::default()
    });
    frames
}

#[test]
fn no_wake_is_lost_between_push_take_and_close() {
    model(|| {
        let queue = Arc::new(Queue::new(LIMITS));
        let router = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(&chunk());
                queue.push(&chunk());
                queue.close();
            })
        };
        // If the queue failed to wake the thread that takes frames, this call would wait forever, and loom would report
        // a deadlock.
        assert_eq!(consume(&queue), 2);
        router.join().expect("no panic");
        assert_eq!(queue.ledger().delivered, 2);
    });
}

#[test]
fn two_listeners_and_a_driver_count_every_lost_frame() {
    model(|| {
        let queue = Arc::new(Queue::new(Limits {
            frames: 1,
            ..LIMITS
        }));
        let push = |queue: &Arc<Queue>| {
            let queue = Arc::clone(queue);
            thread::spawn(move || queue.push(&chunk()))
        };
        let listeners = [push(&queue), push(&queue)];
        let driver = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || consume(&queue))
        };
        for listener in listeners {
            listener.join().expect("no panic");
        }
        queue.close();
        let written = driver.join().expect("no panic") as u64;
        let ledger = queue.ledger();
        assert!(ledger.balances());
        assert_eq!(written + ledger.dropped(DropReason::QueueFull), 2);
    });
}

#[test]
fn an_abandoned_queue_balances_at_every_read() {
    model(|| {
        let queue = Arc::new(Queue::new(LIMITS));
        let router = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(&chunk());
                queue.push(&chunk());
            })
        };
        queue.abandon(DropReason::Shutdown);
        assert!(queue.ledger().balances());
        router.join().expect("no panic");
        let ledger = queue.ledger();
        assert!(ledger.balances());
        assert_eq!(ledger.dropped(DropReason::Shutdown), 2);
    });
}

#[test]
fn a_chunk_returned_by_another_thread_is_taken_again() {
    model(|| {
        let queue = Arc::new(Queue::new(LIMITS));
        queue.push(&chunk());
        let first = block_on(poll_fn(|cx| queue.poll_take(cx))).expect("a chunk");
        queue.push(&chunk());
        let second = block_on(poll_fn(|cx| queue.poll_take(cx))).expect("a chunk");
        queue.close();
        let gives_back = thread::spawn(move || drop(first));
        let writes = thread::spawn(move || write(second));
        // `consume` must notice that a chunk was returned to the queue, and also that the queue has ended.
        assert_eq!(consume(&queue), 1);
        gives_back.join().expect("no panic");
        assert_eq!(writes.join().expect("no panic"), 1);
        let ledger = queue.ledger();
        assert_eq!((ledger.delivered, ledger.in_flight), (2, 0));
    });
}

#[test]
fn an_end_with_several_chunks_in_flight_counts_each_once() {
    model(|| {
        let queue = Arc::new(Queue::new(LIMITS));
        queue.push(&chunk());
        let first = block_on(poll_fn(|cx| queue.poll_take(cx))).expect("a chunk");
        queue.push(&chunk());
        let second = block_on(poll_fn(|cx| queue.poll_take(cx))).expect("a chunk");
        let gives_back = thread::spawn(move || drop(first));
        let writes = thread::spawn(move || write(second));
        queue.abandon(DropReason::Shutdown);
        assert!(queue.ledger().balances());
        gives_back.join().expect("no panic");
        writes.join().expect("no panic");
        let ledger = queue.ledger();
        assert!(ledger.balances());
        assert_eq!(
            (ledger.queued, ledger.in_flight, ledger.held_bytes),
            (0, 0, 0)
        );
        assert_eq!(ledger.delivered + ledger.dropped(DropReason::Shutdown), 2);
    });
}

#[test]
fn a_sender_within_its_share_loses_nothing_in_any_order() {
    model(|| {
        let queue = Arc::new(Queue::new(Limits {
            frames: 4,
            ..LIMITS
        }));
        let [loud, quiet] = ["loud", "quiet"].map(|peer| Source::new("in".into(), peer));
        let two = |source: &Source| {
            let two = b"\0\0\0\x01a\0\0\0\x01b".as_slice();
            let two = Chunk::from_wire(two.into()).expect("two frames");
            two.brought_by(source)
        };
        queue.push(&two(&loud));
        let in_flight = block_on(poll_fn(|cx| queue.poll_take(cx))).expect("a chunk");
        let flood = {
            let (queue, loud) = (Arc::clone(&queue), loud.clone());
            thread::spawn(move || {
                queue.push(&two(&loud));
                queue.push(&two(&loud));
            })
        };
        let other = {
            let (queue, quiet) = (Arc::clone(&queue), quiet.clone());
            thread::spawn(move || queue.push(&chunk().brought_by(&quiet)))
        };
        drop(in_flight);
        assert!(queue.ledger().balances());
        flood.join().expect("no panic");
        other.join().expect("no panic");
        queue.close();
        let written = consume(&queue) as u64;
        let (ledger, losses) = (queue.ledger(), queue.losses());
        assert!(ledger.balances());
        assert_eq!(losses.of(&loud), ledger.dropped(DropReason::QueueFull));
        assert_eq!(losses.of(&quiet), 0);
        assert_eq!(written + losses.total(), 7);
    });
}

/// Does one turn of a spool's thread: writes the frames that the queue gives it. `next` is the number of the first of
/// these frames. Returns the number of the frame after them, and whether the thread must end.
fn turn(queue: &Arc<Queue>, wants: spooling::Wants, mut next: u64) -> (u64, bool) {
    // All frames are so old at this time that the spool must write them immediately.
    let now = Instant::now() + Duration::from_secs(60);
    let mut work = block_on(poll_fn(|cx| match queue.spool_turn(cx, wants, now) {
        spooling::Turn::Work(work) => Poll::Ready(work),
        spooling::Turn::Wait(_) => Poll::Pending,
    }));
    while let Some(chunk) = work.unspooled.next() {
        let frames = chunk.len() as u64;
        work.unspooled.mark_written(next);
        next += frames;
    }
    (next, work.is_ending)
}

/// One thread pushes a frame, the spool writes it, and the driver delivers it.
#[test]
fn no_wake_is_lost_between_a_push_the_spool_and_the_driver() {
    model(|| {
        let queue = Arc::new(Queue::with_spool(LIMITS, Arc::default(), 0..0));
        let router = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(&chunk());
                queue.close();
            })
        };
        let spool = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let wants = spooling::Wants {
                    done: true,
                    reads: true,
                };
                let mut next = 0;
                // Ends when the frame is written and delivered.
                while queue.spool_range() != (1..1) {
                    next = turn(&queue, wants, next).0;
                }
            })
        };
        assert_eq!(consume(&queue), 1);
        router.join().expect("no panic");
        spool.join().expect("no panic");
        let ledger = queue.ledger();
        assert_eq!((ledger.delivered, ledger.held_bytes), (1, 0));
    });
}

/// The driver takes the frame before, during or after the write to the disk. The first connection breaks, so the driver
/// takes the frame again.
#[test]
fn a_frame_that_need_not_wait_for_the_disk_is_delivered_and_done_once() {
    model(|| {
        let queue = Arc::new(Queue::with_spool(LIMITS, Arc::default(), 0..0));
        queue.set_direct(true);
        queue.push(&chunk());
        let spool = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let wants = spooling::Wants {
                    done: false,
                    reads: true,
                };
                let (mut next, mut is_ending) = (0, false);
                while !is_ending {
                    (next, is_ending) = turn(&queue, wants, next);
                }
                next
            })
        };
        drop(block_on(poll_fn(|cx| queue.poll_take(cx))));
        queue.close();
        assert_eq!(consume(&queue), 1);
        queue.end_spool();
        let written = spool.join().expect("no panic");
        // Nothing is left on the disk.
        assert_eq!(queue.spool_range(), written..written);
        let ledger = queue.ledger();
        assert_eq!((ledger.delivered, ledger.held_bytes), (1, 0));
    });
}
