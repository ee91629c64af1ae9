//! The lock for state that several threads or tasks share.

#[cfg(feature = "tap")]
use std::sync::TryLockError;
use std::sync::{self, MutexGuard, PoisonError};

/// A mutex that stays usable after a thread has panicked while it held the lock.
///
/// The data behind such a lock stays safe to use if a panic interrupts a change, although the change may be incomplete.
/// So a bug in one connection or one log line does not end the router.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

// === impl Mutex ===

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks without waiting; `None` if another thread holds the lock.
    #[cfg(feature = "tap")]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
