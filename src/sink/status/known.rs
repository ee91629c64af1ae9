//! The kinds of failure that the log knows of.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The kinds of failure of one outage that the log has a line about. The same again is no news, whatever was in between.
#[derive(Debug)]
pub(super) struct Known<K> {
    kinds: Mutex<VecDeque<K>>,
}

/// More than one outage has; a collector that fails in ever new ways makes the log forget the oldest.
const KEPT: usize = 64;

// === impl Known ===

impl<K: PartialEq> Known<K> {
    /// Whether the log has no line about this kind yet; from now on it has.
    pub(super) fn is_news(&self, kind: K) -> bool {
        let mut kinds = self.lock();
        if kinds.contains(&kind) {
            return false;
        }
        if kinds.len() == KEPT {
            kinds.pop_front();
        }
        kinds.push_back(kind);
        true
    }

    /// The outage is over.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<K>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        let kinds = Mutex::default();
        Self { kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_news_once_until_the_outage_is_over() {
        let known = Known::default();
        let news = |kinds: &[u32]| -> Vec<bool> {
            let kinds = kinds.iter();
            kinds.map(|kind| known.is_news(*kind)).collect()
        };
        assert_eq!(
            news(&[1, 1, 2, 1, 2, 3]),
            [true, false, true, false, false, true]
        );
        known.clear();
        assert_eq!(news(&[1, 1]), [true, false]);
    }

    #[test]
    fn a_new_kind_is_news_however_many_there_were() {
        let known = Known::default();
        assert!((0..1000).all(|kind| known.is_news(kind)));
        assert_eq!(known.lock().len(), KEPT);
        assert!(!known.is_news(999));
    }
}
