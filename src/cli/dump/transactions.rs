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

/// Queries that wait for their responses, oldest first. Their number is bounded: if there are too many, the oldest
/// query is removed.
#[derive(Debug)]
pub(super) struct Transactions<T> {
    waiting: HashMap<u64, Waiting<T>>,
    /// The keys in the order of their queries. It may contain keys of queries that are no longer waiting.
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

    /// Adds a query. Returns the query that it replaces: the same query if it was asked before, or else the oldest one
    /// if there are too many.
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
        if replaced.is_some() {
            // The old entry in `order` is now unused. The number of such entries is limited, because a client may
            // repeat one query very often.
            if self.order.len() > 2 * WAITING {
                self.order.retain(|(key, number)| {
                    self.waiting.get(key).is_some_and(|it| it.number == *number)
                });
            }
            return replaced;
        }
        if self.waiting.len() > WAITING {
            return self.oldest(|_| true);
        }
        None
    }

    /// Removes the query for a response. Returns it together with the latency. The times in the response take
    /// precedence, because the server knows them best.
    pub(super) fn response(&mut self, message: &RawMessage<'_>) -> (Option<T>, Option<Duration>) {
        let waiting = self.waiting.remove(&self.key_of(message));
        let since = |waiting: &Waiting<T>| message.response_time.since(waiting.time);
        let latency = message
            .latency()
            .or_else(|| waiting.as_ref().and_then(since));
        (waiting.map(|waiting| waiting.what), latency)
    }

    /// Removes and returns the oldest query if it is older than [`PATIENCE`] at `now`, the time of the newest frame.
    pub(super) fn expired(&mut self, now: Moment) -> Option<T> {
        self.oldest(|time| now.since(time).is_some_and(|age| age > PATIENCE))
    }

    /// Removes and returns the oldest query.
    pub(super) fn next(&mut self) -> Option<T> {
        self.oldest(|_| true)
    }

    fn oldest(&mut self, is_wanted: impl Fn(Moment) -> bool) -> Option<T> {
        while let Some((key, number)) = self.order.front().copied() {
            match self.waiting.get(&key) {
                Some(waiting) if waiting.number == number => {
                    if !is_wanted(waiting.time) {
                        return None;
                    }
                    self.order.pop_front();
                    return self.waiting.remove(&key).map(|waiting| waiting.what);
                }
                // This query was answered, or it was asked again.
                _ => {
                    self.order.pop_front();
                }
            }
        }
        None
    }

    fn key_of(&self, message: &RawMessage<'_>) -> u64 {
        let mut hasher = self.key.build_hasher();
        hash_exchange(message, &mut hasher);
        hasher.finish()
    }
}
