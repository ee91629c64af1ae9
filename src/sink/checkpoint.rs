//! The amount and age of a connection's unconfirmed frames. With `confirm finish`, they decide when the connection is
//! replaced.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{config::FinishBounds, lock::Mutex};

/// The unconfirmed frames of a connection with `confirm finish`.
///
/// In Frame Streams, a collector confirms frames with FINISH, and sends FINISH only at the end of a connection. To get
/// a confirmation, the sink must therefore replace the connection: a new connection takes the following frames, and the
/// old connection gets STOP and answers with FINISH. Such a replacement is a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: Instant,
    bounds: FinishBounds,
    unconfirmed: Mutex<Unconfirmed>,
    /// Wakes the waiting task when the first frame is written, when the frames reach the limit on memory, and when the
    /// collector asks for the end of the connection.
    changed: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Unconfirmed {
    /// The memory of the unconfirmed frames.
    bytes: u64,
    /// A checkpoint is due when the unconfirmed frames use this much memory, in bytes.
    bound: u64,
    /// The times of the first and of the last write.
    written: Option<(Instant, Instant)>,
    /// True if the collector has asked for the end of the connection.
    is_asked: bool,
}

/// If the router has a memory limit, the unconfirmed frames of a connection use at most this part of it before a
/// checkpoint is due.
const PARTS_OF_LIMIT: usize = 8;

/// When the oldest unconfirmed frame is this many times as old as `every`, the connection ends even if no new connection
/// can replace it. A collector that serves one connection at a time accepts the new connection only after the old one has
/// ended. The same factor applies to `bytes`.
const OVERDUE: u32 = 2;

// === impl Checkpoint ===

impl Checkpoint {
    /// Creates the checkpoint of a connection that begins now.
    pub(super) fn new(bounds: FinishBounds) -> Self {
        Self(Arc::new(Shared {
            begun: Instant::now(),
            bounds,
            unconfirmed: Mutex::new(Unconfirmed {
                bytes: 0,
                bound: bounds.bytes,
                written: None,
                is_asked: false,
            }),
            changed: Notify::new(),
        }))
    }

    /// Records that frames were written. `bytes` is the memory that they use, and `limit` is the memory limit of the
    /// router.
    pub(super) fn wrote(&self, bytes: u64, limit: Option<usize>) {
        let mut unconfirmed = self.0.unconfirmed.lock();
        let (now, before) = (Instant::now(), *unconfirmed);
        let first = before.written.map_or(now, |(first, _)| first);
        unconfirmed.written = Some((first, now));
        unconfirmed.bytes += bytes;
        if let Some(limit) = limit {
            let most = (limit / PARTS_OF_LIMIT) as u64;
            unconfirmed.bound = self.0.bounds.bytes.min(most);
        }
        if before.written.is_none() || (!before.is_full() && unconfirmed.is_full()) {
            drop(unconfirmed);
            self.0.changed.notify_one();
        }
    }

    /// Records that the collector has asked for the end of the connection.
    pub(super) fn ask(&self) {
        self.0.unconfirmed.lock().is_asked = true;
        self.0.changed.notify_one();
    }

    /// Returns whether the collector has asked for the end of the connection.
    pub(super) fn is_asked(&self) -> bool {
        self.0.unconfirmed.lock().is_asked
    }

    /// Returns a limit in bytes. The sink stops writing frames when its unconfirmed frames use this much memory.
    pub(super) fn hard_bound(&self) -> u64 {
        self.0.unconfirmed.lock().bound * u64::from(OVERDUE)
    }

    /// Returns whether the connection must end even if no other connection replaces it.
    pub(super) fn is_overdue(&self) -> bool {
        let unconfirmed = *self.0.unconfirmed.lock();
        let most = self.0.bounds.every * OVERDUE;
        let too_old = |(first, _): (Instant, Instant)| first.elapsed() >= most;
        unconfirmed.is_asked
            || unconfirmed.bytes >= unconfirmed.bound * u64::from(OVERDUE)
            || unconfirmed.written.is_some_and(too_old)
    }

