//! Keeps the addresses of a sink's name: looked up again when their TTL ends, and when the sink needs a connection.

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

/// The last good addresses of one sink's name.
///
/// Its [task](Self::start) looks the name up at the TTL of the last answer, held to the sink's [`Refresh`], give or take
/// a fifth, so that routers that were started together do not ask together; and at once when an attempt to connect
/// [asks for addresses](Self::for_attempt), but not more than once in a [second](Self::PAUSE). A look-up that fails takes
/// nothing away. A clone is the same resolution.
#[derive(Debug, Clone)]
pub struct Resolution {
    destination: Destination,
    refresh: Refresh,
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
    /// One is under way.
    looking: bool,
    /// One is wanted before its time.
    wanted: bool,
    /// The start of the last one.
    began: Option<Instant>,
    /// The number of those that have ended.
    ended: u64,
    /// Why the last one failed, if it did.
    error: Option<Arc<ResolveError>>,
}

// === impl Resolution ===

impl Resolution {
    /// The least time from one look-up's beginning to the next one's.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// The time that an attempt with last good addresses waits for newer ones. A near name server answers within it; one
    /// that does not must not delay the sink.
    pub const PATIENCE: Duration = Duration::from_millis(250);

    /// Nothing is known yet, and nothing is looked up before [`start`](Self::start).
    pub fn new(destination: Destination, refresh: Refresh) -> Self {
        Self {
            destination,
            refresh,
            shared: Arc::new(Shared {
                addresses: watch::Sender::default(),
                course: watch::Sender::default(),
            }),
        }
    }

    /// Returns the name that is looked up.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The last good addresses; none before the first answer. It changes when the name leads elsewhere, and not when
    /// a name server merely turned the order.
    pub fn addresses(&self) -> watch::Receiver<Arc<Addresses>> {
        self.shared.addresses.subscribe()
    }

    /// Looks up, again and again, until the handle is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self, resolver: Resolver, status: Reporter) -> AbortOnDropHandle<()> {
        let this = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let destination = this.destination.clone();
            let look_up = || {
                let (resolver, destination) = (resolver.clone(), destination.clone());
                async move {
                    // In a task of its own, so that a panic is an error like any other.
                    let name = destination.to_string();
                    let task = tokio::spawn(async move { resolver.resolve(&destination).await });
                    let fault = Err(ResolveError::Fault(name));
                    AbortOnDropHandle::new(task).await.unwrap_or(fault)
                }
            };
            this.run(look_up, &status).await;
        }))
    }

    /// Returns the addresses to try now, in order. Starts a new lookup of the name.
    ///
    /// If there are addresses, the look-up is waited for only if it can be expected to end [soon](Self::PATIENCE).
    ///
    /// # Errors
    /// If there are none, why.
    pub async fn for_attempt(&self) -> Result<Vec<SocketAddr>, Arc<ResolveError>> {
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
            // Fails only without a sender, and that is here.
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

    /// Starts a new lookup of the name, and does not wait for it.
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
            // A fifth more or less, so that those who began together do not go on together.
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

    /// Publishes how a look-up ended, and says how long it is to the next one.
    fn settle(&self, result: Result<Answer, ResolveError>, status: &Reporter) -> Duration {
        let (error, delay) = match result {
            Ok(Answer { addresses, ttl }) => {
                let before = Arc::clone(&self.shared.addresses.borrow());
                let addresses = Arc::new(addresses.filled_from(&before));
                status.report(&Event::Resolved {
                    name: &self.destination,
                    before: &before,
                    now: &addresses,
                });
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

#[cfg(test)]
mod following;
#[cfg(test)]
mod tests;
