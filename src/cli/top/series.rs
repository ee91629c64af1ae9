//! The recent values of one quantity, for a chart.

use std::collections::VecDeque;

/// The number of values kept: five minutes at one poll per second.
pub(super) const KEPT: usize = 300;

/// One value for each poll, the newest last. A value is `None` if it is unknown.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    values: VecDeque<Option<f64>>,
    /// The number of older values that were dropped.
    forgotten: usize,
}

// === impl Series ===

impl Series {
    pub(super) fn push(&mut self, value: Option<f64>) {
        if self.values.len() == KEPT {
            self.values.pop_front();
            self.forgotten += 1;
        }
        self.values.push_back(value);
    }

    pub(super) fn last(&self) -> Option<f64> {
        self.values.back().copied().flatten()
    }

    /// Returns the largest of the recent values. The largest value that [`columns`](Self::columns) returns may be
    /// smaller, because a column is a mean.
    pub(super) fn most(&self) -> f64 {
        self.values.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// Groups the last `span` values into `width` columns, the newest last. The value of a column is the mean of its
    /// values.
    ///
    /// The index of a value, counted from the start, decides to which group it belongs. So a complete column keeps its
    /// value while it moves to the left.
    pub(super) fn columns(&self, width: usize, span: usize) -> Vec<Option<f64>> {
        let per_column = span.div_ceil(width.max(1)).max(1);
        let mut sums: VecDeque<(usize, f64, u32)> = VecDeque::new();
        for (value, number) in self.values.iter().zip(self.forgotten..) {
            let column = number / per_column;
            if sums.back().is_none_or(|(last, ..)| *last != column) {
                sums.push_back((column, 0.0, 0));
            }
            if let (Some((_, sum, count)), Some(value)) = (sums.back_mut(), value) {
                *sum += value;
                *count += 1;
            }
        }
        let unknown = width.saturating_sub(sums.len());
        let columns = sums.iter().skip(sums.len().saturating_sub(width));
        let known = columns.map(|(_, sum, count)| (*count > 0).then(|| sum / f64::from(*count)));
        std::iter::repeat_n(None, unknown).chain(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: impl IntoIterator<Item = Option<f64>>) -> Series {
        let mut series = Series::default();
        values.into_iter().for_each(|value| series.push(value));
        series
    }

    #[test]
    fn values_that_share_a_column_are_averaged() {
        let series = series([Some(1.0), Some(3.0), None, Some(5.0), None, None, Some(8.0)]);
        assert_eq!(series.columns(3, 6), [Some(5.0), None, Some(8.0)]);
        assert_eq!(
            series.columns(5, 10),
            [None, Some(2.0), Some(5.0), None, Some(8.0)]
        );
        assert_eq!(series.columns(2, 2), [None, Some(8.0)]);
        assert_eq!(series.columns(0, 10), []);
        assert_eq!(series.last(), Some(8.0));
        assert!(series.most() >= 8.0);
    }

    #[test]
    fn the_oldest_values_are_dropped() {
        let numbers = (0..2 * u32::try_from(KEPT).expect("few")).map(f64::from);
        let series = series(numbers.clone().map(Some));
        let expected: Vec<_> = numbers.skip(KEPT).map(Some).collect();
        assert_eq!(series.columns(KEPT, KEPT), expected);
        let last = series.columns(100, KEPT)[99];
        assert_eq!(last, Some(598.0), "of 597, 598 and 599");
    }

    proptest! {
        #[test]
        fn a_complete_column_keeps_its_value(
            values in prop::collection::vec(prop::option::of(0.0..1e6), 1..200),
            width in 3..100_usize,
        ) {
            let per_column = KEPT.div_ceil(width);
            let before = series(values.clone()).columns(width, KEPT);
            prop_assert_eq!(before.len(), width);
            let mut after = values;
            after.extend(std::iter::repeat_n(Some(7.0), per_column));
            let after = series(after).columns(width, KEPT);
            // After one more value, each complete column has moved by one place. Only the last column may have changed,
            // because it was incomplete before.
            prop_assert_eq!(&before[1..width - 1], &after[..width - 2]);
        }
    }
}