    /// Waits until a checkpoint is due. Only one task may wait at a time.
    pub(super) async fn due(&self) {
        loop {
            let changed = self.0.changed.notified();
            let unconfirmed = *self.0.unconfirmed.lock();
            let Some(due) = unconfirmed.due(self.0.begun, self.0.bounds) else {
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

    /// Returns the time at which a checkpoint is due if nothing more is written. `None` if no frame is unconfirmed.
    fn due(self, begun: Instant, bounds: FinishBounds) -> Option<Instant> {
        if self.is_asked {
            return Some(begun);
        }
        let (first, last) = self.written?;
        Some(if self.is_full() {
            last
        } else {
            let idle = (last + bounds.idle).max(begun + least_age(bounds.idle));
            idle.min(first + bounds.every)
        })
    }
}

/// Returns the age at which a connection that is idle for this time can be replaced. Without this minimum, a sink that
/// gets a frame every few seconds would make a new connection for each frame.
fn least_age(idle: Duration) -> Duration {
    idle * 5 / 2
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const BOUNDS: FinishBounds = FinishBounds {
        bytes: 64 << 20,
        every: Duration::from_secs(30),
        idle: Duration::from_secs(2),
    };

    #[tokio::test(start_paused = true)]
    async fn it_is_due_after_a_pause_or_after_thirty_seconds() {
        let quiet = Checkpoint::new(BOUNDS);
        let never = timeout(Duration::from_secs(3600), quiet.due()).await;
        assert!(never.is_err(), "nothing was written");
        let begun = Instant::now();
        quiet.wrote(1, None);
        quiet.due().await;
        assert_eq!(begun.elapsed(), BOUNDS.idle);
        let young = Checkpoint::new(BOUNDS);
        let begun = Instant::now();
        young.wrote(1, None);
        young.due().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        let busy = Checkpoint::new(BOUNDS);
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
        assert_eq!(begun.elapsed(), BOUNDS.every);
        assert!(!busy.is_overdue());
        advance(BOUNDS.every).await;
        assert!(busy.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_and_overdue_as_soon_as_the_collector_asks() {
        let checkpoint = Checkpoint::new(BOUNDS);
        let mut due = tokio_test::task::spawn(checkpoint.due());
        assert!(due.poll().is_pending() && !checkpoint.is_overdue());
        checkpoint.ask();
        assert!(due.is_woken() && due.poll().is_ready());
        assert!(checkpoint.is_overdue() && checkpoint.is_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn its_bounds_can_be_set() {
        let bounds = FinishBounds {
            bytes: 1000,
            every: Duration::from_secs(3),
            idle: Duration::from_millis(100),
        };
        let quiet = Checkpoint::new(bounds);
        let begun = Instant::now();
        quiet.wrote(999, None);
        quiet.due().await;
        assert_eq!(begun.elapsed(), Duration::from_millis(250));
        let busy = Checkpoint::new(FinishBounds {
            idle: Duration::from_secs(60),
            ..bounds
        });
        let begun = Instant::now();
        busy.wrote(1, Some(80 << 20));
        busy.due().await;
        assert_eq!(begun.elapsed(), bounds.every);
        assert!(!busy.is_overdue());
        advance(bounds.every).await;
        assert!(busy.is_overdue());
        let full = Checkpoint::new(bounds);
        let mut due = tokio_test::task::spawn(full.due());
        full.wrote(1000, Some(80 << 20));
        assert!(due.poll().is_ready() && !full.is_overdue());
        assert_eq!(full.hard_bound(), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_and_overdue_by_memory() {
        for (limit, bound) in [(None, BOUNDS.bytes), (Some(80 << 20), 10 << 20)] {
            let checkpoint = Checkpoint::new(BOUNDS);
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
