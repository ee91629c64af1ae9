//! The signal that wakes the flusher, the task that passes the messages of all threads on to the sinks.

use super::sync::{
    AtomicBool, Notify,
    Ordering::{Relaxed, SeqCst},
    fence,
};

/// The signal that wakes the flusher.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// True while the flusher is awake. In that case, a thread that sends a message does not need to wake the flusher.
    awake: AtomicBool,
    notify: Notify,
}

// === impl Alarm ===

impl Alarm {
    /// Wakes the flusher if it sleeps. The caller must add its message to a batch first.
    #[inline]
    pub(super) fn raise(&self) {
        // Pairs with the fence in `stays_awake`. The two fences make sure that the flusher sees the new message, or
        // that this function sees that the flusher is asleep.
        fence(SeqCst);
        if !self.awake.load(Relaxed) && !self.awake.swap(true, Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Sleeps until the alarm is raised.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Marks the flusher as asleep, and calls `flush`, which returns whether it found a message. If it found one, the
    /// flusher is marked as awake again. Returns whether the flusher is awake.
    pub(super) fn stays_awake(&self, flush: impl FnOnce() -> bool) -> bool {
        self.awake.store(false, Relaxed);
        // Pairs with the fence in `raise`.
        fence(SeqCst);
        // A thread that sends a message before this flush may still see the flusher as awake, and not wake it; in that
        // case the flush finds the message. A thread that sends a message after this flush sees the flusher as asleep,
        // and wakes it.
        let missed = flush();
        if missed {
            self.awake.store(true, Relaxed);
        }
        missed
    }

    /// Returns whether the flusher is awake.
    #[cfg(all(test, feature = "proto"))]
    pub(super) fn is_awake(&self) -> bool {
        self.awake.load(SeqCst)
    }
}
