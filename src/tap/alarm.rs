//! The signal that wakes the flusher.

use super::sync::{
    AtomicBool, Notify,
    Ordering::{Relaxed, SeqCst},
    fence,
};

/// The signal that wakes the flusher.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// True while the flusher is awake. Most batches find it awake and do not need to wake it.
    awake: AtomicBool,
    notify: Notify,
}

// === impl Alarm ===

impl Alarm {
    /// Wakes the flusher if it sleeps. The caller has added a message before.
    #[inline]
    pub(super) fn raise(&self) {
        // With the fence in `stays_awake`, either the flusher finds the message, or this finds the flusher asleep.
        fence(SeqCst);
        if !self.awake.load(Relaxed) && !self.awake.swap(true, Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Sleeps until the alarm is raised.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Marks the flusher as asleep, and calls `flush`. If that finds a message, the flusher is awake again. Returns
    /// whether it is.
    pub(super) fn stays_awake(&self, flush: impl FnOnce() -> bool) -> bool {
        self.awake.store(false, Relaxed);
        // Pairs with the fence in `raise`.
        fence(SeqCst);
        // A thread that sends before the flush may still see the flusher as awake; the flush finds its message. A thread
        // that sends after the flush sees it asleep, and wakes it.
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
