//! The frames of a spool that need not be sent any more.

use std::{collections::BTreeMap, ops::Range};

/// The numbers of the frames that were delivered or counted as dropped. Frames become done nearly in order, so there
/// are few ranges.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Every frame below this number is done.
    below: u64,
    /// Further ranges: the first number of each range, and its end. There is a gap between any two ranges.
    ranges: BTreeMap<u64, u64>,
}

// === impl Done ===

impl Done {
    /// Creates the set of all frames below this number.
    pub(super) fn starting_at(below: u64) -> Self {
        Self {
            below,
            ranges: BTreeMap::new(),
        }
    }

    /// Returns the number below which every frame is done.
    pub(super) fn below(&self) -> u64 {
        self.below
    }

    pub(super) fn add(&mut self, Range { mut start, mut end }: Range<u64>) {
        if start >= end || end <= self.below {
            return;
        }
        if start <= self.below {
            self.below = end;
            while let Some(next) = self.ranges.first_entry()
                && *next.key() <= self.below
            {
                self.below = self.below.max(next.remove());
            }
            return;
        }
        // Merges the ranges that overlap or touch the new one.
        while let Some((&first, &last)) = self.ranges.range(..=end).next_back()
            && last >= start
        {
            self.ranges.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.ranges.insert(start, end);
    }

    /// Returns the number of frames from `from` to `next` that are not done.
    pub(super) fn missing(&self, from: u64, next: u64) -> u64 {
        let from = from.max(self.below);
        let done = self.ranges.iter().map(|(start, end)| {
            let (start, end) = ((*start).max(from), (*end).min(next));
            end.saturating_sub(start)
        });
        next.saturating_sub(from) - done.sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn done_frames_are_a_set(ranges in prop::collection::vec((0_u64..40, 1_u64..9), 0..30)) {
            let (mut done, mut model) = (Done::starting_at(5), (0..5).collect::<BTreeSet<u64>>());
            for (start, length) in ranges {
                done.add(start..start + length);
                model.extend(start..start + length);
                let below = (0..100).find(|number| !model.contains(number)).expect("finite");
                prop_assert_eq!(done.below(), below);
                for from in [0, 7, 20] {
                    let missing = (from..60).filter(|number| !model.contains(number)).count();
                    prop_assert_eq!(done.missing(from, 60), missing as u64);
                }
                let mut before = done.below;
                for (start, end) in &done.ranges {
                    prop_assert!(*start > before && end > start);
                    before = *end;
                }
            }
        }
    }
}
