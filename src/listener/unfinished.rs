//! A bound on the memory of unfinished frames, over all connections of all listeners.
//!
//! A frame is unfinished while its first bytes have arrived and its last have not. A sender that stops inside a long frame
//! makes the router hold the bytes so far until the frame's deadline. One connection may do that; a thousand would exhaust
//! the memory of the machine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::memory::{Budget, Reservation};

/// The memory that unfinished frames of all connections together may hold. Clones share one bound.
#[derive(Debug, Clone)]
pub struct Unfinished(Arc<Mutex<Holdings>>);

/// The share of one connection. Dropping it gives its bytes back.
#[derive(Debug)]
pub(super) struct Holder {
    unfinished: Unfinished,
    key: u64,
    /// The bytes that are counted for it.
    bytes: usize,
    close: Arc<Notify>,
}

#[derive(Debug)]
struct Holdings {
    limit: usize,
    /// The sum of the bytes in `each`.
    held: usize,
    each: HashMap<u64, Holding>,
    next_key: u64,
    /// Counts the same bytes against the memory of the whole router.
    reservation: Reservation,
}

#[derive(Debug)]
struct Holding {
    bytes: usize,
    /// The time of the frame's first byte.
    began: Instant,
    /// Asks its connection to close.
    close: Arc<Notify>,
}

/// Bytes that a connection may hold uncounted. Most frames are shorter, so most connections never take the lock.
pub(super) const FREE: usize = 4 << 10;

// === impl Unfinished ===

impl Unfinished {
    /// A bound of `limit` bytes, which also count against the `memory` of the whole router.
    pub(crate) fn new(limit: usize, memory: &Budget) -> Self {
        Self(Arc::new(Mutex::new(Holdings {
            limit,
            held: 0,
            each: HashMap::new(),
            next_key: 0,
            reservation: memory.reserve(0),
        })))
    }

    /// The bytes that are held now. A connection that holds 4 KiB or less is not counted.
    pub fn held(&self) -> usize {
        self.with(|holdings| holdings.held)
    }

    /// The bytes that may be held.
    pub fn limit(&self) -> usize {
        self.with(|holdings| holdings.limit)
    }

    /// Changes the bound. If more is held already, as many connections are closed as it takes.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.with(|holdings| {
            holdings.limit = limit;
            holdings.make_room(Instant::now());
        });
    }

    /// The share of a new connection, which holds nothing yet.
    pub(super) fn holder(&self) -> Holder {
        let key = self.with(|holdings| {
            holdings.next_key += 1;
            holdings.next_key
        });
        Holder {
            unfinished: self.clone(),
            key,
            bytes: 0,
            close: Arc::default(),
        }
    }

    fn with<T>(&self, body: impl FnOnce(&mut Holdings) -> T) -> T {
        let mut holdings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = body(&mut holdings);
        let held = holdings.held;
        holdings.reservation.resize(held);
        result
    }
}

// === impl Holder ===

impl Holder {
    /// Sets the bytes that this connection holds for a frame that `began` at some time; 0 between two frames. If all
    /// connections together exceed the bound, the heaviest is asked to close, which may be this one.
    pub(super) fn hold(&mut self, bytes: usize, began: Option<Instant>) {
        let bytes = if bytes <= FREE { 0 } else { bytes };
        if bytes == self.bytes {
            return;
        }
        let before = std::mem::replace(&mut self.bytes, bytes);
        let (key, close) = (self.key, &self.close);
        self.unfinished.with(|holdings| {
            let known = holdings.remove(key);
            // A connection that was asked to close is no longer in `each`, and frees its bytes soon. If they counted
            // again, another connection might have to close.
            if bytes == 0 || before > 0 && !known {
                return;
            }
            let now = Instant::now();
            holdings.held += bytes;
            let close = Arc::clone(close);
            holdings.each.insert(
                key,
                Holding {
                    bytes,
                    began: began.unwrap_or(now),
                    close,
                },
            );
            holdings.make_room(now);
        });
    }

    /// The bytes that are counted for this connection.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bound over all connections.
    pub(super) fn limit(&self) -> usize {
        self.unfinished.limit()
    }

