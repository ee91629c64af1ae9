//! Finds the most frequent values of a stream in bounded memory (Space-Saving; Metwally, Agrawal, El Abbadi, 2005).

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Counters for the most frequent values. If all counters are in use, a new value takes over the counter with the
/// smallest count and continues from that count. So a count may be too large, but is never too small.
#[derive(Debug)]
pub(super) struct Top<K> {
    counts: HashMap<K, u64>,
    /// The counters, the smallest first.
    order: BTreeSet<(u64, K)>,
    room: usize,
    is_estimate: bool,
}

// === impl Top ===

impl<K: Clone + Eq + Hash + Ord> Top<K> {
    /// Makes counters for `room` values.
    pub(super) fn new(room: usize) -> Self {
        Self {
            counts: HashMap::new(),
            order: BTreeSet::new(),
            room,
            is_estimate: false,
        }
    }

    pub(super) fn add(&mut self, value: K) {
        let old = match self.counts.get(&value) {
            Some(count) => {
                self.order.remove(&(*count, value.clone()));
                *count
            }
            None if self.counts.len() < self.room => 0,
            None => {
                self.is_estimate = true;
                let Some((least, gone)) = self.order.pop_first() else {
                    return;
                };
                self.counts.remove(&gone);
                least
            }
        };
        self.order.insert((old + 1, value.clone()));
        self.counts.insert(value, old + 1);
    }

    /// Returns the `number` most frequent values and their counts, the largest count first.
    pub(super) fn first(&self, number: usize) -> Vec<(K, u64)> {
        let largest = self.order.iter().rev().take(number);
        largest
            .map(|(count, value)| (value.clone(), *count))
            .collect()
    }

    /// Returns whether a new value has taken over the counter of another value. In that case the smaller counts are
    /// estimates.
    pub(super) fn is_estimate(&self) -> bool {
        self.is_estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_values_are_found_among_many_in_bounded_memory() {
        let mut top = Top::new(100);
        for round in 0..10_000_u32 {
            // Every added value is new.
            top.add(1_000_000 + round);
            top.add(round % 3);
        }
        assert_eq!(top.counts.len(), 100);
        assert_eq!(top.order.len(), 100);
        let first: Vec<u32> = top.first(3).into_iter().map(|(value, _)| value).collect();
        assert_eq!(first, [0, 2, 1].map(|it| it).to_vec());
        assert!(top.first(3).iter().all(|(_, count)| *count >= 3333));
        assert!(top.is_estimate());
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut top = Top::new(3);
        for value in ["b", "a", "b", "c", "b", "a"] {
            top.add(value);
        }
        assert_eq!(top.first(9), [("b", 3), ("a", 2), ("c", 1)]);
        assert!(!top.is_estimate());
    }
}
