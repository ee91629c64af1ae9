//! The end of a flight: frames that were taken from a queue are delivered, wait for a confirmation, or return to the
//! queue.

use std::{collections::VecDeque, time::Instant};

use super::{
    DropReason,
    amount::Amount,
    contents::{CUTS_ALLOWED, Contents, Lifecycle},
    held::Held,
    left_out::LeftOut,
    progress::Progress,
};

// === impl Contents ===

impl Contents {
    /// Ends the flight `number`, whose chunks are `held`, and counts the frames that `progress` covers as delivered.
    pub(super) fn settle(
        &mut self,
        number: u64,
        held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
    ) {
        let written = self.land(number, held, left_out, progress);
        for held in &written {
            let amount = held.amount();
            self.ledger.in_flight -= amount.frames as u64;
            self.deliver(amount);
        }
        if !written.is_empty() {
            self.ledger.delivered_bytes += progress.bytes;
        }
    }

    /// Ends the flight `number`, whose chunks are `held`. Returns the frames that `progress` covers, which are
    /// unconfirmed from now on.
    pub(super) fn settle_unconfirmed(
        &mut self,
        number: u64,
        held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
    ) -> VecDeque<Held> {
        let written = self.land(number, held, left_out, progress);
        for held in &written {
            let Amount { frames, bytes } = held.amount();
            self.ledger.in_flight -= frames as u64;
            self.ledger.unconfirmed += frames as u64;
            self.ledger.unconfirmed_bytes += bytes as u64;
        }
        written
    }

    /// Ends the flight `number`, and returns the frames of `held` that were written. They still count as in flight. The
    /// other frames return to their positions in the queue.
    fn land(
        &mut self,
        number: u64,
        mut held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
    ) -> VecDeque<Held> {
        // An abandoned queue has counted its frames in flight as lost already.
        if let Lifecycle::Ended(_) = self.lifecycle {
            return VecDeque::new();
        }
        self.in_flight.retain(|flight| flight.number != number);
        let written = self.split_written(&mut held, left_out, progress.frames);
        let now = Instant::now();
        for one in &written {
            let frames = u32::try_from(one.chunk.len()).unwrap_or(u32::MAX);
            if one.written_before {
                self.ledger.resent += u64::from(frames);
            } else {
                let took = now.saturating_duration_since(one.chunk.received());
                self.latency.record(took, frames);
            }
        }
        // The frame that was being written may have caused the connection to die. If the connection died between two
        // frames, the next frame is not suspect.
        if let Some(first) = held.front_mut().filter(|_| progress.cut) {
            first.cuts += 1;
            if first.cuts >= CUTS_ALLOWED {
                let given_up = split_to(&mut held, 1);
                self.give_up(&given_up, DropReason::Disconnected);
            }
        }
        // The remaining chunks wait again, for the next connection, and keep their `cuts`.
        for back in held {
            let frames = back.chunk.len() as u64;
            self.ledger.in_flight -= frames;
            self.ledger.queued += frames;
            self.wait(back);
        }
        written
    }

    /// Takes the first `frames` frames from `held`, not counting the frames that the sink left out. A frame that was
    /// left out counts as dropped if it is before, between or directly after the taken frames.
    fn split_written(
        &mut self,
        held: &mut VecDeque<Held>,
        left_out: &LeftOut,
        frames: usize,
    ) -> VecDeque<Held> {
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
            self.give_up(&gone, reason);
            place += 1;
        }
        written.extend(split_to(held, rest));
        written
    }

    /// Counts frames in flight as dropped.
    fn give_up(&mut self, frames: &VecDeque<Held>, reason: DropReason) {
        for amount in frames.iter().map(Held::amount) {
            self.ledger.in_flight -= amount.frames as u64;
            self.ledger.held_bytes -= amount.bytes as u64;
            self.count_dropped(reason, amount.frames as u64);
        }
    }

    fn deliver(&mut self, amount: Amount) {
        self.ledger.delivered += amount.frames as u64;
        self.ledger.held_bytes -= amount.bytes as u64;
    }

    /// Counts unconfirmed frames as delivered. They had `bytes` bytes on the wire.
    pub(super) fn confirm(&mut self, confirmed: &VecDeque<Held>, bytes: u64) {
        // An abandoned queue has counted its unconfirmed frames as lost already.
        if let Lifecycle::Ended(_) = self.lifecycle {
            return;
        }
        for amount in confirmed.iter().map(Held::amount) {
            self.ledger.unconfirmed -= amount.frames as u64;
            self.ledger.unconfirmed_bytes -= amount.bytes as u64;
            self.deliver(amount);
        }
        self.ledger.delivered_bytes += bytes;
    }

    /// Returns unconfirmed frames to their positions, because their connection ended. The next connection sends them
    /// again.
    pub(super) fn take_back(&mut self, unconfirmed: VecDeque<Held>) {
        if let Lifecycle::Ended(_) = self.lifecycle {
            return;
        }
        for mut back in unconfirmed {
            let Amount { frames, bytes } = back.amount();
            self.ledger.unconfirmed -= frames as u64;
            self.ledger.unconfirmed_bytes -= bytes as u64;
            self.ledger.queued += frames as u64;
            back.written_before = true;
            self.wait(back);
        }
    }
}

/// Takes the first `frames` frames from `held`, or all if there are fewer.
pub(super) fn split_to(held: &mut VecDeque<Held>, mut frames: usize) -> VecDeque<Held> {
    let mut taken = VecDeque::new();
    while frames > 0 {
        let Some(mut first) = held.pop_front() else {
            break;
        };
        let part = first.split_to(frames);
        if !first.chunk.is_empty() {
            held.push_front(first);
        }
        frames -= part.chunk.len();
        taken.push_back(part);
    }
    taken
}
