//! The lock of state that several threads or tasks share.

#[cfg(feature = "tap")]
use std::sync::TryLockError;
use std::sync::{self, MutexGuard, PoisonError};

/// A mutex that a panic does not poison.
///
/// Whatever such a lock guards is usable at every step, so the other threads go on with it: a bug in one connection or one
/// log line must not end the router.
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
