//! Coalescing: under load, a worker thread pauses for a few milliseconds while work accumulates, and then handles all
//! of it in one batch.
//!
//! When a DNS server writes one frame at a time, most of the cost is not the frame but the wake-up: the worker returns
//! from epoll, reads one frame, writes it to each sink, and goes to sleep again. Network cards have the same problem
//! with packets, and therefore delay their interrupts. [`Coalescing`] delays the workers of a runtime in the same way.
//! While work comes often, each worker pauses before it waits for more work. After the pause, one read returns all
//! frames that arrived in that time, and one write sends them.
//!
//! A pause must neither delay a lone frame nor block a sender that writes at a steady rate. So there is no pause after
//! a quiet time, pauses grow only while work keeps coming, and a pause is so short that the frames that arrive during
//! it fit into a socket's buffer. Only a sudden burst can fill the buffer before the pause ends; the next pauses are
//! then shorter.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Builder;

/// Pauses in which the workers of a runtime collect frames under load.
///
/// When a DNS server writes one frame at a time, most of the cost is not the frame but the wake-up of a worker. With
/// pauses, one wake-up serves all frames that arrive in about [`latency`](crate::config::Config::latency). A frame that
/// arrives after a quiet time leaves immediately. If a sudden burst fills the socket of a sender, the sender waits
/// until the pause ends, at most `latency`.
///
/// The [view](crate::supervisor::View::coalescing) of a router returns the `Coalescing` of that router. Install it only
/// on a runtime that runs nothing except routers, because the pauses block the threads of the runtime.
///
/// ```
/// use tapfan::supervisor::View;
///
/// let view = View::new();
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// view.coalescing().install(builder.worker_threads(1).enable_all());
/// let runtime = builder.build()?;
/// // runtime.block_on(async { Supervisor::start_in(view, &config) …
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Coalescing {
    /// The longest pause, in microseconds. If it is 0, there are no pauses.
    latency: Arc<AtomicU64>,
}

/// The state from which the next pause of one worker is computed.
#[derive(Debug, Default)]
struct Pace {
    /// The length of the last pause.
    pause: Duration,
    /// The time at which the worker last began to wait for work, after its pause.
    waited_from: Option<Instant>,
    /// The time at which the last wait for work ended.
    woke: Option<Instant>,
    /// The duration of the last wait for work.
    idle: Duration,
    /// The time between the ends of the last two waits for work. The frames of the last reads arrived in this time.
    interval: Duration,
}

/// The shortest pause. A shorter one would save less than its system call costs, so it is skipped.
const SHORTEST: Duration = Duration::from_micros(50);

/// The largest number of frames of one sender that should arrive during one pause. A pause is shortened accordingly.
///
/// If a sender writes each frame by itself, about 270 frames fit into the buffer of a unix socket: Linux allows 208 KiB
/// by default, and counts 768 bytes for a small write. When the buffer is full, the sender's next write waits.
const FRAMES: u32 = 160;

thread_local! {
    /// The largest number of frames that one read of this thread returned since the last pause.
    static MOST_FRAMES: Cell<u32> = const { Cell::new(0) };
    static PACE: RefCell<Pace> = RefCell::default();
}

/// Reports the number of frames that one read returned. If a read returned many frames, the next pause of this thread
/// is short.
pub(crate) fn have_read(frames: usize) {
    let frames = u32::try_from(frames).unwrap_or(u32::MAX);
    MOST_FRAMES.set(MOST_FRAMES.get().max(frames));
}

/// Reports that a write waits because its peer does not read. The next wait of this thread begins without a pause, so
/// that the write continues as soon as the peer has read.
pub(crate) fn write_waits() {
    MOST_FRAMES.set(u32::MAX);
}

// === impl Coalescing ===

impl Coalescing {
    /// Returns the longest pause. It is zero before the router has started.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency.load(Relaxed))
    }

    /// Sets the longest pause. With `Duration::ZERO`, there are no pauses.
    pub(crate) fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.store(micros, Relaxed);
    }

    /// Makes the workers of the runtime pause. This function uses the builder's hooks for parking threads.
    pub fn install(&self, builder: &mut Builder) {
        let this = self.clone();
        builder.on_thread_park(move || {
            let latency = this.latency();
            PACE.with_borrow_mut(|pace| {
                let pause = pace.next(MOST_FRAMES.take(), latency);
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
                pace.waits(Instant::now());
            });
        });
        builder.on_thread_unpark(|| PACE.with_borrow_mut(|pace| pace.wakes(Instant::now())));
    }
}

