//! What a thread is waiting for.

use std::{
    cell::RefCell,
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
};

/// The wait of a thread, as seen by another one.
///
/// The thread that reads carries it along ([`watch`](Self::watch)), so that nothing between the first call and the file
/// has to hand it on.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the wait: each one has its own.
    number: u64,
    /// Its name; `None` between two waits.
    name: Option<String>,
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<Arc<Progress>>> = const { RefCell::new(None) };
}

/// Does `work`, which may never return; whoever watches this thread sees it wait for `name`.
pub(crate) fn waiting_for<T>(name: impl Display, work: impl FnOnce() -> T) -> T {
    let watched = OF_THIS_THREAD.with_borrow(Clone::clone);
    let Some(progress) = watched else {
        return work();
    };
    progress.change(Some(name.to_string()));
    let done = work();
    progress.change(None);
    done
}

// === impl Progress ===

impl Progress {
    /// Does `work` on this thread, with its waits seen here.
    pub(super) fn watch<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        OF_THIS_THREAD.replace(Some(Arc::clone(self)));
        let done = work();
        OF_THIS_THREAD.replace(None);
        done
    }

    /// The number and the name of the wait under way.
    pub(super) fn current(&self) -> Option<(u64, String)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.name.clone().map(|name| (state.number, name))
    }

    pub(super) fn change(&self, name: Option<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.number += 1;
        state.name = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seen_while_it_lasts() {
        let progress = Arc::new(Progress::default());
        let seen = Arc::clone(&progress);
        let waits = progress.watch(|| {
            let before = seen.current();
            let first = waiting_for("/one", || seen.current());
            let second = waiting_for("/one", || seen.current());
            (before, first, second)
        });
        let (None, Some((one, first)), Some((two, second))) = waits else {
            panic!("{waits:?}");
        };
        assert_eq!((first.as_str(), second.as_str()), ("/one", "/one"));
        assert_ne!(one, two, "two waits for the same file are two");
        assert_eq!(progress.current(), None);
        waiting_for("/unwatched", || assert_eq!(progress.current(), None));
    }
}
