//! A shared limit on the memory of all frames that wait in queues.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The bytes of frames that the router holds in memory, and the limit on them. All clones of a budget count together.
///
/// A reservation never fails, because the frame is already in memory. Instead, queues check the budget. If the limit is
/// exceeded, they drop frames: see `router::shortage`.
#[derive(Clone)]
pub struct Budget(Arc<Account>);

struct Account {
    limit: AtomicUsize,
    held: AtomicUsize,
}

/// Bytes that are counted as held until this value is dropped.
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

/// A part of the limit is reserved for queues that hold little. This part is the limit divided by this number.
const RESERVE: usize = 8;

// === impl Budget ===

impl Budget {
    /// Creates a budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Account {
            limit: AtomicUsize::new(limit),
            held: AtomicUsize::new(0),
        }))
    }

    /// Returns the number of bytes that are held now.
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }

    /// Returns the limit on the held bytes.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Relaxed)
    }

    /// Changes the limit. If the new limit is lower than the memory in use, the memory is freed when queues drop
    /// frames.
    pub fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Relaxed);
    }

    /// Counts `bytes` as held.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        self.0.held.fetch_add(bytes, Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    /// Returns the number of bytes held beyond the limit.
    pub fn excess(&self) -> usize {
        self.held().saturating_sub(self.limit())
    }

    /// Returns the part of the limit that is reserved for queues that hold little.
    pub fn reserve_bytes(&self) -> usize {
        self.limit() / RESERVE
    }

    /// Returns whether only the reserve is left, or less than the reserve.
    pub fn is_short(&self) -> bool {
        let limit = self.limit();
        self.held() > limit - limit / RESERVE
    }
}

impl Default for Budget {
    /// Creates a budget without a limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.held(), self.limit())
    }
}

// === impl Reservation ===

impl Reservation {
    /// Returns the limit of the budget, in bytes.
    pub fn limit(&self) -> usize {
        self.budget.limit()
    }

    /// Changes the number of bytes held.
    pub fn resize(&mut self, bytes: usize) {
        let held = &self.budget.0.held;
        if bytes > self.bytes {
            held.fetch_add(bytes - self.bytes, Relaxed);
        } else if bytes < self.bytes {
            held.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resize(0);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_a_reservation_gives_it_back() {
        let budget = Budget::new(800);
        let mut one = budget.reserve(600);
        assert!(!budget.is_short());
        let other = budget.reserve(150);
        assert!(budget.is_short() && budget.excess() == 0);
        one.resize(700);
        assert_eq!((budget.held(), budget.excess()), (850, 50));
        one.resize(10);
        drop(other);
        assert_eq!(budget.held(), 10);
        budget.set_limit(0);
        assert!(budget.is_short() && budget.excess() == 10);
        drop(one);
        assert_eq!(budget.held(), 0);
        assert!(!Budget::default().is_short());
    }
}
