//! The queue under loom: every interleaving of a router, a driver and the end.
//!
//! The same source as in the crate, with loom's lock in place of the standard library's.

#![allow(missing_docs, dead_code, unreachable_pub)]

mod frame_stream {
    pub use tapfan::frame_stream::{Batch, Chunk};
}

mod sync {
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

#[path = "../src/router/latency.rs"]
mod latency;
#[path = "../src/router/ledger.rs"]
mod ledger;
#[path = "../src/router/queue.rs"]
mod queue;

use std::future::poll_fn;

use frame_stream::{Batch, Chunk};
use latency::Latency;
use ledger::DropReason;
use loom::{future::block_on, sync::Arc, thread};
use queue::{Limits, Progress, Queue};

/// Every interleaving of threads that are switched at most three times against their will: more than that find no
/// more faults in practice, and take for ever.
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

fn frames(batch: &Batch) -> usize {
    batch.iter().map(Chunk::len).sum()
}

/// Takes until the end and says how many frames there were.
fn consume(queue: &Queue) -> usize {
    let mut written = 0;
    while let Some(batch) = block_on(poll_fn(|cx| queue.poll_take(cx))) {
        written += frames(&batch);
        queue.settle(Progress {
            frames: frames(&batch),
            ..Progress::default()
        });
        assert!(queue.ledger().balances());
    }
    written
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
        // A lost wake would leave this waiting for ever, which loom reports as a deadlock.
        assert_eq!(consume(&queue), 2);
        router.join().expect("no panic");
        assert_eq!(queue.ledger().delivered, 2);
    });
}

#[test]
fn two_listeners_and_a_driver_lose_nothing_uncounted() {
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
fn an_abandoned_queue_adds_up_whenever_it_is_read() {
    model(|| {
        let queue = Arc::new(Queue::new(LIMITS));
        let router = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(&chunk());
                queue.push(&chunk());
            })
        };
        queue.abandon();
        assert!(queue.ledger().balances());
        router.join().expect("no panic");
        let ledger = queue.ledger();
        assert!(ledger.balances());
        assert_eq!(ledger.dropped(DropReason::Shutdown), 2);
    });
}
