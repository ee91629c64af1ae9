//! The time at which a connection must end so that its collector confirms the frames.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::lock::Mutex;

/// The time at which a connection with `confirm finish` is replaced. It depends on the size and the age of the
/// unconfirmed frames.
///
/// In Frame Streams, a collector sends FINISH only once, at the end of a connection. So at a checkpoint, a new
/// connection takes over the following frames. The old connection gets STOP, and the collector confirms its frames with
/// FINISH.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoint(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    unconfirmed: Mutex<Unconfirmed>,
    /// Wakes the waiting task when the first frames are written, and when enough bytes are unconfirmed.
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Unconfirmed {
    bytes: u64,
    /// The times of the first and of the last write.
    written: Option<(Instant, Instant)>,
}

/// A checkpoint is due at this number of unconfirmed bytes.
const BYTES: u64 = 64 << 20;

/// A checkpoint is due at this age of the oldest unconfirmed frame.
const AGE: Duration = Duration::from_secs(30);

/// A checkpoint is due when nothing was written for this time, if frames are unconfirmed.
const IDLE: Duration = Duration::from_secs(2);

/// If no new connection can be made, the old connection ends without a replacement at this number of unconfirmed bytes.
/// Some collectors accept a new connection only after the old connection has ended.
const BYTES_AT_MOST: u64 = 2 * BYTES;

// === impl Checkpoint ===

impl Checkpoint {
    /// Records a write of `bytes` bytes.
    pub(super) fn wrote(&self, bytes: u64) {
        let mut unconfirmed = self.0.unconfirmed.lock();
        let (now, before) = (Instant::now(), unconfirmed.bytes);
        let first = unconfirmed.written.map_or(now, |(first, _)| first);
        unconfirmed.written = Some((first, now));
        unconfirmed.bytes += bytes;
        if before == 0 || (before < BYTES && unconfirmed.bytes >= BYTES) {
            drop(unconfirmed);
            self.0.changed.notify_one();
        }
    }

    /// Returns whether so many bytes are unconfirmed that the connection must end even without a replacement.
    pub(super) fn is_overdue(&self) -> bool {
        self.0.unconfirmed.lock().bytes >= BYTES_AT_MOST
    }

    /// Waits until a checkpoint is due. Only one task may wait at a time.
    pub(super) async fn due(&self) {
        loop {
            let changed = self.0.changed.notified();
            let unconfirmed = *self.0.unconfirmed.lock();
            let Some(due) = unconfirmed.due() else {
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
    /// The time at which a checkpoint is due if nothing more is written; `None` without unconfirmed frames.
    fn due(self) -> Option<Instant> {
        let (first, last) = self.written?;
        Some(if self.bytes >= BYTES {
            last
        } else {
            (first + AGE).min(last + IDLE)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_after_a_pause_or_after_thirty_seconds() {
        let quiet = Checkpoint::default();
        let never = timeout(Duration::from_secs(3600), quiet.due()).await;
        assert!(never.is_err(), "nothing was written");
        let begun = Instant::now();
        quiet.wrote(1);
        quiet.due().await;
        assert_eq!(begun.elapsed(), IDLE);
        let busy = Checkpoint::default();
        let begun = Instant::now();
        let writes = async {
            loop {
                busy.wrote(1);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        select! {
            () = busy.due() => {}
            () = writes => {}
        }
        assert_eq!(begun.elapsed(), AGE);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_and_overdue_by_bytes() {
        let checkpoint = Checkpoint::default();
        let mut due = tokio_test::task::spawn(checkpoint.due());
        checkpoint.wrote(BYTES - 1);
        assert!(due.poll().is_pending());
        advance(Duration::from_millis(1)).await;
        checkpoint.wrote(1);
        assert!(due.is_woken() && due.poll().is_ready());
        assert!(!checkpoint.is_overdue());
        checkpoint.wrote(BYTES);
        assert!(checkpoint.is_overdue());
    }
}
