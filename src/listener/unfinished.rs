//! A bound on the memory of unfinished frames. All connections of all listeners share it.
//!
//! A frame is unfinished while its first bytes have arrived and its last bytes have not. If a sender stops inside a
//! long frame, the router holds the bytes that have arrived until the frame's deadline. One such connection does no
//! harm, but a thousand of them would exhaust the memory of the machine.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tokio::sync::Notify;

use crate::{
    lock::Mutex,
    memory::{Budget, Reservation},
};

/// The bound on the memory of the unfinished frames of all connections. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Unfinished(Arc<Mutex<Holdings>>);

/// The memory of one connection. Dropping it frees its bytes.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) unfinished: Unfinished,
    key: u64,
    /// The bytes that are counted for the connection.
    pub(super) bytes: usize,
    close: Arc<Notify>,
}

#[derive(Debug)]
struct Holdings {
    limit: usize,
    /// The sum of the bytes in `each`.
    held: usize,
    each: HashMap<u64, Holding>,
    next_key: u64,
    /// Counts the bytes in `each` against the memory of the whole router, too.
    reservation: Reservation,
}

#[derive(Debug)]
struct Holding {
    bytes: usize,
    /// The time of the frame's first byte.
    began: Instant,
    /// Asks the connection to close.
    close: Arc<Notify>,
}

/// The number of bytes that a connection can hold without being counted. Most frames are shorter, so most connections
/// never take the lock.
pub(super) const FREE: usize = 4 << 10;

// === impl Unfinished ===

impl Unfinished {
    /// Creates a bound of `limit` bytes. The held bytes also count against `memory`, the budget of the whole router.
    pub(crate) fn new(limit: usize, memory: &Budget) -> Self {
        Self(Arc::new(Mutex::new(Holdings {
            limit,
            held: 0,
            each: HashMap::new(),
            next_key: 0,
            reservation: memory.reserve(0),
        })))
    }

    /// Returns the number of bytes that all connections hold. A connection that holds 4 KiB or less is not counted.
    pub fn held(&self) -> usize {
        self.with(|holdings| holdings.held)
    }

    /// Returns the largest number of bytes that can be held.
    pub fn limit(&self) -> usize {
        self.with(|holdings| holdings.limit)
    }

    /// Changes the bound. If the connections already hold more than the new bound, some of them are asked to close,
    /// until the remaining ones are within the bound.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.with(|holdings| {
            holdings.limit = limit;
            holdings.make_room(Instant::now());
        });
    }

    /// Creates the holder of a new connection, which holds nothing yet.
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
        let mut holdings = self.0.lock();
        let result = body(&mut holdings);
        let held = holdings.held;
        holdings.reservation.resize(held);
        result
    }
}

// === impl Holder ===

impl Holder {
    /// Sets the bytes that this connection holds for the frame that `began` at this time; 0 between two frames. If all
    /// connections together exceed the bound, the heaviest connection is asked to close. This can be the calling
    /// connection itself.
    pub(super) fn hold(&mut self, bytes: usize, began: Option<Instant>) {
        let bytes = if bytes <= FREE { 0 } else { bytes };
        if bytes == self.bytes {
            return;
        }
        let before = std::mem::replace(&mut self.bytes, bytes);
        let (key, close) = (self.key, &self.close);
        self.unfinished.with(|holdings| {
            let known = holdings.remove(key);
            // A connection that was asked to close is no longer in `each`, and will soon free its bytes. If these bytes
            // were counted again, another connection might have to close.
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

    /// Asks the heaviest connections to close, until the remaining ones are within the limit.
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
    /// Returns the bytes multiplied by the age of the frame. A sender in the middle of a long frame holds many bytes,
    /// but only for milliseconds. If a sender has stopped, its frame gets older. So the weight of this frame soon
    /// becomes larger than that of the long frame.
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
        // The connection may read more bytes before it closes. They are not counted.
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
