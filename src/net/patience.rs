//! How long a peer may take nothing of what was written to it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{Uptake, UptakeLevel};

/// A wait for a peer that ends when the peer has taken nothing for a while. A slow peer is waited for.
///
/// Make one when a write has to wait, and another when the write has made progress. It costs nothing but a timer at first:
/// a write that waits for less than a tenth of a second never asks the operating system.
#[derive(Debug)]
pub struct Patience {
    allowed: Duration,
    /// Whether it may take nothing for as long as it has been taking, if that is longer.
    grows: bool,
    begun: Instant,
    /// When the peer was last seen to have taken something, or else when the wait began.
    since: Instant,
    seen: Option<UptakeLevel>,
    next_look: Pin<Box<Sleep>>,
}

/// Before the first look at what the peer has taken.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// Between two looks, and from the beginning to one of them: whoever counts waits of a second is polled just then.
const SECOND: Duration = Duration::from_secs(1);

// === impl Patience ===

impl Patience {
    /// A wait that begins now, for a peer that may take nothing for so long.
    pub fn new(allowed: Duration) -> Self {
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

    /// Allows the peer as long again as it has been taking, if that is longer.
    ///
    /// For an answer that comes when the peer has read all: what its system has taken is nowhere to be seen any more, and a
    /// peer that reads slowly needs as long for it as for what one saw it take.
    #[must_use]
    pub fn growing(mut self) -> Self {
        self.grows = true;
        self
    }

    /// How long ago it began.
    pub fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ready when the peer has taken nothing for as long as it may.
    ///
    /// Without a word from the operating system, that is when the wait has lasted for so long.
    pub fn poll(&mut self, peer: &impl Uptake, cx: &mut Context<'_>) -> Poll<()> {
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

    /// For how long it may take nothing now.
    fn silence(&self) -> Duration {
        let taking = self.since - self.begun;
        if self.grows && taking > self.allowed {
            taking
        } else {
            self.allowed
        }
    }

    /// Whether the peer may have taken something since the last look. It may before the first one.
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

    /// A peer that takes a byte of a unix socket's whenever so much time has passed, up to a moment.
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

    /// A peer of which nothing is known.
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
    async fn a_peer_is_waited_for_until_it_takes_nothing_for_so_long() {
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
    async fn a_peer_that_has_taken_for_long_gets_as_long_again() {
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
    async fn a_short_wait_asks_for_nothing_and_a_long_one_once_a_second() {
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
