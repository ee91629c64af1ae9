//! The frames of a queue that are on a disk: which of them are also in memory, and which need not be sent any more.
//!
//! ```text
//! oldest                                                              newest
//! in flight, unconfirmed │ ready │ only on the disk │ being written │ waiting (not on the disk yet)
//! ```
//!
//! A frame has two numbers. Its *position* is its place in the order in which frames were offered to the queue. Its
//! *number* is its place in the spool. A chunk that is only on the disk has no position. When chunks are read from the
//! disk, they get consecutive positions, beginning at `disk_position`. A lost frame has a position but may have no
//! number, so the new position of a chunk can be lower than its first one, but never higher. The chunk therefore stays
//! before all newer frames.

use std::{collections::BTreeMap, ops::Range, task::Waker, time::Instant};

use super::{
    amount::Amount,
    contents::{Bounds, Contents, Lifecycle},
    direct::Direct,
    done::Done,
    held::Held,
    spooling::Wants,
};
use crate::frame_stream::Chunk;

pub(super) struct Spooled {
    /// The chunks that are on the disk and in memory and wait to be sent, by position.
    pub(super) ready: BTreeMap<u64, Held>,
    pub(super) ready_amount: Amount,
    /// The number of the first frame that is only on the disk. All later frames on the disk are only there, too.
    pub(super) disk: u64,
    /// The position that the frame with the number `disk` gets when it is read.
    pub(super) disk_position: u64,
    /// The number of the next frame that is written to the disk.
    pub(super) next: u64,
    /// The position after the newest frame that is on the disk, or that was taken from memory while the disk failed.
    /// Older frames are never written, because they would follow newer frames on the disk.
    pub(super) written_to: u64,
    /// The position after the newest frame that was taken from memory while the disk failed. Older chunks stay in
    /// memory. If they were read from the disk again, they could come after this frame when it is sent again.
    pub(super) taken_to: u64,
    /// The frames below this number are not on the disk any more.
    pub(super) floor: u64,
    /// The frames below this number may already have been sent, on a connection that ended before they were confirmed.
    pub(super) sent_below: u64,
    /// The waiting frames that are being written to the disk.
    pub(super) writing: Amount,
    pub(super) direct: Direct,
    pub(super) done: Done,
    pub(super) writes: Writes,
    /// The work for which the thread of the spool is woken.
    pub(super) wants: Wants,
    /// The value of [`Done::below`] that the thread got last.
    pub(super) known_done: u64,
    /// True if the thread must write everything to the disk and end.
    pub(super) is_ending: bool,
    /// Wakes the thread of the spool; `None` if it does not wait.
    pub(super) thread: Option<Waker>,
}

/// The state of the writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// New frames are written.
    On,
    /// The spool is full. New frames wait in memory until older ones are done.
    Full,
    /// The disk has failed. When everything on it has been sent, new frames are sent from memory.
    Failing,
}

/// The counts of the frames in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpoolCounts {
    /// Frames on the disk that are neither delivered nor dropped.
    pub(crate) frames: u64,
    /// Frames that are on the disk and not in memory.
    pub(crate) only_on_disk: u64,
}

// === impl Spooled ===

impl Spooled {
    /// Creates the state of a queue whose spool has the frames `found`. No other frames wait in the queue. `start` is
    /// the position of the first frame, and `end` the position after the last frame.
    pub(super) fn new(found: Range<u64>, Range { start, end }: Range<u64>) -> Self {
        Self {
            ready: BTreeMap::new(),
            ready_amount: Amount::default(),
            disk: found.start,
            disk_position: start,
            next: found.end,
            written_to: end,
            taken_to: start,
            floor: found.start,
            sent_below: 0,
            writing: Amount::default(),
            direct: Direct::new(end),
            done: Done::starting_at(found.start),
            writes: Writes::On,
            wants: Wants {
                done: false,
                reads: true,
            },
            known_done: found.start,
            is_ending: false,
            thread: None,
        }
    }

    /// Returns the number of frames that are only on the disk.
    pub(super) fn only_on_disk(&self) -> u64 {
        self.next - self.disk
    }

    /// Returns the amount of all chunks that are ready or being written to the disk. Chunks in flight do not count.
    pub(super) fn in_memory(&self) -> Amount {
        let mut amount = self.ready_amount;
        amount += self.writing;
        amount
    }

    /// Returns the number of frames on the disk that are neither delivered nor dropped.
    pub(super) fn kept(&self) -> u64 {
        self.done.missing(self.floor, self.next)
    }

