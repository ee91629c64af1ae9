//! The frames that a full queue has lost, by sender.

use std::fmt;

use crate::frame_stream::Source;

/// The frames that were dropped because a queue had no room, by sender. Each of the senders that lost the most has a
/// row with its own count. All other senders share one sum.
///
/// A sender is a peer of a listener. It keeps its row when it reconnects: a peer with the same address, or a process
/// with the same id, is the same sender.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    senders: Vec<(Source, u64)>,
    others: u64,
}

// === impl Losses ===

impl Losses {
    /// The greatest number of senders that have a row.
    pub const SENDERS: usize = 16;

    /// Returns the senders that have a row, each with the number of frames that it lost. The first sender lost the
    /// most.
    ///
    /// When a new sender takes over the row of an older sender, the count of the older sender is added to the
    /// [others](Self::others).
    pub fn senders(&self) -> Vec<(&Source, u64)> {
        let rows = self.senders.iter();
        let mut rows: Vec<_> = rows.map(|(source, frames)| (source, *frames)).collect();
        rows.sort_by_key(|(_, frames)| std::cmp::Reverse(*frames));
        rows
    }

    /// Returns the number of frames that were lost by senders without a row.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Returns the number of frames that all senders together lost.
    pub fn total(&self) -> u64 {
        self.others + self.senders.iter().map(|(_, frames)| frames).sum::<u64>()
    }

    /// Returns the number of frames that the sender of `source` lost, or 0 if this sender has no row.
    pub fn of(&self, source: &Source) -> u64 {
        let row = self
            .senders
            .iter()
            .find(|(known, _)| is_same(known, source));
        row.map_or(0, |(_, frames)| *frames)
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let rows = self.senders.iter();
        let rows = rows.map(|(source, frames)| {
            let frames = frames.saturating_sub(before.of(source));
            (source.clone(), frames)
        });
        let senders: Vec<_> = rows.filter(|(_, frames)| *frames > 0).collect();
        let named: u64 = senders.iter().map(|(_, frames)| frames).sum();
        Self {
            senders,
            others: (self.total() - before.total()).saturating_sub(named),
        }
    }

    pub(super) fn record(&mut self, source: Option<&Source>, frames: u64) {
        if frames == 0 {
            return;
        }
        let Some(source) = source else {
            self.others += frames;
            return;
        };
        let rows = &mut self.senders;
        let known = rows.iter().position(|(known, _)| known == source);
        let known = known.or_else(|| rows.iter().position(|(known, _)| is_same(known, source)));
        if let Some(row) = known.and_then(|known| rows.get_mut(known)) {
            row.1 += frames;
            if row.0 != *source {
                // Stores the source of the new connection in the row. The next chunk of this connection is then found
                // by the number of its source, which is faster than comparing addresses.
                row.0 = source.without_frames();
            }
            return;
        }
        if rows.len() < Self::SENDERS {
            rows.push((source.without_frames(), frames));
        } else if let Some(least) = rows.iter_mut().min_by_key(|(_, frames)| *frames) {
            self.others += least.1;
            *least = (source.without_frames(), frames);
        }
    }

    /// Adds the frames that another queue lost.
    pub(super) fn add(&mut self, other: &Self) {
        self.others += other.others;
        for (source, frames) in &other.senders {
            self.record(Some(source), *frames);
        }
    }
}

impl fmt::Display for Losses {
    /// Writes the three senders that lost the most, and the sum of all other senders. Writes nothing if no frame was
    /// lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 3;
        let rows = self.senders();
        let named = rows.iter().take(NAMED);
        let mut separator = "";
        for (source, frames) in named {
            let (peer, listener) = (source.peer(), source.listener());
            write!(f, "{separator}{peer} at {listener}: {frames}")?;
            separator = "; ";
        }
        let rest = rows.iter().skip(NAMED).map(|(_, frames)| frames);
        let others = self.others + rest.sum::<u64>();
        if others > 0 {
            write!(f, "{separator}others: {others}")?;
        }
        Ok(())
    }
}

/// Returns whether two connections belong to the same sender.
fn is_same(one: &Source, other: &Source) -> bool {
    one.peer() == other.peer() && one.listener() == other.listener()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str) -> Source {
        Source::new("tcp://127.0.0.1:6000".into(), peer)
    }

    #[test]
    fn a_sender_that_reconnects_keeps_its_row() {
        let mut losses = Losses::default();
        for _ in 0..3 {
            losses.record(Some(&source("pid 7, uid 0")), 2);
        }
        losses.record(
            Some(&Source::new("unix:///elsewhere".into(), "pid 7, uid 0")),
            5,
        );
        losses.record(None, 1);
        let frames: Vec<_> = losses
            .senders()
            .into_iter()
            .map(|(_, frames)| frames)
            .collect();
        assert_eq!((frames, losses.others()), (vec![6, 5], 1));
    }

    #[test]
    fn the_losses_since_a_moment_are_named() {
        let mut losses = Losses::default();
        losses.record(Some(&source("192.0.2.1:1")), 5);
        let before = losses.clone();
        assert_eq!(before.since(&before).to_string(), "");
        for (port, frames) in [(1, 2), (2, 9), (3, 1), (4, 4), (5, 1)] {
            losses.record(Some(&source(&format!("192.0.2.1:{port}"))), frames);
        }
        losses.record(None, 7);
        let since = losses.since(&before);
        assert_eq!(since.total(), 24);
        assert_eq!(
            since.to_string(),
            "192.0.2.1:2 at tcp://127.0.0.1:6000: 9; 192.0.2.1:4 at tcp://127.0.0.1:6000: 4; \
             192.0.2.1:1 at tcp://127.0.0.1:6000: 2; others: 9"
        );
    }

    #[test]
    fn the_number_of_rows_is_bounded_and_the_sum_is_complete() {
        let mut losses = Losses::default();
        let heavy = source("192.0.2.1:1");
        losses.record(Some(&heavy), 1_000_000);
        for port in 0..1000 {
            losses.record(Some(&source(&format!("192.0.2.2:{port}"))), 3);
        }
        assert_eq!(losses.senders().len(), Losses::SENDERS);
        assert_eq!((losses.total(), losses.of(&heavy)), (1_003_000, 1_000_000));
        let mut sum = Losses::default();
        sum.add(&losses);
        sum.add(&losses);
        assert_eq!((sum.total(), sum.of(&heavy)), (2_006_000, 2_000_000));
    }
}
