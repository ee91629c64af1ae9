//! The record that shows which file a thread is waiting for.

use crate::lock::Mutex;
use std::{cell::RefCell, fmt::Display, sync::Arc};

/// The file that a thread is waiting for. Another thread observes this record.
///
/// The record is a thread-local of the reading thread ([`watch`](Self::watch)). So it does not have to be an argument
/// of every function that may read a file.
#[derive(Debug, Default)]
pub(super) struct ThreadWait(Mutex<Wait>);

#[derive(Debug, Default)]
struct Wait {
    /// Distinguishes two waits for the same file.
    number: u64,
    /// The file; `None` between two waits.
    name: Option<String>,
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<Arc<ThreadWait>>> = const { RefCell::new(None) };
}

/// Runs `work`, which may never return. Meanwhile a [`Reader`](super::Reader) can see that this thread waits for
/// `name`.
pub(crate) fn waiting_for<T>(name: impl Display, work: impl FnOnce() -> T) -> T {
    let watched = OF_THIS_THREAD.with_borrow(Clone::clone);
    let Some(wait) = watched else {
        return work();
    };
    wait.change(Some(name.to_string()));
    let done = work();
    wait.change(None);
    done
}

// === impl ThreadWait ===

impl ThreadWait {
    /// Runs `work` on this thread and records its waits.
    pub(super) fn watch<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        OF_THIS_THREAD.replace(Some(Arc::clone(self)));
        let done = work();
        OF_THIS_THREAD.replace(None);
        done
    }

    /// Returns the number and the name of the current wait.
    pub(super) fn current(&self) -> Option<(u64, String)> {
        let wait = self.0.lock();
        wait.name.clone().map(|name| (wait.number, name))
    }

    pub(super) fn change(&self, name: Option<String>) {
        let mut wait = self.0.lock();
        wait.number += 1;
        wait.name = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_visible_while_it_lasts() {
        let wait = Arc::new(ThreadWait::default());
        let seen = Arc::clone(&wait);
        let waits = wait.watch(|| {
            let before = seen.current();
            let first = waiting_for("/one", || seen.current());
            let second = waiting_for("/one", || seen.current());
            (before, first, second)
        });
        let (None, Some((one, first)), Some((two, second))) = waits else {
            panic!("{waits:?}");
        };
        assert_eq!((first.as_str(), second.as_str()), ("/one", "/one"));
        assert_ne!(
            one, two,
            "two waits for the same file have different numbers"
        );
        assert_eq!(wait.current(), None);
        waiting_for("/unwatched", || assert_eq!(wait.current(), None));
    }
}
