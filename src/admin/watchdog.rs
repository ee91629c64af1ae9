//! A watchdog over the workers of the router's runtime.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::Timestamp;
use crate::lock::Mutex;

/// Watches the workers of a runtime from a thread outside of it.
///
/// A tokio worker either is parked or runs tasks. A worker that runs tasks updates its busy time after every 61 tasks, also
/// under load. A worker whose busy time does not change for [`ALLOWED`](Self::ALLOWED) is stuck in a task. In addition, a
/// task of the runtime counts beats once a second; the count shows that timers and wake-ups work.
///
/// The watchdog only adds up the time between its own checks, so a runtime does not look stuck because the process was
/// stopped or the machine suspended.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// Empty until the first check.
    watched: Mutex<Vec<Watched>>,
}

/// A worker or the beat, with its last sign of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    what: What,
    last: Sign,
    /// The time without progress that the watchdog has observed.
    still: Duration,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Worker { index: usize, of: usize },
    Beat,
}

/// A value that changes with progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Worker { parks: u64, busy: Duration },
    Beat(u64),
}

// === impl Watchdog ===

impl Watchdog {
    /// The longest time that a worker may run tasks without a sign of progress. The 61 tasks between two signs take some
    /// tens of milliseconds, even with the largest reads, checks and writes.
    pub(super) const ALLOWED: Duration = Duration::from_secs(5);

    /// The interval between checks.
    const PERIOD: Duration = Duration::from_millis(500);

    /// The interval between beats.
    const BEAT: Duration = Duration::from_secs(1);

    /// Returns the workers and the beat that are stuck; an empty list if none is.
    pub(super) fn stuck(&self) -> Vec<Watched> {
        let mut watched = self.watched.lock().clone();
        watched.retain(|one| one.still >= one.what.allowed());
        watched
    }

    /// Checks the runtime regularly until the task is aborted.
    pub(super) async fn watch(&self, runtime: runtime::Handle) {
        let beats = Arc::new(AtomicU64::new(0));
        let beating = Arc::clone(&beats);
        let _beat = AbortOnDropHandle::new(runtime.spawn(async move {
            loop {
                sleep(Self::BEAT).await;
                beating.fetch_add(1, Relaxed);
            }
        }));
        let mut ticks = interval(Self::PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let signs = signs(&runtime.metrics(), beats.load(Relaxed));
            self.check(&signs, now - last);
            last = now;
        }
    }

    /// Records the current signs of progress, taken `passed` after the last check.
    fn check(&self, signs: &[(What, Sign)], passed: Duration) {
        // A longer gap means that this thread itself was stopped and observed nothing meanwhile.
        let passed = passed.min(Self::PERIOD * 2);
        let now = Timestamp::now();
        let mut watched = self.watched.lock();
        let before = std::mem::take(&mut *watched);
        let mut before = before.into_iter();
        *watched = signs
            .iter()
            .map(|(what, sign)| match before.next() {
                Some(one) if one.last == *sign && sign.is_due() => Watched {
                    still: one.still + passed,
                    ..one
                },
                _ => Watched {
                    what: *what,
                    last: *sign,
                    still: Duration::ZERO,
                    since: now,
                },
            })
            .collect();
    }
}

fn signs(metrics: &runtime::RuntimeMetrics, beats: u64) -> Vec<(What, Sign)> {
    let of = metrics.num_workers();
    let worker = |index| {
        let sign = Sign::Worker {
            parks: metrics.worker_park_unpark_count(index),
            busy: metrics.worker_total_busy_duration(index),
        };
        (What::Worker { index, of }, sign)
    };
    let workers = (0..of).map(worker);
    workers.chain([(What::Beat, Sign::Beat(beats))]).collect()
}

// === impl What ===

impl What {
    /// The time allowed without progress.
    fn allowed(self) -> Duration {
        match self {
            Self::Worker { .. } => Watchdog::ALLOWED,
            // The count of beats changes only once a second.
            Self::Beat => Watchdog::ALLOWED + Watchdog::BEAT * 2,
        }
    }
}

// === impl Sign ===

impl Sign {
    /// Returns whether progress is expected. A parked worker has nothing to do, so no progress is expected. Its count
    /// of parks and unparks is odd.
    fn is_due(self) -> bool {
        match self {
            Self::Worker { parks, .. } => parks % 2 == 0,
            Self::Beat(_) => true,
        }
    }
}

// === impl Watched ===

/// Displays the worker or the beat as stuck.
impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { still, since, .. } = self;
        match self.what {
            What::Worker { index, of } => {
                write!(f, "worker {} of {of} is stuck in a task", index + 1)?;
            }
            What::Beat => f.write_str("timers and wake-ups are stuck")?,
        }
        write!(f, " since {since}, for {} s", still.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(parks: u64, busy: u64) -> Vec<(What, Sign)> {
        let busy = Duration::from_millis(busy);
        let what = What::Worker { index: 0, of: 2 };
        vec![(what, Sign::Worker { parks, busy })]
    }

    fn check_for(watchdog: &Watchdog, signs: &[(What, Sign)], time: Duration) {
        let checks = time.as_millis() / Watchdog::PERIOD.as_millis();
        for _ in 0..checks {
            watchdog.check(signs, Watchdog::PERIOD);
        }
    }

    #[test]
    fn a_busy_worker_without_progress_is_stuck_after_five_seconds() {
        let watchdog = Watchdog::default();
        let minute = Duration::from_mins(1);
        check_for(&watchdog, &worker(7, 5), minute);
        assert_eq!(watchdog.stuck(), [], "parked");
        watchdog.check(&worker(8, 5), Watchdog::PERIOD);
        check_for(&watchdog, &worker(8, 5), Duration::from_millis(4_500));
        assert_eq!(watchdog.stuck(), [], "not yet");
        check_for(&watchdog, &worker(8, 5), Duration::from_secs(1));
        let said: Vec<_> = watchdog.stuck().iter().map(ToString::to_string).collect();
        let [said] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert!(
            said.starts_with("worker 1 of 2 is stuck in a task since "),
            "{said}"
        );
        assert!(said.ends_with(", for 5 s"), "{said}");
        watchdog.check(&worker(8, 6), Watchdog::PERIOD);
        assert_eq!(watchdog.stuck(), [], "it makes progress again");
    }

    #[test]
    fn a_stopped_process_does_not_look_stuck() {
        let watchdog = Watchdog::default();
        watchdog.check(&worker(8, 5), Watchdog::PERIOD);
        watchdog.check(&worker(8, 5), Duration::from_hours(1));
        assert_eq!(watchdog.stuck(), []);
    }
}
