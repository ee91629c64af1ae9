//! The reasons to replace a working connection. There are four reasons: the connection has reached its maximum age, the
//! collector must confirm frames, a file has reached its size, or the sink's name no longer has the address of the
//! connection.

use std::{
    future::{Future, pending},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::util::rng::{HasherRng, Rng};

use super::Checkpoint;
use crate::{health::Disconnect, net::Addresses};

/// The conditions under which a working connection is replaced.
#[derive(Debug)]
pub(crate) struct Term {
    /// The time at which the connection reaches its maximum age.
    until: Option<Instant>,
    /// The address of the connection, and the current addresses of the sink's name.
    place: Option<Place>,
    /// A token that is cancelled when the file has reached its size. `None` if the sink does not write files.
    filled: Option<CancellationToken>,
    /// The time at which the connection is replaced so that the collector sends FINISH. `None` without `confirm
    /// finish`.
    checkpoint: Option<Checkpoint>,
}

type Place = (SocketAddr, watch::Receiver<Arc<Addresses>>);

// === impl Term ===

impl Term {
    /// Creates the term of a connection that has just been established.
    ///
    /// `max_age` varies randomly by up to a tenth, so that connections that were established at the same time are not
    /// replaced at the same time. `place` is the address of the connection, and the current addresses of the sink's
    /// name.
    pub(crate) fn new(max_age: Option<Duration>, place: Option<Place>) -> Self {
        let tenth = 0.9 + 0.2 * HasherRng::new().next_f64().clamp(0.0, 1.0);
        Self {
            until: max_age.map(|age| Instant::now() + age.mul_f64(tenth)),
            place,
            filled: None,
            checkpoint: None,
        }
    }

    /// Adds a condition: the connection is also replaced when `checkpoint` says that the collector must confirm frames.
    #[must_use]
    pub(super) fn until_checkpoint(self, checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint: Some(checkpoint),
            ..self
        }
    }

    /// Returns whether the frames of the connection are confirmed by FINISH.
    pub(super) fn awaits_finish(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Returns the reason why the connection must end even if no other connection can replace it. `None` if it can stay.
    pub(super) fn overdue(&self) -> Option<Disconnect> {
        let checkpoint = self.checkpoint.as_ref()?;
        checkpoint.is_overdue().then(|| reason_of(checkpoint))
    }

    /// Creates the term of a file. `left` is the time until the next file. The token `filled` is cancelled when the
    /// file has reached its size.
    pub(super) fn of_file(left: Option<Duration>, filled: CancellationToken) -> Self {
        Self {
            until: left.map(|left| Instant::now() + left),
            place: None,
            filled: Some(filled),
            checkpoint: None,
        }
    }

    /// Waits until the connection must be replaced, and returns the reason. If the name has no addresses, this is not a
    /// reason to replace the connection.
    pub(super) fn over(&self) -> impl Future<Output = Disconnect> + Send + use<> {
        let (until, place, filled) = (self.until, self.place.clone(), self.filled.clone());
        let checkpoint = self.checkpoint.clone();
        let reason = match filled {
            Some(_) => Disconnect::FileEnded,
            None => Disconnect::Rotated,
        };
        let aged = async move {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let moved = async move {
            if let Some((address, mut addresses)) = place {
                let left = |now: &Arc<Addresses>| !now.is_empty() && !now.contains(address);
                if addresses.wait_for(left).await.is_ok() {
                    return;
                }
            }
            // The lookups have ended, so the addresses will not change again.
            pending::<()>().await;
        };
        let long = async move {
            match filled {
                Some(filled) => filled.cancelled_owned().await,
                None => pending().await,
            }
        };
        let unconfirmed = async move {
            match checkpoint {
                Some(checkpoint) => {
                    checkpoint.due().await;
                    reason_of(&checkpoint)
                }
                None => pending().await,
            }
        };
        async move {
            select! {
                () = moved => Disconnect::Moved,
                () = aged => reason,
                () = long => Disconnect::FileEnded,
                reason = unconfirmed => reason,
            }
        }
    }
}

/// Returns the reason for a checkpoint that is due.
fn reason_of(checkpoint: &Checkpoint) -> Disconnect {
    if checkpoint.is_asked() {
        Disconnect::Asked
    } else {
        Disconnect::Checkpoint
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn max_age_varies_by_a_tenth_either_way() {
        let age = Duration::from_secs(100);
        let now = Instant::now();
        let terms = (0..1000).map(|_| Term::new(Some(age), None));
        let mut ages: Vec<_> = terms
            .map(|term| term.until.expect("an end") - now)
            .collect();
        ages.sort();
        let (least, most) = (ages[0], ages[999]);
        assert!(
            least >= Duration::from_secs(90) && least < Duration::from_secs(92),
            "{least:?}"
        );
        assert!(
            most > Duration::from_secs(108) && most <= Duration::from_secs(110),
            "{most:?}"
        );
        let mut over = spawn(Term::new(Some(age), None).over());
        assert!(over.poll().is_pending());
        tokio::time::advance(Duration::from_secs(89)).await;
        assert!(over.poll().is_pending());
        tokio::time::advance(Duration::from_secs(22)).await;
        assert!(over.poll().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_limits_is_never_replaced() {
        let mut over = spawn(Term::new(None, None).over());
        assert!(over.poll().is_pending());
        tokio::time::advance(Duration::from_hours(10_000)).await;
        assert!(!over.is_woken() && over.poll().is_pending());
    }

    #[tokio::test]
    async fn a_term_ends_only_when_the_name_drops_the_address_and_keeps_others() {
        let (one, two) = ("192.0.2.1:6000", "192.0.2.2:6000");
        let addresses = watch::Sender::new(Arc::new(Addresses::of(&[one, two])));
        let place = (one.parse().expect("an address"), addresses.subscribe());
        let term = Term::new(None, Some(place));
        let mut over = spawn(term.over());
        assert!(over.poll().is_pending());
        for stays in [&[two, one][..], &[one], &[]] {
            addresses.send_replace(Arc::new(Addresses::of(stays)));
            assert!(over.poll().is_pending(), "{stays:?}");
        }
        addresses.send_replace(Arc::new(Addresses::of(&[two])));
        assert!(over.is_woken());
        assert!(over.poll().is_ready());
        // Each call of `over` reads the current addresses.
        assert!(spawn(term.over()).poll().is_ready());
        addresses.send_replace(Arc::new(Addresses::of(&[two, one])));
        assert!(spawn(term.over()).poll().is_pending());
        drop(addresses);
        assert!(spawn(term.over()).poll().is_pending());
    }
}
