//! The clock of the admin endpoint's regular work.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    fs::Timespec,
    io::read,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

/// Ticks at regular intervals, the first one immediately. If the reader is late, it gets a single tick for all the
/// ticks that it missed.
///
/// The kernel runs the timer, so each tick wakes the thread only once. A timer of tokio wakes it two or three times a
/// second, because tokio moves a timer from coarse to fine slots when its time is near.
#[derive(Debug)]
pub(super) struct Ticks(AsyncFd<OwnedFd>);

// === impl Ticks ===

impl Ticks {
    /// Starts the timer. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// If the system is out of descriptors.
    pub(super) fn start(period: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let schedule = Itimerspec {
            it_interval: spec(period),
            // With the value zero, the timer would not start.
            it_value: spec(Duration::from_nanos(1)),
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &schedule)?;
        #[allow(
            deprecated,
            reason = "the replacement is unsafe, and an `OwnedFd` is a descriptor that stays open"
        )]
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// Waits for the next tick.
    pub(super) async fn tick(&self) {
        let read = |timer: &OwnedFd| {
            let mut ticks = [0; 8];
            Ok(read(timer, &mut ticks)?)
        };
        // Reading a timer that was started does not fail. If it fails anyway, this function never returns, because its
        // caller would call it again and again without a wait.
        if self.0.async_io(Interest::READABLE, read).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn spec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_first_tick_is_immediate_and_missed_ticks_are_one() {
        let period = Duration::from_millis(200);
        let begun = Instant::now();
        let ticks = Ticks::start(period).expect("a timer");
        ticks.tick().await;
        ticks.tick().await;
        assert!(begun.elapsed() >= period, "{:?}", begun.elapsed());
        std::thread::sleep(period * 3);
        // After the missed ticks, the next tick follows the original schedule.
        ticks.tick().await;
        let late = Instant::now();
        ticks.tick().await;
        ticks.tick().await;
        assert!(late.elapsed() >= period, "{:?}", late.elapsed());
    }
}
