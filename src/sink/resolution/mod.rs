//! The addresses of a sink's name. The name is looked up when the TTL of the last answer ends, and when the sink needs
//! a connection.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tower::util::rng::{HasherRng, Rng};

use super::connect::kind_of_lookup;
use crate::{
    config::Refresh,
    health::{Event, Reporter},
    net::{Addresses, Answer, Destination, ResolveError, Resolver},
};

/// The addresses of one sink's name, from the last successful lookup.
///
/// A [task](Self::start) looks up the name when the TTL of the last answer ends. The limits of [`Refresh`] apply to the
/// TTL. The delay also varies randomly by a fifth, because routers that were started at the same time must not all send
/// their queries at the same time.
///
/// An attempt to connect [requests an immediate lookup](Self::for_attempt), but there is at most one lookup per
/// [second](Self::PAUSE). After a failed lookup, the old addresses stay. All clones of this value share the addresses.
#[derive(Debug, Clone)]
pub(crate) struct Resolution {
    /// The name that is looked up.
    pub(super) destination: Destination,
    refresh: Refresh,
    resolver: Resolver,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    addresses: watch::Sender<Arc<Addresses>>,
    course: watch::Sender<Course>,
}

/// The state of the lookups.
#[derive(Debug, Default)]
struct Course {
    /// True while a lookup is in progress.
    looking: bool,
    /// True if a lookup was requested before the end of the TTL.
    wanted: bool,
    /// The time at which the last lookup began.
    began: Option<Instant>,
    /// The number of completed lookups.
    ended: u64,
    /// The error of the last lookup, if it failed.
    error: Option<Arc<ResolveError>>,
}

// === impl Resolution ===

impl Resolution {
    /// The shortest time from the beginning of one lookup to the beginning of the next lookup.
    pub(crate) const PAUSE: Duration = Duration::from_secs(1);

    /// The time for which an attempt to connect waits for newer addresses, although it already has some. A nearby name
    /// server answers within this time. A slower name server must not delay the sink.
    pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

    /// Creates a resolution without addresses. The lookups begin with [`start`](Self::start).
    pub(crate) fn new(destination: Destination, refresh: Refresh, resolver: Resolver) -> Self {
        Self {
            destination,
            refresh,
            resolver,
            shared: Arc::new(Shared {
                addresses: watch::Sender::default(),
                course: watch::Sender::default(),
            }),
        }
    }

    /// Returns a receiver of the addresses from the last successful lookup. Before the first one, there are no
    /// addresses. The receiver is notified only if the set of addresses changes. It is not notified if only their order
    /// changes, because many name servers rotate the order.
    pub(crate) fn addresses(&self) -> watch::Receiver<Arc<Addresses>> {
        self.shared.addresses.subscribe()
    }

    /// Starts the lookups. They stop when the returned handle is dropped.
    pub(crate) fn start(&self, status: Reporter) -> AbortOnDropHandle<()> {
        let this = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let destination = this.destination.clone();
            let look_up = || {
                let (resolver, destination) = (this.resolver.clone(), destination.clone());
                async move {
                    // The lookup runs in its own task. If the lookup panics, it counts as a failed lookup.
                    let name = destination.to_string();
                    let task = tokio::spawn(async move { resolver.resolve(&destination).await });
                    let fault = Err(ResolveError::Fault(name));
                    AbortOnDropHandle::new(task).await.unwrap_or(fault)
                }
            };
            this.run(look_up, &status).await;
        }))
    }

    /// Requests a lookup, and returns the addresses to try, in order.
    ///
    /// If addresses are already known, waits for the lookup only if its answer is expected [soon](Self::PATIENCE).
    ///
    /// # Errors
    /// If no addresses are known. The error is that of the last lookup.
    pub(crate) async fn for_attempt(&self) -> Result<Vec<SocketAddr>, Arc<ResolveError>> {
        let (mut ended, mut soon) = (0, false);
        self.ask(|course| {
            let pausing = course
                .began
                .is_some_and(|began| began.elapsed() < Self::PAUSE);
            ended = course.ended;
            soon = course.error.is_none() && (course.looking || !pausing);
        });
        let mut course = self.shared.course.subscribe();
        let next = course.wait_for(|course| course.ended > ended);
        if self.shared.addresses.borrow().is_empty() {
            // The wait fails only if the sending half of the channel is dropped, but `self` owns the sending half.
            let _ = next.await;
        } else if soon {
            let _ = timeout(Self::PATIENCE, next).await;
        }
        let addresses = self.shared.addresses.borrow().in_order();
        match &self.shared.course.borrow().error {
            Some(error) if addresses.is_empty() => Err(Arc::clone(error)),
            _ => Ok(addresses),
        }
    }

    /// Requests a lookup without waiting for it.
    pub(super) fn want(&self) {
        self.ask(|_| {});
    }

    fn ask(&self, look: impl FnOnce(&Course)) {
        self.shared.course.send_if_modified(|course| {
            look(course);
            let changes = !course.looking && !course.wanted;
            course.wanted |= changes;
            changes
        });
    }

    async fn run<F>(&self, look_up: impl Fn() -> F, status: &Reporter)
    where
        F: Future<Output = Result<Answer, ResolveError>>,
    {
        let mut rng = HasherRng::new();
        let mut course = self.shared.course.subscribe();
        loop {
            let began = Instant::now();
            self.shared.course.send_modify(|course| {
                course.looking = true;
                course.wanted = false;
                course.began = Some(began);
            });
            let delay = self.settle(look_up().await, status);
            // The delay varies randomly by a fifth, because routers that were started at the same time must not all
            // send their queries at the same time.
            let delay = delay.mul_f64(0.8 + 0.4 * rng.next_f64());
            let wanted = async {
                let _ = course.wait_for(|course| course.wanted).await;
            };
            select! {
                () = wanted => sleep_until(began + Self::PAUSE).await,
                () = sleep(delay) => {}
            }
        }
    }

    /// Publishes the outcome of a lookup, and returns the delay before the next lookup.
    fn settle(&self, result: Result<Answer, ResolveError>, status: &Reporter) -> Duration {
        let (error, delay) = match result {
            Ok(Answer { addresses, ttl }) => {
                // A name can have several hosts and two address families. If this lookup got no answer for one of them,
                // its last addresses are kept.
                let before = Arc::clone(&self.shared.addresses.borrow());
                let addresses = Arc::new(addresses.filled_from(&before));
                status.report(&Event::Resolved {
                    name: &self.destination,
                    before: &before,
                    now: &addresses,
                });
                // The new order of the addresses is always stored. The watchers are woken only if the set has changed,
                // because a change of the order must not replace connections.
                self.shared.addresses.send_if_modified(|current| {
                    *current = Arc::clone(&addresses);
                    !addresses.is_same_set(&before)
                });
                (None, ttl.clamp(self.refresh.min, self.refresh.max))
            }
            Err(error) => {
                let keeps = !self.shared.addresses.borrow().is_empty();
                status.report(&Event::LookupFailed {
                    name: &self.destination,
                    error: &error,
                    kind: kind_of_lookup(&error),
                    keeps,
                });
                // The old addresses stay. A failed lookup has no TTL, so the next lookup follows after the shortest
                // configured interval.
                (Some(Arc::new(error)), self.refresh.min)
            }
        };
        self.shared.course.send_modify(|course| {
            course.looking = false;
            course.ended += 1;
            course.error = error;
        });
        delay
    }
}

#[cfg(all(test, feature = "resolver", feature = "tls"))]
mod following;
#[cfg(all(test, feature = "resolver"))]
mod tests;
