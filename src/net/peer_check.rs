//! A check that the peer of a connection is still there and takes the data that was sent, even while no write is
//! waiting.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{Keepalive, Liveness, Uptake, UptakeLevel, UserTimeout};

/// Watches the peer of a TCP connection as long as the connection is in use.
///
/// A write notices a peer that takes no data only when the send buffer is full. `TCP_USER_TIMEOUT` is not a substitute:
/// while the peer's window is closed, Linux counts probes, and restarts the count only when the window has room for a
/// whole segment (`tcp_ack_probe`). A segment has up to 64 KiB on loopback, so Linux cut off peers that had just taken
/// data. This check counts the acknowledged bytes instead.
///
/// While no data waits, the next check is at the earliest time at which the peer's silence can reach the limit. So idle
/// connections do not wake the process every second.
///
/// On a unix socket nothing is checked: the peer is a process of this machine, and the kernel closes the connection
/// when the process ends.
#[derive(Debug)]
pub(crate) struct PeerCheck {
    allowed: Duration,
    /// The longest allowed silence of an idle peer. It is longer than `allowed` by one keepalive interval, because an
    /// idle peer sends nothing until it is probed.
    silence: Duration,
    /// The time of the last check that found progress, or of the first check that found waiting bytes.
    since: Instant,
    seen: Option<UptakeLevel>,
    next_look: Pin<Box<Sleep>>,
    /// True if no data was waiting at the last check and none was written since then. In that case, the next check is
    /// due at the first moment at which the peer can have been silent for too long.
    idle: bool,
    /// True if there is no network between the two sides.
    off: bool,
}

/// The longest time between two checks while data waits.
const INTERVAL: Duration = Duration::from_secs(1);

// === impl PeerCheck ===

impl PeerCheck {
    /// Creates a check that begins now. The peer may leave sent data unacknowledged for up to `allowed`.
    pub(crate) fn new(allowed: Duration) -> Self {
        Self {
            allowed,
            silence: allowed + Keepalive::within(UserTimeout(allowed)).interval,
            since: Instant::now(),
            seen: None,
            next_look: Box::pin(sleep(interval(allowed))),
            idle: false,
            off: false,
        }
    }

    /// Becomes ready when the peer has acknowledged none of the waiting data for `allowed`, or has not answered
    /// keepalive probes.
    pub(crate) fn poll<P: Liveness + Uptake>(
        &mut self,
        peer: &P,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while !self.off {
            ready!(self.next_look.as_mut().poll(cx));
            let Some(heard) = peer.last_heard() else {
                self.off = true;
                break;
            };
            if heard >= self.silence || self.is_stalled(peer) {
                return Poll::Ready(());
            }
            let mut pause = interval(self.allowed);
            if self.idle {
                pause = pause.max(self.silence.saturating_sub(heard));
            }
            self.next_look.as_mut().reset(Instant::now() + pause);
        }
        Poll::Pending
    }

    /// Makes the next check soon. The caller must call this after it has written data.
    pub(crate) fn wrote(&mut self) {
        if self.idle {
            self.idle = false;
            let soon = Instant::now() + interval(self.allowed);
            if self.next_look.deadline() > soon {
                self.next_look.as_mut().reset(soon);
            }
        }
    }

    fn is_stalled<P: Uptake>(&mut self, peer: &P) -> bool {
        let level = peer.uptake();
        self.idle = level.is_none_or(|level| level.waiting() == 0);
        // If the level is unknown, only the kernel's own timeout applies. In that case, `dial_tcp` has set this timeout
        // to `allowed`.
        let Some(level) = level else {
            return false;
        };
        let now = Instant::now();
        // The peer has made progress if it has acknowledged bytes that were already waiting at the last check. Bytes
        // that were written later do not matter, because the peer acknowledges them last.
        let before = self.seen.replace(level);
        if before.is_none_or(|before| before.waiting() == 0 || level.is_past(before)) {
            self.since = now;
        }
        now - self.since >= self.allowed
    }
}

