//! Concurrent attempts to connect to several addresses: happy eyeballs (RFC 8305, section 5).

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::{
    select,
    time::{Instant, sleep},
};

/// The Connection Attempt Delay of RFC 8305. If an attempt has no answer after this time, the next attempt starts.
const DELAY: Duration = Duration::from_millis(250);

/// The largest number of attempts in progress at the same time.
///
/// Without this limit, a name with hundreds of addresses would make the router open hundreds of sockets whenever the
/// collectors are slow. The limit has a drawback: if the first eight addresses do not answer, the ninth is tried only
/// after the deadline of an attempt.
pub(in crate::sink) const AT_ONCE: usize = 8;

/// Starts the `attempts` in order. When an attempt succeeds, runs `seal` with its result. Returns the result of `seal`,
/// and drops all other attempts.
///
/// An attempt starts when the previous attempt has failed or has run for [250 ms](DELAY). If two attempts succeed at
/// the same time, the attempt that started first wins. While `seal` runs, the other attempts stay open. If `seal`
/// fails, the other attempts continue.
///
/// # Errors
/// If all attempts fail. The errors are in the order of the attempts.
pub(in crate::sink) async fn race<A, T, E, F, W>(
    attempts: impl ExactSizeIterator<Item = A>,
    seal: impl Fn(T) -> F,
) -> Result<W, Vec<E>>
where
    A: Future<Output = Result<T, E>>,
    F: Future<Output = Result<W, E>>,
{
    let mut failures: Vec<Option<E>> = Vec::with_capacity(attempts.len());
    let mut attempts = attempts.enumerate();
    let mut under_way = Vec::new();
    let mut newest = 0;
    let mut due = true;
    let mut delay = pin!(sleep(DELAY));
    loop {
        // At most one attempt starts in each turn of the loop. It starts before the poll below, because only a poll
        // registers the waker of an attempt. If the maximum number of attempts is in progress, `due` stays true, and
        // the next attempt starts as soon as a running attempt fails.
        if due
            && under_way.len() < AT_ONCE
            && let Some((place, attempt)) = attempts.next()
        {
            under_way.push((place, Box::pin(attempt)));
            failures.push(None);
            newest = place;
            due = false;
            delay.as_mut().reset(Instant::now() + DELAY);
        }
        // Results are checked before the delay: if an attempt succeeds at the moment when the delay ends, no new
        // attempt must start. The `else` branch runs only if no attempt is in progress and all attempts have been
        // started.
        let (place, outcome) = select! {
            biased;
            ended = first(&mut under_way), if !under_way.is_empty() => ended,
            () = &mut delay, if !due => {
                due = true;
                continue;
            }
            else => return Err(failures.into_iter().flatten().collect()),
        };
        // `seal` sends START for the winner. Meanwhile, the other attempts stay in `under_way` but are not polled. If
        // START cannot be sent, another attempt can still win.
        let outcome = match outcome {
            Ok(won) => seal(won).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(won) => return Ok(won),
            Err(error) => {
                // If the newest attempt fails, the next attempt starts immediately. If an older attempt fails, the next
                // attempt starts when the delay after the newest attempt ends.
                due |= place == newest;
                if let Some(failure) = failures.get_mut(place) {
                    *failure = Some(error);
                }
            }
        }
    }
}

