//! A watchdog over the workers of the router's runtime.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime, time::sleep};

use super::{Timestamp, history::History};
use crate::lock::Mutex;

/// Watches the workers of a runtime from a thread outside of it.
///
/// A tokio worker either is parked or runs tasks. A worker that runs tasks updates its busy time after every 61 tasks,
/// also under load. A worker whose busy time does not change for [`ALLOWED`](Self::ALLOWED) is stuck in a task.
///
/// In addition, the watchdog starts beats in the runtime. A beat is a task that waits for a timer and then increments a
/// counter, which shows that timers and wake-ups work. Because a beat wakes an idle runtime, the watchdog starts one
/// every second only while frames arrive. While no frames arrive, it starts a beat only after a call of
/// [`stuck`](Self::stuck). Therefore the first call of `stuck` after a time without frames says nothing about timers.
///
/// The watchdog only adds up the time between its own checks. So a runtime does not look stuck because the process was
/// stopped or the machine was suspended.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// The state of each worker and of the beat. Empty until the first check.
    watched: Mutex<Vec<Watched>>,
    beats: Arc<Beats>,
    /// True if [`stuck`](Self::stuck) was called since the last check.
    is_read: AtomicBool,
}

/// The numbers of beats that were started and that have ended. A beat is a task that tests timers.
#[derive(Debug, Default)]
struct Beats {
    asked: AtomicU64,
    counted: AtomicU64,
}

/// A part of the runtime that the watchdog watches: a worker or the beat. Contains the part's last sign of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    what: What,
    last: Sign,
    /// The time without progress, as far as the watchdog has observed it.
    still: Duration,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Worker { index: usize, of: usize },
    Beat,
}

/// A value that changes whenever a worker makes progress or a beat ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Worker { parks: u64, busy: Duration },
    Beat { asked: u64, counted: u64 },
}

// === impl Watchdog ===

impl Watchdog {
    /// The longest time that a worker may run tasks without a sign of progress. A worker gives a sign after every 61
    /// tasks. These take some tens of milliseconds, even with the largest reads and writes.
    pub(super) const ALLOWED: Duration = Duration::from_secs(5);

    /// The interval between checks.
    const PERIOD: Duration = History::PERIOD;

    /// Returns the stuck parts of the runtime: each stuck worker, and the beat if timers or wake-ups are stuck. The
    /// list is empty if nothing is stuck.
    pub(super) fn stuck(&self) -> Vec<Watched> {
        self.is_read.store(true, Relaxed);
        let mut watched = self.watched.lock().clone();
        watched.retain(|one| one.still >= Self::ALLOWED);
        watched
    }

    /// Checks the runtime. `passed` is the time since the last check. Starts a beat if `is_busy` is set, or if
    /// [`stuck`](Self::stuck) was called since the last check.
    pub(super) fn check(&self, runtime: &runtime::Handle, passed: Duration, is_busy: bool) {
        let signs = signs(&runtime.metrics(), &self.beats);
        self.record(&signs, passed);
        let is_read = self.is_read.swap(false, Relaxed);
        if is_busy || is_read {
            self.beats.ask(runtime);
        }
    }

