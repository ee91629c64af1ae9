//! Tests the alarm with which senders of taps wake the flusher. The flusher is the task that passes the collected
//! messages on to the sinks. The test uses loom, which runs every interleaving of the senders and the flusher.
//!
//! The alarm is compiled from the same source as in the crate, but with loom's atomics instead of the standard
//! library's.

#![allow(missing_docs, dead_code, unreachable_pub)]

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};

    /// Has the interface of tokio's `Notify`, and uses the `Notify` of loom. If no task waits when `notify_one` is
    /// called, the next call of `notified` returns immediately.
    #[derive(Debug, Default)]
    pub(super) struct Notify(loom::sync::Notify);

    impl Notify {
        pub(super) fn notify_one(&self) {
            self.0.notify();
        }

        #[allow(clippy::unused_async)] // As in tokio.
        pub(super) async fn notified(&self) {
            self.0.wait();
        }
    }
}

#[path = "../src/tap/alarm.rs"]
mod alarm;

use std::sync::Arc;

use alarm::Alarm;
use loom::{
    future::block_on,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

/// The number of threads, each of which sends one message.
const SENDERS: usize = 2;

/// The alarm, and a flag for each thread that says whether the thread has sent its message. No lock protects the
/// messages, so only the alarm ensures that the flusher sees them.
#[derive(Debug, Default)]
struct Taps {
    alarm: Alarm,
    messages: [AtomicBool; SENDERS],
}

/// The flusher, and a flag for each thread that says whether the flusher has taken the thread's message.
///
/// The flusher does not use a `swap` to mark messages as taken, because in loom a `swap` may return an older value than
/// the memory model allows.
#[derive(Debug, Default)]
struct Flusher {
    taken: [bool; SENDERS],
}

impl Taps {
    fn send(&self, sender: usize) {
        self.messages[sender].store(true, Relaxed);
        self.alarm.raise();
    }
}

impl Flusher {
    /// Takes the messages that have arrived. Returns whether it has taken any.
    fn flush(&mut self, taps: &Taps) -> bool {
        let mut found = false;
        for (message, taken) in taps.messages.iter().zip(&mut self.taken) {
            if !*taken && message.load(Relaxed) {
                *taken = true;
                found = true;
            }
        }
        found
    }

    /// Waits for the alarm and takes messages, in the same order as `Intake::flush_forever`, until all messages are
    /// taken.
    fn run(&mut self, taps: &Taps) {
        while self.taken != [true; SENDERS] {
            // If the alarm failed to wake the flusher, the flusher would wait here forever, and loom would report a
            // deadlock.
            block_on(taps.alarm.wait());
            while self.flush(taps) || taps.alarm.stays_awake(|| self.flush(taps)) {
                thread::yield_now();
            }
        }
    }
}

#[test]
fn no_wake_is_lost_between_senders_and_a_flusher_that_falls_asleep() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let taps = Arc::new(Taps::default());
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let taps = Arc::clone(&taps);
                thread::spawn(move || taps.send(sender))
            })
            .collect();
        Flusher::default().run(&taps);
        for sender in senders {
            sender.join().expect("no panic");
        }
    });
}
