//! The monotonic clock, which is the same in all processes of the machine.

use nix::{
    errno::Errno,
    sys::{prctl::set_timerslack, time::TimeSpec},
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};

const SECOND: u64 = 1_000_000_000;

/// Returns the time in nanoseconds. 0 is the start of the machine.
pub(crate) fn now() -> u64 {
    let now = ClockId::CLOCK_MONOTONIC
        .now()
        .expect("Linux has this clock");
    nanoseconds(now)
}

/// Sleeps until the clock shows `at`, or longer.
pub(crate) fn sleep_until(at: u64) {
    let seconds = i64::try_from(at / SECOND).unwrap_or(i64::MAX);
    let rest = i64::try_from(at % SECOND).expect("less than a second");
    let at = TimeSpec::new(seconds, rest);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &at) == Err(Errno::EINTR) {}
}

/// Lets the calling thread, and the threads that it starts, sleep precisely. Without this, Linux
/// may add 50 µs to each sleep.
pub(crate) fn sleep_precisely() -> nix::Result<()> {
    set_timerslack(1)
}

/// Returns a duration in nanoseconds. The clocks used here never show negative times.
pub(crate) fn nanoseconds(time: TimeSpec) -> u64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds * SECOND + rest
}
