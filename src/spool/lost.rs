//! The record of the frames that a spool has lost and counted.

use std::ops::Range;

/// The frames that were counted as lost, as ranges of sequence numbers. Because of this list, a frame is not counted
/// twice when the same part of a spool is read again. The ranges are in ascending order, and do not touch each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost(Vec<Range<u64>>);

// === impl Lost ===

impl Lost {
    /// Adds a range. Returns the number of its frames that were not counted before.
    pub(super) fn add(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        // The new range is merged with all old ranges that overlap or touch it.
        let start = self.0.partition_point(|it| it.end < range.start);
        let end = self.0.partition_point(|it| it.start <= range.end);
        let (mut merged, mut known) = (range.clone(), 0);
        for old in self.0.drain(start..end) {
            let (from, to) = (old.start.max(range.start), old.end.min(range.end));
            known += to.saturating_sub(from);
            merged = merged.start.min(old.start)..merged.end.max(old.end);
        }
        self.0.insert(start, merged);
        range.end - range.start - known
    }

    /// Returns the number of the first frame that is not lost, beginning with the frame `at`.
    pub(super) fn skip(&self, at: u64) -> u64 {
        let after = self.0.partition_point(|it| it.end <= at);
        match self.0.get(after) {
            Some(range) if range.start <= at => range.end,
            _ => at,
        }
    }

    /// Removes the ranges whose frames are all below the number `below`.
    pub(super) fn forget(&mut self, below: u64) {
        self.0.retain(|range| range.end > below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(lost: &Lost) -> Vec<(u64, u64)> {
        lost.0.iter().map(|it| (it.start, it.end)).collect()
    }

    #[test]
    fn each_frame_counts_once() {
        let mut lost = Lost::default();
        assert_eq!(lost.add(10..20), 10);
        assert_eq!(lost.add(30..40), 10);
        assert_eq!(lost.add(12..18), 0);
        assert_eq!(lost.add(15..35), 10);
        assert_eq!(ranges(&lost), [(10, 40)]);
        assert_eq!(lost.add(5..5), 0);
        assert_eq!(lost.add(0..100), 70);
        assert_eq!(ranges(&lost), [(0, 100)]);
        assert_eq!(lost.add(100..110), 10);
        assert_eq!(ranges(&lost), [(0, 110)]);
    }

    #[test]
    fn frames_after_a_lost_range_are_found() {
        let mut lost = Lost::default();
        lost.add(10..20);
        lost.add(30..40);
        let skipped = [9, 10, 19, 20, 30, 40].map(|at| lost.skip(at));
        assert_eq!(skipped, [9, 20, 20, 20, 40, 40]);
        lost.forget(20);
        assert_eq!(ranges(&lost), [(30, 40)]);
        lost.forget(35);
        assert_eq!(lost.skip(36), 40);
    }
}
