//! Queries that wait for their responses.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use crate::{
    dnstap::{Moment, RawMessage},
    filter::hash_exchange,
};

/// Queries that wait for their responses, oldest first. Their number is bounded: if a new query exceeds the bound, the
/// oldest query is removed.
#[derive(Debug)]
pub(super) struct Transactions<T> {
    waiting: HashMap<u64, Waiting<T>>,
    /// The keys of the queries, the oldest query first. The list may contain keys of queries that are no longer
    /// waiting.
    order: VecDeque<(u64, u64)>,
    /// The number of the next query.
    next: u64,
    /// The random key of the hash function. Without it, a client could choose queries that collide.
    key: RandomState,
}

/// A query without a response.
#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    time: Moment,
    what: T,
}

/// The largest number of waiting queries.
pub(super) const WAITING: usize = 100_000;

/// The largest number of entries in `order`.
const MOST_ENTRIES: usize = 2 * WAITING;

/// The time after which a query counts as unanswered, measured by the times in the frames.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

// === impl Transactions ===

impl<T> Transactions<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            key: RandomState::new(),
        }
    }

    /// Returns the number of waiting queries.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a query. If the client repeats a query that is still waiting, the new query replaces it. If there are too
    /// many queries, the oldest one is removed. Returns the replaced or removed query.
    pub(super) fn query(&mut self, message: &RawMessage<'_>, what: T) -> Option<T> {
        let key = self.key_of(message);
        let number = self.next;
        self.next += 1;
        let waiting = Waiting {
            number,
            time: message.query_time,
            what,
        };
        self.order.push_back((key, number));
        let replaced = self.waiting.insert(key, waiting).map(|old| old.what);
        // The oldest query may wait for a long time while later queries are answered or repeated. The entries of these
        // later queries in `order` are unused. They are removed if there are too many, which happens at most once in
        // `WAITING` calls.
        if self.order.len() > MOST_ENTRIES {
            self.order.retain(|(key, number)| {
                self.waiting.get(key).is_some_and(|it| it.number == *number)
            });
        }
        if replaced.is_none() && self.waiting.len() > WAITING {
            return self.next();
        }
        replaced
    }

    /// Removes the query that belongs to a response. Returns the query and the latency. If the response contains both
    /// times, the latency is computed from them, because the server knows the times best.
    pub(super) fn response(&mut self, message: &RawMessage<'_>) -> (Option<T>, Option<Duration>) {
        let waiting = self.waiting.remove(&self.key_of(message));
        let since = |waiting: &Waiting<T>| message.response_time.since(waiting.time);
        let latency = message
            .latency()
            .or_else(|| waiting.as_ref().and_then(since));
        (waiting.map(|waiting| waiting.what), latency)
    }

    /// Removes and returns the oldest query if it is older than [`PATIENCE`] at `now`, the time of the newest frame. A
    /// query that has no time, or a time far in the future, is treated as a query from the time `now`.
    pub(super) fn expired(&mut self, now: Moment) -> Option<T> {
        now.normal()?;
        let key = self.oldest()?;
        let waiting = self.waiting.get_mut(&key)?;
        if let Some(age) = now.since(waiting.time) {
            return if age > PATIENCE { self.next() } else { None };
        }
        // Frames from several threads of a DNS server are slightly out of order, so the time of a query may be later
        // than `now`. If it is much later, the query gets the time `now`. With its own time, it would stay the oldest
        // query for long, and all queries behind it would wait, too.
        if waiting.time.since(now).is_none_or(|lead| lead > PATIENCE) {
            waiting.time = now;
            self.order.rotate_left(1);
        }
        None
    }

    /// Removes and returns the oldest query.
    pub(super) fn next(&mut self) -> Option<T> {
        let key = self.oldest()?;
        self.order.pop_front();
        self.waiting.remove(&key).map(|waiting| waiting.what)
    }

    /// Returns the key of the oldest query. After the call, the first entry in `order` belongs to this query.
    fn oldest(&mut self) -> Option<u64> {
        while let Some((key, number)) = self.order.front().copied() {
            let waiting = self.waiting.get(&key);
            if waiting.is_some_and(|waiting| waiting.number == number) {
                return Some(key);
            }
            // This query was answered, or it was asked again.
            self.order.pop_front();
        }
        None
    }

    fn key_of(&self, message: &RawMessage<'_>) -> u64 {
        let mut hasher = self.key.build_hasher();
        hash_exchange(message, &mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a query of the client at `port`, or a response to that client.
    fn message(kind: u32, port: u32) -> RawMessage<'static> {
        RawMessage {
            kind,
            query_port: Some(port),
            ..RawMessage::default()
        }
    }

    fn query(port: u32, time: Moment) -> RawMessage<'static> {
        RawMessage {
            query_time: time,
            ..message(5, port)
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment {
            seconds: Some(seconds),
            nanoseconds: Some(0),
        }
    }

    /// Query times that do not show the age of the query: a missing time, and two times from a wrong clock.
    const WITHOUT_AGE: [Moment; 3] = [
        Moment {
            seconds: None,
            nanoseconds: None,
        },
        Moment {
            seconds: Some(1),
            nanoseconds: None,
        },
        Moment {
            seconds: Some(u64::MAX),
            nanoseconds: Some(0),
        },
    ];

    #[test]
    fn an_unanswered_query_does_not_keep_the_entries_of_answered_ones() {
        for time in WITHOUT_AGE {
            let mut transactions = Transactions::new();
            assert_eq!(transactions.query(&query(0, time), 0), None);
            // No frame has a time, so no query expires.
            for port in 1..=3 * u32::try_from(WAITING).expect("small") {
                assert_eq!(
                    transactions.query(&query(port, Moment::default()), port),
                    None
                );
                let (answered, _) = transactions.response(&message(6, port));
                assert_eq!(answered, Some(port));
            }
            assert_eq!(transactions.waiting.len(), 1);
            assert!(transactions.order.len() <= MOST_ENTRIES);
            assert_eq!(transactions.next(), Some(0));
        }
    }

    #[test]
    fn queries_without_a_time_or_from_the_future_expire_and_block_no_others() {
        for time in WITHOUT_AGE {
            let mut transactions = Transactions::new();
            for port in 0..100 {
                transactions.query(&query(port, time), port);
            }
            let mut expired = Vec::new();
            let mut expire = |transactions: &mut Transactions<u32>, now| {
                while let Some(port) = transactions.expired(now) {
                    expired.push(port);
                }
                expired.len()
            };
            // Each frame moves one query behind the others.
            for port in 100..200 {
                transactions.query(&query(port, at(1000)), port);
                assert_eq!(expire(&mut transactions, at(1000)), 0);
                assert_eq!(expire(&mut transactions, Moment::default()), 0);
            }
            assert_eq!(expire(&mut transactions, at(1010)), 0);
            assert_eq!(expire(&mut transactions, at(1011)), 200);
            expired.sort_unstable();
            assert!(expired.into_iter().eq(0..200));
        }
    }

    #[test]
    fn times_that_are_slightly_out_of_order_do_not_change_the_order() {
        let mut transactions = Transactions::new();
        for (port, time) in [(1, 1005), (2, 1000), (3, 1006)] {
            transactions.query(&query(port, at(time)), port);
            assert_eq!(transactions.expired(at(time)), None);
        }
        let rest: Vec<u32> = std::iter::from_fn(|| transactions.next()).collect();
        assert_eq!(rest, [1, 2, 3]);
    }

    #[test]
    fn the_oldest_query_makes_room() {
        let mut transactions = Transactions::new();
        let most = u32::try_from(WAITING).expect("small");
        for port in 0..most {
            assert_eq!(transactions.query(&query(port, at(1)), port), None);
        }
        assert_eq!(transactions.query(&query(most, at(1)), most), Some(0));
        // A repeated query replaces itself.
        assert_eq!(transactions.query(&query(most, at(1)), 7), Some(most));
    }
}
