//! The signals that a command waits for.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The signals, each with the action that it requests.
pub(super) struct Signals<T> {
    each: Vec<(SignalKind, Signal, T)>,
    endings: Endings,
}

/// SIGTERM and SIGINT are one request if they arrive within [`SAME_REQUEST`].
///
/// GNU `timeout` signals the process and then its process group, to which the process belongs. Without this rule, the
/// second of these signals would cut the drain short that the first one starts.
#[derive(Debug, Default)]
struct Endings {
    /// The time of the signal that began the last request.
    last: Option<Instant>,
}

/// The time after SIGTERM or SIGINT in which another of these signals belongs to the same request. A person who presses
/// Ctrl-C again because nothing seems to happen takes longer.
const SAME_REQUEST: Duration = Duration::from_millis(500);

// === impl Signals ===

impl<T: Copy> Signals<T> {
    /// Listens for these signals. From this call on, the signals no longer have their default effect.
    pub(super) fn new(each: impl IntoIterator<Item = (SignalKind, T)>) -> io::Result<Self> {
        let each = each.into_iter();
        let signals = each.map(|(kind, request)| Ok((kind, signal(kind)?, request)));
        Ok(Self {
            each: signals.collect::<io::Result<_>>()?,
            endings: Endings::default(),
        })
    }

    /// Waits for the next request. A signal gets the time at which it is received here, so the caller must not let a
    /// signal wait. Cancel safe.
    pub(super) async fn next(&mut self) -> T {
        poll_fn(|cx| {
            for (kind, signal, request) in &mut self.each {
                // After a signal that is no new request, the next call registers the waker again.
                while signal.poll_recv(cx).is_ready() {
                    if self.endings.is_request(*kind, Instant::now()) {
                        return Poll::Ready(*request);
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Cancels `asked` at the first request, and waits for a request that arrives when `asked` is cancelled.
    pub(super) async fn next_after(&mut self, asked: &CancellationToken) {
        loop {
            self.next().await;
            if asked.is_cancelled() {
                return;
            }
            asked.cancel();
        }
    }
}

// === impl Endings ===

impl Endings {
    /// Returns whether a signal that arrives now is a new request.
    fn is_request(&mut self, kind: SignalKind, now: Instant) -> bool {
        if kind != SignalKind::terminate() && kind != SignalKind::interrupt() {
            return true;
        }
        let is_same = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < SAME_REQUEST);
        if !is_same {
            self.last = Some(now);
        }
        !is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_of_the_same_moment_are_one_request_to_end() {
        let (term, int) = (SignalKind::terminate(), SignalKind::interrupt());
        let mut endings = Endings::default();
        let begin = Instant::now();
        let mut is_request = |kind, after| endings.is_request(kind, begin + after);
        let moment = Duration::from_millis(1);
        let almost = SAME_REQUEST.saturating_sub(moment);
        assert!(is_request(term, Duration::ZERO));
        assert!(!is_request(term, moment));
        assert!(!is_request(int, moment));
        assert!(is_request(SignalKind::hangup(), moment));
        assert!(is_request(SignalKind::hangup(), moment));
        // The signals between do not extend the time.
        assert!(!is_request(term, almost));
        assert!(is_request(int, SAME_REQUEST));
        assert!(!is_request(term, SAME_REQUEST + moment));
        assert!(is_request(term, SAME_REQUEST * 2));
    }
}
