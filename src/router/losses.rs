//! The losses of a full queue, by sender.

use std::fmt;

use crate::frame_stream::Source;

/// The frames that were dropped because there was no room, by sender. The senders that lost the most have a row each;
/// the others have a common sum.
///
/// A sender is a peer at a listener. A sender that reconnects from the same address, or that is the same process, keeps
/// its row.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    senders: Vec<(Source, u64)>,
    others: u64,
}

// === impl Losses ===

impl Losses {
    /// The greatest number of senders with a row of their own.
    pub const SENDERS: usize = 16;

    /// The senders that lost the most, each with its lost frames, in descending order.
    ///
    /// When a new sender takes over a row, the frames of the former one are added to the [others](Self::others).
    pub fn senders(&self) -> Vec<(&Source, u64)> {
        let rows = self.senders.iter();
        let mut rows: Vec<_> = rows.map(|(source, frames)| (source, *frames)).collect();
        rows.sort_by_key(|(_, frames)| std::cmp::Reverse(*frames));
        rows
    }

    /// The lost frames of the senders without a row.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// The lost frames of all senders.
    pub fn total(&self) -> u64 {
        self.others + self.senders.iter().map(|(_, frames)| frames).sum::<u64>()
    }

    /// The lost frames of the sender that `source` belongs to; 0 if it has no row.
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
                // Stores this source, so that the next chunk of its connection finds the row by the number of the
                // source, which is faster.
                row.0 = source.clone();
            }
            return;
        }
        if rows.len() < Self::SENDERS {
            rows.push((source.clone(), frames));
        } else if let Some(least) = rows.iter_mut().min_by_key(|(_, frames)| *frames) {
            self.others += least.1;
            *least = (source.clone(), frames);
        }
    }

    /// Adds the losses of another queue.
    pub(super) fn add(&mut self, other: &Self) {
        self.others += other.others;
        for (source, frames) in &other.senders {
            self.record(Some(source), *frames);
        }
    }
}

impl fmt::Display for Losses {
    /// Writes the three senders that lost the most, and the sum of all others. Writes nothing if nothing was lost.
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
