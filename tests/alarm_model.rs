//! A test of the alarm of the taps with loom, which runs every interleaving of senders and the flusher.
//!
//! The alarm is compiled from the same source as in the crate, with loom's atomics instead of the standard library's.

#![allow(missing_docs, dead_code, unreachable_pub)]

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};

    /// tokio's `Notify` with loom's: a notification that nobody waits for is kept.
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

/// The number of threads that send a message.
const SENDERS: usize = 2;

/// The alarm, and whether each thread has sent its message. No lock orders the messages, so only the alarm does.
#[derive(Debug, Default)]
struct Taps {
    alarm: Alarm,
    messages: [AtomicBool; SENDERS],
}

/// The flusher, and whether it has taken the message of each thread.
///
/// It does not mark the message itself as taken: loom lets a `swap` return an older value than it may.
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
    /// Takes the messages that have arrived. Returns whether there were any.
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

    /// Runs as `Intake::flush_forever` does, until all messages are taken.
    fn run(&mut self, taps: &Taps) {
        while self.taken != [true; SENDERS] {
            // After a lost wake, this would block forever, and loom would report a deadlock.
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