    /// Returns whether no frame waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.only_on_disk() == 0 && self.writing.frames == 0
    }

    /// Returns whether the consumer may take frames that are not on the disk. It may if it takes frames directly or the
    /// disk fails, and if all older frames are done or in flight.
    fn is_passed(&self) -> bool {
        let may_pass = self.direct.is_allowed || self.writes == Writes::Failing;
        may_pass && self.is_empty() && self.direct.is_at_rest()
    }

    /// Returns an upper bound of the bytes that can be freed without losing a frame. The oldest chunk stays in memory,
    /// so that the sink always has a chunk to send.
    pub(super) fn forgettable(&self) -> usize {
        match self.ready.len() {
            0 | 1 => 0,
            _ => self.ready_amount.bytes,
        }
    }

    /// Returns the oldest ready chunk.
    pub(super) fn first(&self) -> Option<&Held> {
        self.ready.first_key_value().map(|(_, held)| held)
    }

    pub(super) fn add_ready(&mut self, held: Held) {
        self.ready_amount += held.amount();
        self.ready.insert(held.position, held);
    }

    pub(super) fn pop_ready(&mut self) -> Option<Held> {
        let (_, held) = self.ready.pop_first()?;
        self.ready_amount -= held.amount();
        Some(held)
    }

    /// Removes the newest ready chunk from memory if it is directly before the frames that are only on the disk.
    fn forget_newest(&mut self) -> Option<Amount> {
        if self.ready.len() < 2 {
            return None;
        }
        let newest = self.ready.last_entry()?;
        let numbers = newest.get().numbers();
        // A chunk with `cuts` stays in memory, because the spool does not store this count.
        let may_go = numbers.end == self.disk
            && numbers.start >= self.floor
            && newest.get().position >= self.taken_to
            && !self.direct.is_after(newest.get().position)
            && newest.get().cuts == 0;
        if !may_go {
            return None;
        }
        let held = newest.remove();
        let amount = held.amount();
        self.ready_amount -= amount;
        self.disk = numbers.start;
        self.disk_position = held.position;
        Some(amount)
    }
}

// === impl Contents ===

impl Contents {
    /// Returns the number of frames that are only on the disk.
    pub(super) fn only_on_disk(&self) -> u64 {
        self.spooled.as_ref().map_or(0, |it| it.only_on_disk())
    }

    /// Returns the oldest chunk that the consumer may take. With a spool, the consumer takes only chunks that are on
    /// the disk, unless the disk fails or the consumer takes frames [directly](super::direct).
    pub(super) fn first(&self) -> Option<&Held> {
        let waiting = self.waiting.first();
        let Some(spooled) = &self.spooled else {
            return waiting;
        };
        match (waiting, spooled.first()) {
            // This chunk was sent while the disk failed, and returned to the queue. Newer chunks are on the disk by
            // now.
            (Some(waiting), ready)
                if waiting.position < spooled.written_to
                    && ready.is_none_or(|ready| waiting.position < ready.position) =>
            {
                Some(waiting)
            }
            (_, Some(ready)) => Some(ready),
            (waiting, None) => waiting.filter(|_| spooled.is_passed()),
        }
    }

    /// Takes the [first](Self::first) chunk out of the queue.
    pub(super) fn pop_first(&mut self) -> Option<Held> {
        if self.spooled.is_none() {
            return self.waiting.pop_first();
        }
        let (position, is_spooled) = self.first().map(|it| (it.position, it.number.is_some()))?;
        if is_spooled {
            return self.spooled.as_mut()?.pop_ready();
        }
        self.waiting.remove(position)
    }

    /// Notes that the consumer took `held` out of the queue.
    pub(super) fn is_taken(&mut self, held: &Held) {
        let Some(spooled) = self.spooled.as_mut().filter(|_| held.number.is_none()) else {
            return;
        };
        let is_direct = spooled.direct.is_allowed && spooled.writes != Writes::Failing;
        if is_direct && held.position >= spooled.written_to {
            spooled.direct.add(held);
        } else {
            self.stays_in_memory(held);
        }
    }

    /// Records that the frames of `held` were sent and will never be on the disk, unless they are there already.
    pub(super) fn stays_in_memory(&mut self, held: &Held) {
        if let (Some(spooled), None) = (&mut self.spooled, held.number) {
            spooled.written_to = spooled.written_to.max(held.end());
            spooled.taken_to = spooled.taken_to.max(held.end());
        }
    }

    /// Frees memory for `chunk`: removes ready chunks from memory, the newest first, until it fits.
    pub(super) fn forget_for(&mut self, chunk: &Chunk, bounds: Bounds) {
        while self.free(bounds).room_for(chunk) < chunk.len() && self.forget_newest().is_some() {}
    }

    /// Removes the newest ready chunk from memory. It stays on the disk.
    pub(super) fn forget_newest(&mut self) -> Option<Amount> {
        let amount = self.spooled.as_mut()?.forget_newest()?;
        self.ledger.held_bytes -= amount.bytes as u64;
        Some(amount)
    }

    /// Records that the frames of `held` are delivered or dropped.
    pub(super) fn mark_done(&mut self, held: &Held) {
        if let Some(spooled) = &mut self.spooled {
            spooled.done.add(held.numbers());
        }
    }

    /// Records that the frames of `held` were sent and will be sent again.
    pub(super) fn mark_sent_before(&mut self, held: &Held) {
        if let Some(spooled) = &mut self.spooled {
            spooled.sent_below = spooled.sent_below.max(held.numbers().end);
        }
    }

    /// Returns the time at which the oldest ready frame was read from its sender.
    pub(super) fn oldest_ready(&self) -> Option<Instant> {
        let first = self.spooled.as_ref()?.first()?;
        Some(first.chunk.received())
    }

    /// Removes all frames of the spool from memory. Returns the number of frames that stay on the disk.
    pub(super) fn keep_on_disk(&mut self) -> u64 {
        let Some(spooled) = &mut self.spooled else {
            return 0;
        };
        spooled.ready.clear();
        spooled.direct.clear();
        spooled.ready_amount = Amount::default();
        spooled.disk = spooled.next;
        spooled.kept()
    }

    /// Returns whether the queue has no consumer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Ended(_) | Lifecycle::NoCollector)
    }
}
