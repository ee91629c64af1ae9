//! The amount and age of a connection's unconfirmed frames, which decide when the connection is replaced.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::lock::Mutex;

/// The unconfirmed frames of a connection with `confirm finish`.
///
/// Frame Streams has one FINISH for each connection, at its end. So a checkpoint is a new connection: it takes the frames
/// from then on, and the old one gets STOP and answers with FINISH.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: Instant,
    unconfirmed: Mutex<Unconfirmed>,
    /// Wakes the waiting task when the first frames come, and when they hold enough memory.
    changed: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Unconfirmed {
    /// The memory of the frames.
    bytes: u64,
    /// A checkpoint is due at this memory.
    bound: u64,
    /// The times of the first and of the last write.
    written: Option<(Instant, Instant)>,
}

/// A checkpoint is due when unconfirmed frames hold this memory, or an eighth of the router's limit if that is less.
const BYTES: u64 = 64 << 20;
const PARTS_OF_LIMIT: usize = 8;

/// A checkpoint is due at this age of the oldest unconfirmed frame.
const AGE: Duration = Duration::from_secs(30);

/// A checkpoint is due when nothing was written for this time, if frames are unconfirmed.
const IDLE: Duration = Duration::from_secs(2);

/// No checkpoint is due before this age of the connection, because of idleness. A frame every few seconds would otherwise
/// cost a connection each.
const LEAST_AGE: Duration = Duration::from_secs(5);

/// If no new connection can be made, the old one ends without a replacement at this age of the oldest unconfirmed frame.
/// Some collectors serve one connection at a time.
const OVERDUE: Duration = Duration::from_secs(60);

// === impl Checkpoint ===

impl Checkpoint {
    /// The checkpoint of a connection that begins now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            begun: Instant::now(),
            unconfirmed: Mutex::new(Unconfirmed {
                bytes: 0,
                bound: BYTES,
                written: None,
            }),
            changed: Notify::new(),
        }))
    }

    /// Records a write of frames that hold `bytes` bytes. `limit` is the router's limit on memory.
    pub(super) fn wrote(&self, bytes: u64, limit: Option<usize>) {
        let mut unconfirmed = self.0.unconfirmed.lock();
        let (now, before) = (Instant::now(), *unconfirmed);
        let first = before.written.map_or(now, |(first, _)| first);
        unconfirmed.written = Some((first, now));
        unconfirmed.bytes += bytes;
        if let Some(limit) = limit {
            unconfirmed.bound = BYTES.min((limit / PARTS_OF_LIMIT) as u64);
        }
        if before.written.is_none() || (!before.is_full() && unconfirmed.is_full()) {
            drop(unconfirmed);
            self.0.changed.notify_one();
        }
    }

    /// The memory of all unconfirmed frames of a sink at which it writes no more frames, in bytes.
    pub(super) fn hard_bound(&self) -> u64 {
        self.0.unconfirmed.lock().bound * 2
    }

    /// Returns whether the connection must end even without a replacement.
    pub(super) fn is_overdue(&self) -> bool {
        let unconfirmed = *self.0.unconfirmed.lock();
        let too_old = |(first, _): (Instant, Instant)| first.elapsed() >= OVERDUE;
        unconfirmed.bytes >= unconfirmed.bound * 2 || unconfirmed.written.is_some_and(too_old)
    }

    /// Waits until a checkpoint is due. Only one task may wait at a time.
    pub(super) async fn due(&self) {
        loop {
            let changed = self.0.changed.notified();
            let unconfirmed = *self.0.unconfirmed.lock();
            let Some(due) = unconfirmed.due(self.0.begun) else {
                changed.await;
                continue;
            };
            if due <= Instant::now() {
                return;
            }
            select! {
                () = changed => {}
                () = sleep_until(due) => {}
            }
        }
    }
}

// === impl Unconfirmed ===

impl Unconfirmed {
    fn is_full(self) -> bool {
        self.bytes >= self.bound
    }

    /// The time at which a checkpoint of a connection is due if nothing more is written; `None` without unconfirmed frames.
    fn due(self, begun: Instant) -> Option<Instant> {
        let (first, last) = self.written?;
        Some(if self.is_full() {
            last
        } else {
            let idle = (last + IDLE).max(begun + LEAST_AGE);
            idle.min(first + AGE)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_after_a_pause_or_after_thirty_seconds() {
        let quiet = Checkpoint::new();
        let never = timeout(Duration::from_secs(3600), quiet.due()).await;
        assert!(never.is_err(), "nothing was written");
        let begun = Instant::now();
        quiet.wrote(1, None);
        quiet.due().await;
        assert_eq!(begun.elapsed(), IDLE);
        let young = Checkpoint::new();
        let begun = Instant::now();
        young.wrote(1, None);
        young.due().await;
        assert_eq!(begun.elapsed(), LEAST_AGE);
        let busy = Checkpoint::new();
        let begun = Instant::now();
        let writes = async {
            loop {
                busy.wrote(1, None);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        select! {
            () = busy.due() => {}
            () = writes => {}
        }
        assert_eq!(begun.elapsed(), AGE);
        assert!(!busy.is_overdue());
        advance(OVERDUE.saturating_sub(AGE)).await;
        assert!(busy.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_and_overdue_by_memory() {
        for (limit, bound) in [(None, BYTES), (Some(80 << 20), 10 << 20)] {
            let checkpoint = Checkpoint::new();
            let mut due = tokio_test::task::spawn(checkpoint.due());
            checkpoint.wrote(bound - 1, limit);
            assert!(due.poll().is_pending());
            advance(Duration::from_millis(1)).await;
            checkpoint.wrote(1, limit);
            assert!(due.is_woken() && due.poll().is_ready());
            assert!(!checkpoint.is_overdue());
            checkpoint.wrote(bound, limit);
            assert!(checkpoint.is_overdue());
            assert_eq!(checkpoint.hard_bound(), 2 * bound);
        }
    }
}