    /// Records the current signs of progress of all workers and of the beat. `passed` is the time since the last
    /// record.
    fn record(&self, signs: &[(What, Sign)], passed: Duration) {
        // If more than two periods have passed, the watchdog's own thread was stopped and observed nothing. So only two
        // periods count.
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

fn signs(metrics: &runtime::RuntimeMetrics, beats: &Beats) -> Vec<(What, Sign)> {
    let of = metrics.num_workers();
    let worker = |index| {
        let sign = Sign::Worker {
            parks: metrics.worker_park_unpark_count(index),
            busy: metrics.worker_total_busy_duration(index),
        };
        (What::Worker { index, of }, sign)
    };
    let workers = (0..of).map(worker);
    workers.chain([(What::Beat, beats.sign())]).collect()
}

// === impl Beats ===

impl Beats {
    /// The time for which a beat waits for its timer. It is as short as possible, because a longer wait would wake the
    /// worker more than once.
    const WAIT: Duration = Duration::from_millis(1);

    /// Starts a beat, which tests the timers of the runtime. Does nothing if the last beat has not ended yet.
    fn ask(self: &Arc<Self>, runtime: &runtime::Handle) {
        let Sign::Beat { asked, counted } = self.sign() else {
            return;
        };
        if asked != counted {
            return;
        }
        self.asked.store(asked + 1, Relaxed);
        let beats = Arc::clone(self);
        runtime.spawn(async move {
            sleep(Self::WAIT).await;
            beats.counted.fetch_add(1, Relaxed);
        });
    }

    fn sign(&self) -> Sign {
        Sign::Beat {
            asked: self.asked.load(Relaxed),
            counted: self.counted.load(Relaxed),
        }
    }
}

// === impl Sign ===

impl Sign {
    /// Returns whether progress is expected. A worker must make progress while it runs tasks; at such times, its count
    /// of parks and unparks is even. A beat must make progress from its start to its end; at such times, more beats
    /// have started than ended.
    fn is_due(self) -> bool {
        match self {
            Self::Worker { parks, .. } => parks % 2 == 0,
            Self::Beat { asked, counted } => asked != counted,
        }
    }
}

// === impl Watched ===

/// Displays a message that says that this worker is stuck, or that timers and wake-ups are stuck.
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
            watchdog.record(signs, Watchdog::PERIOD);
        }
    }

    #[test]
    fn a_busy_worker_without_progress_is_stuck_after_five_seconds() {
        let watchdog = Watchdog::default();
        let minute = Duration::from_mins(1);
        check_for(&watchdog, &worker(7, 5), minute);
        assert_eq!(watchdog.stuck(), [], "parked");
        watchdog.record(&worker(8, 5), Watchdog::PERIOD);
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
        watchdog.record(&worker(8, 6), Watchdog::PERIOD);
        assert_eq!(watchdog.stuck(), [], "it makes progress again");
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        for _ in 0..1000 {
            if condition() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("in vain");
    }

    fn stuck(watchdog: &Watchdog) -> Vec<String> {
        watchdog.stuck().iter().map(ToString::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_beat_is_asked_for_only_if_frames_arrive_or_the_result_is_read() {
        let (watchdog, runtime) = (Watchdog::default(), runtime::Handle::current());
        let second = async |is_busy| {
            watchdog.check(&runtime, Watchdog::PERIOD, is_busy);
            sleep(Watchdog::PERIOD).await;
            watchdog.beats.counted.load(Relaxed)
        };
        assert_eq!(second(false).await, 0);
        assert_eq!(second(true).await, 1);
        assert_eq!(second(false).await, 1);
        assert_eq!(stuck(&watchdog), [""; 0]);
        assert_eq!(second(false).await, 2);
        assert_eq!(second(false).await, 2);
    }

    #[tokio::test]
    async fn timers_are_stuck_if_a_beat_does_not_come_for_five_seconds() {
        let (watchdog, runtime) = (Watchdog::default(), runtime::Handle::current());
        // The only worker of this runtime runs this test, so it looks stuck, too. Only messages about timers count.
        let timers = || -> Vec<String> {
            let said = stuck(&watchdog).into_iter();
            said.filter(|it| it.starts_with("timers and wake-ups are stuck since 20"))
                .collect()
        };
        // The beat is a task of this runtime, so it cannot run until this test waits.
        for _ in 0..6 {
            watchdog.check(&runtime, Watchdog::PERIOD, true);
            assert_eq!(timers(), [""; 0]);
        }
        watchdog.check(&runtime, Watchdog::PERIOD, true);
        let said = timers();
        assert!(said[0].ends_with(", for 5 s"), "{said:?}");
        until(|| {
            watchdog.check(&runtime, Watchdog::PERIOD, false);
            timers().is_empty()
        })
        .await;
    }

    #[test]
    fn a_stopped_process_does_not_look_stuck() {
        let watchdog = Watchdog::default();
        watchdog.record(&worker(8, 5), Watchdog::PERIOD);
        watchdog.record(&worker(8, 5), Duration::from_hours(1));
        assert_eq!(watchdog.stuck(), []);
    }
}
