//! The settlement of frames that were taken from a queue. Afterwards each frame is delivered, waits for a confirmation,
//! or is in the queue again.

use std::{collections::VecDeque, time::Instant};

use super::{
    DropReason,
    amount::Amount,
    contents::{CUTS_ALLOWED, Contents},
    held::Held,
    left_out::LeftOut,
    progress::Progress,
};

// === impl Contents ===

impl Contents {
    /// Settles the batch with this `number` and the chunks `held`. The frames that `progress` covers count as
    /// delivered.
    pub(super) fn settle(
        &mut self,
        number: u64,
        held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
    ) {
        let mut written = self.land(number, held, left_out, progress);
        self.record_latency(&written);
        self.number(&mut written);
        for held in &written {
            self.ledger.in_flight -= held.chunk.len() as u64;
            self.deliver(held);
        }
        if !written.is_empty() {
            self.ledger.delivered_bytes += progress.bytes;
        }
    }

    /// Settles the batch with this `number` and the chunks `held`. Returns the frames that `progress` covers. These
    /// frames are unconfirmed from now on. If `is_kept` is true, they are not written yet, but stay with the sink when its
    /// connection ends.
    pub(super) fn settle_unconfirmed(
        &mut self,
        number: u64,
        held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
        is_kept: bool,
    ) -> VecDeque<Held> {
        let written = self.land(number, held, left_out, progress);
        if !is_kept {
            self.record_latency(&written);
        }
        for held in &written {
            let Amount { frames, bytes } = held.amount();
            self.kept += if is_kept { frames } else { 0 };
            self.ledger.in_flight -= frames as u64;
            self.ledger.unconfirmed += frames as u64;
            self.ledger.unconfirmed_bytes += bytes as u64;
        }
        self.change_oldest(None, oldest(&written, number));
        written
    }

    /// Ends the flight of a batch, and returns the frames of `held` that were written. The ledger still counts these
    /// frames as in flight. The other frames of `held` return to their positions in the queue.
    fn land(
        &mut self,
        number: u64,
        mut held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
    ) -> VecDeque<Held> {
        // When the queue was abandoned, its frames in flight were already counted as lost.
        if self.is_abandoned() {
            return VecDeque::new();
        }
        self.in_flight.retain(|flight| flight.number != number);
        let written = self.split_written(&mut held, left_out, progress.frames);
        let again = written.iter().filter(|held| held.written_before);
        self.ledger.resent += again.map(|held| held.chunk.len() as u64).sum::<u64>();
        // The frame that was being written may have caused the connection to die. If the connection died between two
        // frames, no frame is suspected.
        if let Some(first) = held.front_mut().filter(|_| progress.cut) {
            first.cuts += 1;
            if first.cuts >= CUTS_ALLOWED {
                let given_up = split_to(&mut held, 1);
                self.give_up(given_up, DropReason::Disconnected);
            }
        }
        self.number(&mut held);
        // The remaining chunks return to the queue and wait for the next connection. Each chunk keeps `cuts`, the number
        // of connections that died while they were writing the first frame of the chunk.
        for back in held {
            let frames = back.chunk.len() as u64;
            self.ledger.in_flight -= frames;
            self.ledger.queued += frames;
            self.wait(back);
        }
        written
    }

    /// Records the latency of frames that were written. Frames that were written before have a latency already.
    fn record_latency(&mut self, written: &VecDeque<Held>) {
        let now = Instant::now();
        for held in written.iter().filter(|held| !held.written_before) {
            self.record_latency_of(held, now);
        }
    }

    fn record_latency_of(&mut self, held: &Held, now: Instant) {
        let took = now.saturating_duration_since(held.chunk.received());
        let frames = u32::try_from(held.chunk.len()).unwrap_or(u32::MAX);
        self.latency.record(took, frames);
    }

    /// Splits off the first `frames` frames of `held`. Frames that the sink left out are not part of this number. A
    /// frame that was left out counts as dropped if it is before, between or directly after the frames that are split
    /// off.
    fn split_written(
        &mut self,
        held: &mut VecDeque<Held>,
        left_out: &LeftOut,
        frames: usize,
    ) -> VecDeque<Held> {
        if left_out.is_empty() {
            return split_to(held, frames);
        }
        let (mut written, mut rest, mut place) = (VecDeque::new(), frames, 0);
        for (at, reason) in left_out.each() {
            let before = (at - place).min(rest);
            written.extend(split_to(held, before));
            rest -= before;
            place += before;
            if place < at {
                return written;
            }
            let gone = split_to(held, 1);
            self.give_up(gone, reason);
            place += 1;
        }
        written.extend(split_to(held, rest));
        written
    }