fn interval(allowed: Duration) -> Duration {
    INTERVAL.min(allowed / 8)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use super::*;

    const ALLOWED: Duration = Duration::from_secs(30);

    /// A peer on TCP, as a function of the time since it was made.
    struct Peer<F> {
        begun: Instant,
        /// Takes the seconds since `begun`. Returns three numbers: the bytes that the peer has taken, the bytes that
        /// wait, and the seconds since the last sign of life from the peer.
        at: F,
        looks: Cell<u32>,
    }

    impl<F: Fn(u64) -> (u64, u64, u64)> Peer<F> {
        fn new(at: F) -> Self {
            Self {
                begun: Instant::now(),
                at,
                looks: Cell::new(0),
            }
        }

        fn now(&self) -> (u64, u64, u64) {
            (self.at)(self.begun.elapsed().as_secs())
        }
    }

    impl<F: Fn(u64) -> (u64, u64, u64)> Uptake for Peer<F> {
        fn uptake(&self) -> Option<UptakeLevel> {
            let (taken, waiting, _) = self.now();
            Some(UptakeLevel::acknowledged(taken, waiting))
        }
    }

    impl<F: Fn(u64) -> (u64, u64, u64)> Liveness for Peer<F> {
        fn last_heard(&self) -> Option<Duration> {
            self.looks.set(self.looks.get() + 1);
            Some(Duration::from_secs(self.now().2))
        }
    }

    /// Returns the seconds until the check gives up on the peer, or `None` if it does not within ten minutes.
    async fn given_up(at: impl Fn(u64) -> (u64, u64, u64)) -> Option<u64> {
        let peer = Peer::new(at);
        let mut check = PeerCheck::new(ALLOWED);
        let over = poll_fn(|cx| check.poll(&peer, cx));
        let over = tokio::time::timeout(Duration::from_mins(10), over).await;
        over.ok().map(|()| peer.begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_of_what_waits_is_given_up() {
        // The peer answers all the time, but its window is closed.
        let took = given_up(|_| (0, 100, 1)).await.expect("given up");
        assert!((30..=32).contains(&took), "{took}");
        // The peer takes data for 100 s.
        let took = given_up(|second| (second.min(100), 100, 1)).await;
        let took = took.expect("given up");
        assert!((130..=132).contains(&took), "{took}");
        // New data is written all the time.
        let took = given_up(|second| (0, second + 1, second)).await;
        let took = took.expect("given up");
        assert!((30..=32).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_something_in_time_is_kept() {
        assert_eq!(given_up(|second| (second / 29, 100, 29)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_is_given_up_when_it_does_not_answer_keepalive() {
        // The first keepalive probe is sent after 15 s, and the next ones every 5 s.
        assert_eq!(given_up(|second| (9, 0, second % 15)).await, None);
        let took = given_up(|second| (9, 0, second)).await.expect("given up");
        assert!((35..=36).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn data_after_an_idle_time_gets_all_the_time_there_is() {
        // The first time is just before a check, the second one just after it.
        for written in [174, 176] {
            let peer = Peer::new(|second| {
                let waiting = u64::from(second >= written);
                (9, waiting, second.saturating_sub(written))
            });
            let mut check = PeerCheck::new(ALLOWED);
            let idle = poll_fn(|cx| check.poll(&peer, cx));
            let idle = tokio::time::timeout(Duration::from_secs(written), idle).await;
            assert!(idle.is_err(), "{written}");
            check.wrote();
            poll_fn(|cx| check.poll(&peer, cx)).await;
            let took = peer.begun.elapsed().as_secs() - written;
            assert!((30..=32).contains(&took), "{took} after {written}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_once_a_second_while_data_waits_and_rarely_otherwise() {
        let looks = async |at: fn(u64) -> (u64, u64, u64)| {
            let peer = Peer::new(at);
            let mut check = PeerCheck::new(ALLOWED);
            let over = poll_fn(|cx| check.poll(&peer, cx));
            let _ = tokio::time::timeout(Duration::from_secs(100), over).await;
            peer.looks.get()
        };
        let busy = looks(|second| (second, 100, 0)).await;
        assert!((95..=100).contains(&busy), "{busy}");
        // The peer is heard every 15 s.
        let idle = looks(|second| (9, 0, second % 15)).await;
        assert!((3..=6).contains(&idle), "{idle}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_network_it_stops_looking() {
        struct Local;
        impl Uptake for Local {
            fn uptake(&self) -> Option<UptakeLevel> {
                unreachable!("it is not asked")
            }
        }
        impl Liveness for Local {
            fn last_heard(&self) -> Option<Duration> {
                None
            }
        }
        let mut check = PeerCheck::new(ALLOWED);
        let over = poll_fn(|cx| check.poll(&Local, cx));
        let over = tokio::time::timeout(Duration::from_hours(1), over).await;
        assert!(over.is_err());
        assert!(check.off);
    }
}