/// Waits until an attempt completes. Removes this attempt, and returns its position and its output. Polls the attempts
/// in order, so if two are complete, it returns the attempt for the preferred address.
async fn first<A: Future>(under_way: &mut Vec<(usize, Pin<Box<A>>)>) -> (usize, A::Output) {
    poll_fn(|cx| {
        for (index, (place, attempt)) in under_way.iter_mut().enumerate() {
            if let Poll::Ready(output) = attempt.as_mut().poll(cx) {
                let place = *place;
                drop(under_way.remove(index));
                return Poll::Ready((place, output));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::{pending, ready},
    };

    use super::*;

    /// Attempts that fail or succeed after a given time in milliseconds, and a record of their starts.
    struct Attempts {
        outcomes: Vec<(u64, Result<(), ()>)>,
        origin: Instant,
        /// The time at which each attempt started, in milliseconds.
        begun: RefCell<Vec<u128>>,
        under_way: Cell<usize>,
        most: Cell<usize>,
    }

    /// A guard that counts an attempt as long as it exists.
    struct Alive<'a>(&'a Attempts);

    const NEVER: u64 = u64::MAX;

    impl Attempts {
        fn new(outcomes: impl IntoIterator<Item = (u64, Result<(), ()>)>) -> Self {
            Self {
                outcomes: outcomes.into_iter().collect(),
                origin: Instant::now(),
                begun: RefCell::default(),
                under_way: Cell::new(0),
                most: Cell::new(0),
            }
        }

        fn each(
            &self,
        ) -> impl ExactSizeIterator<Item = impl Future<Output = Result<usize, usize>>> {
            let outcomes = self.outcomes.iter().enumerate();
            outcomes.map(move |(place, (takes, outcome))| async move {
                self.begun.borrow_mut().push(self.now());
                let _alive = Alive::new(self);
                if *takes == NEVER {
                    pending::<()>().await;
                }
                sleep(Duration::from_millis(*takes)).await;
                outcome.map(|()| place).map_err(|()| place)
            })
        }

        async fn race(&self) -> Result<usize, Vec<usize>> {
            race(self.each(), |won| ready(Ok(won))).await
        }

        fn now(&self) -> u128 {
            self.origin.elapsed().as_millis()
        }
    }

    impl<'a> Alive<'a> {
        fn new(attempts: &'a Attempts) -> Self {
            let now = attempts.under_way.get() + 1;
            attempts.under_way.set(now);
            attempts.most.set(attempts.most.get().max(now));
            Self(attempts)
        }
    }

    impl Drop for Alive<'_> {
        fn drop(&mut self) {
            self.0.under_way.set(self.0.under_way.get() - 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_succeeds_within_the_delay_has_no_rival() {
        let attempts = Attempts::new([(249, Ok(())), (0, Ok(()))]);
        assert_eq!(attempts.race().await, Ok(0));
        assert_eq!(*attempts.begun.borrow(), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_attempt_gets_rivals_and_is_dropped_when_one_wins() {
        let attempts = Attempts::new([(NEVER, Ok(())), (NEVER, Ok(())), (10, Ok(())), (0, Ok(()))]);
        assert_eq!(attempts.race().await, Ok(2));
        assert_eq!(*attempts.begun.borrow(), [0, 250, 500]);
        assert_eq!((attempts.now(), attempts.under_way.get()), (510, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_wins_and_a_tie_goes_to_the_earlier_attempt() {
        let attempts = Attempts::new([(300, Ok(())), (100, Ok(()))]);
        assert_eq!(attempts.race().await, Ok(0));
        assert_eq!(*attempts.begun.borrow(), [0, 250]);
        // The second attempt starts after 250 ms. Both attempts succeed after 300 ms, so the preferred address wins.
        let attempts = Attempts::new([(300, Ok(())), (50, Ok(()))]);
        assert_eq!(attempts.race().await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_attempt_at_once() {
        let attempts = Attempts::new([(0, Err(())), (20, Err(())), (NEVER, Ok(())), (5, Ok(()))]);
        assert_eq!(attempts.race().await, Ok(3));
        assert_eq!(*attempts.begun.borrow(), [0, 0, 20, 270]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_of_an_older_attempt_does_not_start_the_next_early() {
        let attempts = Attempts::new([(260, Err(())), (NEVER, Ok(())), (5, Ok(()))]);
        assert_eq!(attempts.race().await, Ok(2));
        assert_eq!(*attempts.begun.borrow(), [0, 250, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_returned_in_the_order_of_the_attempts() {
        let attempts = Attempts::new([(700, Err(())), (400, Err(())), (0, Err(()))]);
        assert_eq!(attempts.race().await, Err(vec![0, 1, 2]));
        assert_eq!(attempts.now(), 700);
        let none = Attempts::new([]);
        assert_eq!(none.race().await, Err(vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_silent_addresses_are_tried_a_few_at_a_time() {
        let attempts = Attempts::new((0..300).map(|_| (4000, Err(()))));
        let failed = attempts.race().await.expect_err("all fail");
        assert!(failed.into_iter().eq(0..300));
        assert_eq!(attempts.most.get(), AT_ONCE);
        // The first eight addresses do not answer. The ninth is tried when the attempt at the first address fails.
        let silent = (0..AT_ONCE).map(|_| (4000, Err(())));
        let attempts = Attempts::new(silent.chain([(0, Ok(()))]));
        assert_eq!(attempts.race().await, Ok(AT_ONCE));
        assert_eq!(attempts.now(), 4000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_cannot_be_sealed_does_not_win() {
        let attempts = Attempts::new([(300, Ok(())), (100, Ok(())), (NEVER, Ok(()))]);
        let at_seal = RefCell::new(Vec::new());
        let seal = |place| {
            at_seal.borrow_mut().push(attempts.under_way.get());
            ready(if place == 0 { Err(place) } else { Ok(place) })
        };
        assert_eq!(race(attempts.each(), seal).await, Ok(1));
        assert_eq!(attempts.now(), 350);
        // While `seal` ran for the winner, the other attempts were still running.
        assert_eq!(*at_seal.borrow(), [1, 0]);
        let attempts = Attempts::new([(0, Ok(())), (0, Ok(()))]);
        let failed = race(attempts.each(), |place| ready(Err::<(), _>(place))).await;
        assert_eq!(failed, Err(vec![0, 1]));
    }
}
