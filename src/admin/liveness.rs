//! Whether the workers of the router's runtime make progress.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

/// Watches the workers of a runtime from a thread that is none of them.
///
/// A worker of tokio is parked, or runs tasks. One that runs tasks says how long it was busy every 61 of them, under load as
/// well; one that does not for [`ALLOWED`](Self::ALLOWED) is in a task that does not come back. That a beat, a task of
/// the runtime's own, comes through shows beside it that timers and wake-ups work.
///
/// The times count what the watching thread has seen itself: a process that was stopped, or a machine that slept, is no
/// runtime that stands still.
#[derive(Debug)]
pub(super) struct Liveness {
    /// Empty until the first look.
    watched: Mutex<Vec<Watched>>,
}

/// Something that is to move.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    what: What,
    last: Sign,
    /// How long nothing moved, as far as it was seen.
    still: Duration,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Worker { index: usize, of: usize },
    Beat,
}

/// What changes with progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Worker { parks: u64, busy: Duration },
    Beat(u64),
}

/// Something that has stood still for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    what: What,
    still: Duration,
    since: Timestamp,
}

// === impl Liveness ===

impl Liveness {
    /// How long a worker may be in tasks without a sign of progress. 61 reads, checks and writes of the largest kind take
    /// some tens of milliseconds.
    pub(super) const ALLOWED: Duration = Duration::from_secs(5);

    /// From one look to the next.
    const PERIOD: Duration = Duration::from_millis(500);

    /// From one beat to the next.
    const BEAT: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self {
            watched: Mutex::default(),
        }
    }

    /// What is stuck; nothing if all is well.
    pub(super) fn stuck(&self) -> Vec<Stuck> {
        let watched = self.watched();
        let stuck = watched.iter().filter(|one| one.still >= one.what.allowed());
        stuck.map(Stuck::of).collect()
    }

    /// Watches for ever.
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
            self.look(&signs, now - last);
            last = now;
        }
    }

    /// Takes down what there is to see, so long after the last look.
    fn look(&self, signs: &[(What, Sign)], passed: Duration) {
        // Had this thread stood still itself, it would know nothing of the others.
        let passed = passed.min(Self::PERIOD * 2);
        let now = Timestamp::now();
        let mut watched = self.watched();
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

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        // Only the watching thread ever holds it.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// How long it may stand still.
    fn allowed(self) -> Duration {
        match self {
            Self::Worker { .. } => Liveness::ALLOWED,
            // It stands still for a second at a time anyway.
            Self::Beat => Liveness::ALLOWED + Liveness::BEAT * 2,
        }
    }
}

// === impl Sign ===

impl Sign {
    /// Whether it has to change: a parked worker has nothing to do. Parking and its end count one each.
    fn is_due(self) -> bool {
        match self {
            Self::Worker { parks, .. } => parks % 2 == 0,
            Self::Beat(_) => true,
        }
    }
}

// === impl Stuck ===

impl Stuck {
    fn of(watched: &Watched) -> Self {
        Self {
            what: watched.what,
            still: watched.still,
            since: watched.since,
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, still, since } = self;
        match what {
            What::Worker { index, of } => write!(
                f,
                "worker {} of {of} has not come back from a task",
                index + 1
            )?,
            What::Beat => write!(f, "timers and wake-ups do not come through")?,
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

    fn look_for(liveness: &Liveness, signs: &[(What, Sign)], time: Duration) {
        let looks = time.as_millis() / Liveness::PERIOD.as_millis();
        for _ in 0..looks {
            liveness.look(signs, Liveness::PERIOD);
        }
    }

    #[test]
    fn a_worker_that_is_not_parked_and_does_not_move_is_stuck_after_a_while() {
        let liveness = Liveness::new();
        let minute = Duration::from_mins(1);
        look_for(&liveness, &worker(7, 5), minute);
        assert_eq!(liveness.stuck(), [], "parked");
        liveness.look(&worker(8, 5), Liveness::PERIOD);
        look_for(&liveness, &worker(8, 5), Duration::from_millis(4_500));
        assert_eq!(liveness.stuck(), [], "not yet");
        look_for(&liveness, &worker(8, 5), Duration::from_secs(1));
        let said: Vec<_> = liveness.stuck().iter().map(ToString::to_string).collect();
        let [said] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert!(
            said.starts_with("worker 1 of 2 has not come back from a task since "),
            "{said}"
        );
        assert!(said.ends_with(", for 5 s"), "{said}");
        liveness.look(&worker(8, 6), Liveness::PERIOD);
        assert_eq!(liveness.stuck(), [], "it has come back, and is busy");
    }

    #[test]
    fn a_process_that_was_stopped_is_not_taken_for_one_that_hangs() {
        let liveness = Liveness::new();
        liveness.look(&worker(8, 5), Liveness::PERIOD);
        liveness.look(&worker(8, 5), Duration::from_hours(1));
        assert_eq!(liveness.stuck(), []);
    }
}
