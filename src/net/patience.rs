//! The wait for a peer that has to take written data.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Uptake, UptakeLevel};

/// A wait for a peer. It ends when the peer has taken no data for some time; as long as the peer takes data, however
/// slowly, the wait continues.
///
/// Create a new `Patience` each time a write has to wait, and again after the write has made progress. This is cheap:
/// the peer is first checked after 100 ms, so a write that waits less makes no extra system call.
#[derive(Debug)]
pub(crate) struct Patience {
    allowed: Duration,
    /// If true, a peer that took data for longer than `allowed` may pause for as long as it took data.
    grows: bool,
    begun: Instant,
    /// The last time at which progress of the peer was seen; at first, the start of the wait.
    since: Instant,
    seen: Option<UptakeLevel>,
    next_look: Pin<Box<Sleep>>,
}

/// The delay before the first check of the peer's uptake.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The longest time between two checks. One check happens exactly one second after the wait began, because at that time
/// the caller counts its write as stalled.
const SECOND: Duration = Duration::from_secs(1);

// === impl Patience ===

impl Patience {
    /// Creates a wait that begins now. It ends when the peer has taken no data for `allowed`.
    pub(crate) fn new(allowed: Duration) -> Self {
        let begun = Instant::now();
        Self {
            allowed,
            grows: false,
            begun,
            since: begun,
            seen: None,
            next_look: Box::pin(sleep_until(begun + FIRST_LOOK.min(allowed / 8))),
        }
    }

    /// Sets the allowed pause to the time for which the peer has been taking data, or to `allowed` if that is longer.
    ///
    /// Use this function for the wait for an answer that the peer sends after it has read all data. When the peer's
    /// kernel has taken all bytes, no more progress is visible, but a slow program still needs time to read these
    /// bytes.
    #[must_use]
    pub(crate) fn growing(mut self) -> Self {
        self.grows = true;
        self
    }

    /// Returns the time since the wait began.
    pub(crate) fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Becomes ready when the peer has taken no data for too long.
    ///
    /// If the operating system does not report the uptake, the whole wait is limited to the allowed time.
    pub(crate) fn poll(&mut self, peer: &impl Uptake, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.next_look.as_mut().poll(cx));
            let now = Instant::now();
            if self.look(peer) {
                self.since = now;
            }
            let end = self.since + self.silence();
            if now >= end {
                return Poll::Ready(());
            }
            let mut next = (now + SECOND.min(self.allowed / 8)).min(end);
            let second = self.begun + SECOND;
            if now < second {
                next = next.min(second);
            }
            self.next_look.as_mut().reset(next);
        }
    }

    /// Returns the longest time that the peer may currently pause without taking data.
    fn silence(&self) -> Duration {
        let taking = self.since - self.begun;
        if self.grows && taking > self.allowed {
            taking
        } else {
            self.allowed
        }
    }

    /// Returns whether the peer has taken data since the last check. The first check assumes that the peer has taken
    /// data.
    fn look(&mut self, peer: &impl Uptake) -> bool {
        let now = peer.uptake();
        let before = std::mem::replace(&mut self.seen, now);
        match (before, now) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(now)) => now.is_past(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use tokio::time::sleep;

    use super::*;

    /// A peer that reads one byte from a unix socket each time `every` has passed. After `until`, it reads nothing.
    struct Peer {
        begun: Instant,
        every: Duration,
        until: Duration,
        looks: Cell<u32>,
    }

    impl Peer {
        fn new(every: Duration, until: Duration) -> Self {
            Self {
                begun: Instant::now(),
                every,
                until,
                looks: Cell::new(0),
            }
        }
    }

    impl Uptake for Peer {
        fn uptake(&self) -> Option<UptakeLevel> {
            self.looks.set(self.looks.get() + 1);
            let awake = self.begun.elapsed().min(self.until);
            let taken = awake.as_nanos() / self.every.as_nanos();
            Some(UptakeLevel::unread(
                1_000_000 - u64::try_from(taken).expect("few"),
            ))
        }
    }

    /// A peer whose uptake the operating system does not report.
    struct Unknown;

    impl Uptake for Unknown {
        fn uptake(&self) -> Option<UptakeLevel> {
            None
        }
    }

    async fn wait(patience: &mut Patience, peer: &impl Uptake) -> Duration {
        poll_fn(|cx| patience.poll(peer, cx)).await;
        patience.waited()
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_when_the_peer_takes_nothing_for_the_allowed_time() {
        for allowed in [1, 3, 5, 30, 600].map(Duration::from_secs) {
            let look = SECOND.min(allowed / 8);
            for stops in [Duration::ZERO, allowed * 3] {
                let peer = Peer::new(allowed / 2, stops);
                let waited = wait(&mut Patience::new(allowed), &peer).await;
                assert!(waited >= stops + allowed, "{waited:?} for {allowed:?}");
                assert!(
                    waited <= stops + allowed + look,
                    "{waited:?} for {allowed:?}"
                );
            }
            let waited = wait(&mut Patience::new(allowed), &Unknown).await;
            assert_eq!(waited, allowed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_growing_wait_allows_a_pause_as_long_as_the_progress_before() {
        let allowed = Duration::from_secs(4);
        for (stops, ends) in [(0, 4), (2, 6), (8, 16), (60, 120)] {
            let peer = Peer::new(Duration::from_secs(1), Duration::from_secs(stops));
            let waited = wait(&mut Patience::new(allowed).growing(), &peer).await;
            let waited = waited.as_secs_f64();
            assert!(
                (f64::from(ends)..f64::from(ends) + 1.5).contains(&waited),
                "{waited}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn short_waits_never_look_and_long_ones_look_once_a_second() {
        let allowed = Duration::from_secs(30);
        let peer = Peer::new(Duration::from_millis(1), allowed);
        let mut patience = Patience::new(allowed);
        let mut waiting = tokio_test::task::spawn(poll_fn(|cx| patience.poll(&peer, cx)));
        assert!(waiting.poll().is_pending());
        sleep(Duration::from_millis(99)).await;
        assert!(waiting.poll().is_pending());
        assert_eq!(peer.looks.get(), 0);
        sleep(Duration::from_millis(901)).await;
        assert!(waiting.is_woken());
        for second in 1..20 {
            assert!(waiting.poll().is_pending());
            assert!(
                peer.looks.get() <= second + 1,
                "{} in {second} s",
                peer.looks.get()
            );
            sleep(SECOND).await;
        }
    }
}