    /// Waits until this connection is asked to close. Cancel safe.
    pub(super) fn asked_to_close(&self) -> impl Future<Output = ()> + use<> {
        let close = Arc::clone(&self.close);
        async move { close.notified().await }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.unfinished.with(|holdings| holdings.remove(self.key));
        }
    }
}

// === impl Holdings ===

impl Holdings {
    fn remove(&mut self, key: u64) -> bool {
        let holding = self.each.remove(&key);
        self.held -= holding.as_ref().map_or(0, |holding| holding.bytes);
        holding.is_some()
    }

    /// Asks the heaviest connections to close, until the others are within the limit.
    fn make_room(&mut self, now: Instant) {
        while self.held > self.limit {
            let each = self.each.iter();
            let heaviest = each.max_by_key(|(_, holding)| holding.weight(now));
            let Some((&key, holding)) = heaviest else {
                return;
            };
            holding.close.notify_one();
            self.remove(key);
        }
    }
}

// === impl Holding ===

impl Holding {
    /// Bytes times the age of the frame. A sender in the middle of a long frame holds much, but for milliseconds; a sender
    /// that has stopped soon outweighs it, even with a shorter frame.
    fn weight(&self, now: Instant) -> u128 {
        let age = now.saturating_duration_since(self.began).as_millis() + 1;
        self.bytes as u128 * age
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1 << 10;

    /// Returns whether the connection was asked to close since the last call.
    fn is_asked(holder: &Holder) -> bool {
        let mut asked = tokio_test::task::spawn(holder.asked_to_close());
        asked.poll().is_ready()
    }

    #[test]
    fn the_connection_with_most_bytes_for_longest_is_asked_to_close() {
        let memory = Budget::default();
        let unfinished = Unfinished::new(3000 * KIB, &memory);
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).expect("up");
        let mut large_and_new = unfinished.holder();
        let mut small_and_old = unfinished.holder();
        let mut stopped = unfinished.holder();
        let mut last = unfinished.holder();
        large_and_new.hold(1024 * KIB, Some(now));
        small_and_old.hold(16 * KIB, Some(ago(20)));
        stopped.hold(1000 * KIB, Some(ago(10)));
        assert_eq!(unfinished.held(), 2040 * KIB);
        last.hold(1024 * KIB, Some(now));
        assert_eq!(unfinished.held(), 2064 * KIB);
        assert!(is_asked(&stopped));
        for other in [&large_and_new, &small_and_old, &last] {
            assert!(!is_asked(other));
        }
        // It may read a little more before it closes, which is not counted.
        stopped.hold(1024 * KIB, Some(ago(10)));
        drop(stopped);
        assert_eq!(unfinished.held(), 2064 * KIB);
    }

    #[test]
    fn a_finished_frame_and_a_closed_connection_give_their_bytes_back() {
        let memory = Budget::default();
        let unfinished = Unfinished::new(1024 * KIB, &memory);
        let now = Instant::now();
        let mut one = unfinished.holder();
        let mut other = unfinished.holder();
        for _ in 0..100 {
            one.hold(500 * KIB, Some(now));
            other.hold(100 * KIB, Some(now));
            other.hold(500 * KIB, Some(now));
            one.hold(0, None);
        }
        assert_eq!((unfinished.held(), memory.held()), (500 * KIB, 500 * KIB));
        drop(other);
        assert_eq!((unfinished.held(), memory.held()), (0, 0));
        one.hold(FREE, Some(now));
        assert_eq!(
            unfinished.held(),
            0,
            "every connection may hold this much uncounted"
        );
        assert!(!is_asked(&one));
    }

    #[test]
    fn a_lower_limit_closes_as_many_connections_as_it_takes() {
        let memory = Budget::default();
        let unfinished = Unfinished::new(1024 * KIB, &memory);
        let now = Instant::now();
        let mut holders: Vec<_> = (0..10).map(|_| unfinished.holder()).collect();
        for holder in &mut holders {
            holder.hold(100 * KIB, Some(now));
        }
        unfinished.set_limit(350 * KIB);
        assert_eq!(unfinished.held(), 300 * KIB);
        assert_eq!(holders.iter().filter(|one| is_asked(one)).count(), 7);
    }
}
