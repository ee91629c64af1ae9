//! The timer that drives the periodic work of the admin endpoint.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    fs::Timespec,
    io::read,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::warn;

/// Ticks at regular intervals. The first tick comes immediately. If a task asks for ticks too late, it gets a single
/// tick for all the ticks that it missed.
///
/// The kernel runs the timer, so each tick wakes the thread only once. With a timer of tokio, the thread would wake up
/// two or three times for each tick, because tokio moves a timer from coarse to fine slots shortly before its deadline.
/// So tokio's timer is used only if the kernel's timer cannot be read.
#[derive(Debug)]
pub(super) struct Ticks {
    timer: Timer,
    period: Duration,
}

#[derive(Debug)]
enum Timer {
    Kernel(AsyncFd<OwnedFd>),
    Tokio(Interval),
}

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
        Self::reading(timer, period)
    }

    fn reading(timer: OwnedFd, period: Duration) -> io::Result<Self> {
        #[allow(
            deprecated,
            reason = "the replacement is unsafe, and an `OwnedFd` is a descriptor that stays open"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self {
            timer: Timer::Kernel(timer),
            period,
        })
    }

    /// Waits for the next tick.
    pub(super) async fn tick(&mut self) {
        let read = |timer: &OwnedFd| {
            let mut ticks = [0; 8];
            Ok(read(timer, &mut ticks)?)
        };
        match &mut self.timer {
            Timer::Kernel(timer) => {
                if let Err(error) = timer.async_io(Interest::READABLE, read).await {
                    warn!(%error, "cannot read the timer of the admin endpoint; using another timer");
                    // The first tick of tokio's interval comes immediately, so it is consumed here.
                    let mut other = interval(self.period);
                    other.set_missed_tick_behavior(MissedTickBehavior::Skip);
                    other.tick().await;
                    self.timer = Timer::Tokio(other);
                }
            }
            Timer::Tokio(timer) => {
                timer.tick().await;
            }
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

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn the_first_tick_is_immediate_and_missed_ticks_are_one() {
        let period = Duration::from_millis(200);
        let begun = Instant::now();
        let mut ticks = Ticks::start(period).expect("a timer");
        ticks.tick().await;
        ticks.tick().await;
        assert!(begun.elapsed() >= period, "{:?}", begun.elapsed());
        std::thread::sleep(period * 3);
        // All missed ticks come as a single tick. The ticks after it follow the original schedule.
        ticks.tick().await;
        let late = Instant::now();
        ticks.tick().await;
        ticks.tick().await;
        assert!(late.elapsed() >= period, "{:?}", late.elapsed());
    }
    #[tokio::test(start_paused = true)]
    async fn a_timer_that_cannot_be_read_is_replaced() {
        // A socket without a connection stands for a broken timer: it is readable immediately, but reading it fails.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("set");
        let period = Duration::from_secs(1);
        let mut ticks = Ticks::reading(socket.into(), period).expect("a reader");
        let begun = tokio::time::Instant::now();
        for number in 0..4 {
            let tick = tokio::time::timeout(period * 10, ticks.tick());
            tick.await.expect("a tick");
            assert_eq!(begun.elapsed().as_secs(), number);
        }
    }
}