// === impl Pace ===

impl Pace {
    /// Returns the pause before the next wait for work. `frames` is the largest number of frames that one read returned
    /// since the last wait.
    fn next(&mut self, frames: u32, latency: Duration) -> Duration {
        // If work comes less often than once in `latency`, a pause would gain nothing.
        let often = self.woke.is_some() && self.idle < latency;
        let mut pause = (2 * self.pause).max(SHORTEST).min(latency);
        if frames > 0 {
            pause = pause.min(self.interval * FRAMES / frames);
        }
        self.pause = if often && pause >= SHORTEST {
            pause
        } else {
            Duration::ZERO
        };
        self.pause
    }

    fn waits(&mut self, now: Instant) {
        self.waited_from = Some(now);
    }

    fn wakes(&mut self, now: Instant) {
        let since = |then: Option<Instant>| then.map_or(Duration::MAX, |then| now - then);
        self.idle = since(self.waited_from);
        self.interval = since(self.woke).min(Duration::from_secs(1));
        self.woke = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(2);

    /// A worker with a simulated clock.
    struct Worker {
        pace: Pace,
        now: Instant,
    }

    impl Worker {
        fn new() -> Self {
            Self {
                pace: Pace::default(),
                now: Instant::now(),
            }
        }

        /// Simulates one round of a worker: a pause, a wait of the length `wait`, and the processing of `frames` frames
        /// of one sender. Returns the next pause.
        fn round(&mut self, wait: Duration, frames: u32) -> Duration {
            self.now += self.pace.pause;
            self.pace.waits(self.now);
            self.now += wait;
            self.pace.wakes(self.now);
            self.now += Duration::from_micros(5);
            self.pace.next(frames, LATENCY)
        }

        /// Returns the pause and the number of frames per round after many rounds. The sender writes one frame per
        /// `gap`.
        fn settled(&mut self, gap: Duration) -> (Duration, u32) {
            let mut last = (Duration::ZERO, 0);
            for _ in 0..100 {
                // The number of frames that arrive during the pause and the processing. If no frame arrives, the worker
                // waits for one.
                let arrived =
                    (self.pace.pause + Duration::from_micros(5)).as_nanos() / gap.as_nanos();
                let arrived = u32::try_from(arrived).expect("few");
                let wait = if arrived == 0 { gap } else { Duration::ZERO };
                last = (self.round(wait, arrived.max(1)), arrived.max(1));
            }
            last
        }
    }

    #[test]
    fn a_frame_after_a_quiet_time_causes_no_pause() {
        let mut worker = Worker::new();
        for _ in 0..10 {
            assert_eq!(worker.round(LATENCY, 1), Duration::ZERO);
        }
    }

    #[test]
    fn pauses_double_up_to_the_latency_and_end_with_the_load() {
        let mut worker = Worker::new();
        let gap = Duration::from_micros(100);
        let pauses: Vec<_> = (0..8).map(|_| worker.round(gap, 1).as_micros()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(worker.round(LATENCY, 1), Duration::ZERO);
    }

    #[test]
    fn a_sender_is_never_blocked_at_a_steady_rate() {
        for gap in [1, 2, 3, 5, 8, 10, 20, 50, 100, 500, 1000] {
            let mut worker = Worker::new();
            let (pause, frames) = worker.settled(Duration::from_micros(gap));
            assert!(frames <= 270, "{frames} frames at {gap} us");
            assert!(pause <= LATENCY);
            assert!(gap < 20 || pause == LATENCY, "{pause:?} at {gap} us");
        }
    }

    #[test]
    fn no_pause_comes_before_a_wait_of_a_blocked_write_and_none_without_latency() {
        let mut worker = Worker::new();
        worker.settled(Duration::from_micros(100));
        assert_eq!(worker.round(Duration::ZERO, u32::MAX), Duration::ZERO);
        assert_eq!(worker.pace.next(1, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_thread_reports_its_longest_read() {
        have_read(3);
        have_read(7);
        have_read(5);
        assert_eq!(MOST_FRAMES.take(), 7);
        write_waits();
        have_read(5);
        assert_eq!(MOST_FRAMES.take(), u32::MAX);
    }
}