    /// Counts these frames, which are in flight, as dropped.
    fn give_up(&mut self, mut frames: VecDeque<Held>, reason: DropReason) {
        self.number(&mut frames);
        for held in &frames {
            let amount = held.amount();
            self.mark_done(held);
            self.ledger.in_flight -= amount.frames as u64;
            self.ledger.held_bytes -= amount.bytes as u64;
            self.count_dropped(reason, amount.frames as u64);
        }
    }

    /// Replaces the entry of a batch in the set of unconfirmed batches.
    pub(super) fn change_oldest(
        &mut self,
        before: Option<(Instant, u64)>,
        after: Option<(Instant, u64)>,
    ) {
        if before == after {
            return;
        }
        // When the queue was abandoned, the set was cleared, and it stays empty.
        if self.is_abandoned() {
            return;
        }
        if let Some(before) = before {
            self.unconfirmed.remove(&before);
        }
        self.unconfirmed.extend(after);
    }

    fn deliver(&mut self, held: &Held) {
        let amount = held.amount();
        self.mark_done(held);
        self.ledger.delivered += amount.frames as u64;
        self.ledger.held_bytes -= amount.bytes as u64;
    }

    /// Counts these unconfirmed frames as delivered. `bytes` is their size on the wire. The latency of frames that were
    /// kept ends now.
    pub(super) fn confirm(&mut self, mut confirmed: VecDeque<Held>, bytes: u64, was_kept: bool) {
        // When the queue was abandoned, its unconfirmed frames were already counted as lost.
        if self.is_abandoned() {
            return;
        }
        self.number(&mut confirmed);
        let now = was_kept.then(Instant::now);
        for held in &confirmed {
            if let Some(now) = now {
                self.record_latency_of(held, now);
            }
            let amount = held.amount();
            self.ledger.unconfirmed -= amount.frames as u64;
            self.ledger.unconfirmed_bytes -= amount.bytes as u64;
            self.deliver(held);
        }
        self.ledger.delivered_bytes += bytes;
    }

    /// Counts these unconfirmed frames as dropped.
    #[cfg_attr(
        not(feature = "kafka"),
        allow(dead_code, reason = "only Kafka sinks keep frames")
    )]
    pub(super) fn drop_unconfirmed(&mut self, mut dropped: VecDeque<Held>, reason: DropReason) {
        if self.is_abandoned() {
            return;
        }
        self.number(&mut dropped);
        for held in &dropped {
            let Amount { frames, bytes } = held.amount();
            self.mark_done(held);
            self.ledger.unconfirmed -= frames as u64;
            self.ledger.unconfirmed_bytes -= bytes as u64;
            self.ledger.held_bytes -= bytes as u64;
            self.count_dropped(reason, frames as u64);
        }
    }

    /// Returns unconfirmed frames to their positions in the queue, because their connection has ended. The next
    /// connection sends them again, or for the first time if `was_sent` is false.
    pub(super) fn take_back(&mut self, mut unconfirmed: VecDeque<Held>, was_sent: bool) {
        if self.is_abandoned() {
            return;
        }
        self.number(&mut unconfirmed);
        for mut back in unconfirmed {
            let Amount { frames, bytes } = back.amount();
            self.ledger.unconfirmed -= frames as u64;
            self.ledger.unconfirmed_bytes -= bytes as u64;
            self.ledger.queued += frames as u64;
            if was_sent {
                back.written_before = true;
                self.mark_sent_before(&back);
            }
            self.wait(back);
        }
    }
}

/// Returns the time at which the oldest of these frames was read from its sender, with the number of their batch. `None`
/// if there are no frames.
pub(super) fn oldest(held: &VecDeque<Held>, number: u64) -> Option<(Instant, u64)> {
    let received = held.iter().map(|held| held.chunk.received()).min()?;
    Some((received, number))
}

/// Splits off the first `frames` frames of `held`. Splits off all frames if there are fewer.
pub(super) fn split_to(held: &mut VecDeque<Held>, mut frames: usize) -> VecDeque<Held> {
    let chunks = held.iter().take_while(|held| {
        let rest = frames.checked_sub(held.chunk.len());
        frames = rest.unwrap_or(frames);
        rest.is_some()
    });
    let chunks = chunks.count();
    let rest = held.split_off(chunks);
    let mut taken = std::mem::replace(held, rest);
    if frames > 0 {
        let part = held.front_mut().map(|first| first.split_to(frames));
        taken.extend(part);
    }
    taken
}
