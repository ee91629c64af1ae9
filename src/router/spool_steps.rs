//! The steps of a spool's thread, under the lock of the queue. The thread takes frames to write, and records which
//! frames were written, read or lost.

use std::{task::Waker, time::Instant};

use super::{
    DropReason,
    amount::Amount,
    contents::{Contents, Lifecycle},
    held::Held,
    spooled::Writes,
};
use crate::frame_stream::Chunk;

// === impl Contents ===

impl Contents {
    /// Returns whether there are chunks that the thread of the spool must write.
    pub(super) fn has_unspooled(&self) -> bool {
        let spooled = self.spooled.as_ref();
        spooled.is_some_and(|it| it.writes == Writes::On) && self.first_unspooled().is_some()
    }

    /// Takes the oldest chunks that were never on the disk, so that the thread can write them. The ledger still counts
    /// waiting chunks as queued. The flag is true for a chunk that is in flight; such a chunk stays in flight.
    pub(super) fn take_unspooled(&mut self, at_most: Amount) -> Vec<(Held, bool)> {
        let mut taken = Vec::new();
        if !self.has_unspooled() {
            return taken;
        }
        let mut amount = Amount::default();
        while amount.frames < at_most.frames
            && amount.bytes < at_most.bytes
            && let Some((position, _, is_direct)) = self.first_unspooled()
            && let Some(held) = self.begin_write(position, is_direct)
        {
            amount += held.amount();
            taken.push((held, is_direct));
        }
        taken
    }

    fn begin_write(&mut self, position: u64, is_direct: bool) -> Option<Held> {
        if is_direct {
            return self.spooled.as_mut()?.direct.begin_write(position);
        }
        let held = self.waiting.remove(position)?;
        self.spooled.as_mut()?.writing += held.amount();
        Some(held)
    }

    /// Ends the write of a chunk that [`take_unspooled`](Self::take_unspooled) returned. `number` is the number of its
    /// first frame, or `None` if the chunk is not on the disk and waits again.
    pub(super) fn end_write(&mut self, mut held: Held, number: Option<u64>) {
        let amount = held.amount();
        // A quarter of the memory stays free for new frames. Otherwise frames whose files `when_full oldest` has
        // deleted could fill it, because they stay in memory until they are sent.
        let bounds = self.bounds().held;
        let bounds = Amount {
            frames: bounds.frames - bounds.frames / 4,
            bytes: bounds.bytes - bounds.bytes / 4,
        };
        let in_flight = self.in_flight_amount();
        if let Some(spooled) = &mut self.spooled {
            spooled.writing -= amount;
        }
        // An abandoned queue has counted the chunk as lost already.
        if let Lifecycle::Ended(_) = self.lifecycle {
            return;
        }
        held.number = number;
        if held.written_before {
            self.mark_sent_before(&held);
        }
        let (Some(first), Some(spooled)) = (number, &mut self.spooled) else {
            self.wait(held);
            return;
        };
        let mut memory = spooled.in_memory();
        memory += amount;
        memory += in_flight;
        spooled.written_to = spooled.written_to.max(held.end());
        let is_next = spooled.only_on_disk() == 0;
        spooled.next = spooled.next.max(first + amount.frames as u64);
        // If a newer chunk was taken directly, this chunk must stay in memory. Otherwise the thread would later read
        // both of them from the disk.
        let fits =
            memory.without(bounds) == Amount::default() || spooled.direct.is_after(held.position);
        if is_next && fits {
            spooled.disk = spooled.next;
            spooled.add_ready(held);
            return;
        }
        if is_next {
            spooled.disk_position = held.position;
        }
        self.ledger.held_bytes -= amount.bytes as u64;
    }

    /// Drops a chunk that [`take_unspooled`](Self::take_unspooled) returned.
    pub(super) fn drop_write(&mut self, held: &Held, reason: DropReason) {
        let amount = held.amount();
        if let Some(spooled) = &mut self.spooled {
            spooled.writing -= amount;
        }
        if let Lifecycle::Ended(_) = self.lifecycle {
            return;
        }
        self.ledger.queued -= amount.frames as u64;
        self.ledger.held_bytes -= amount.bytes as u64;
        self.lose(&held.chunk, amount.frames, reason);
    }

    /// Returns whether the thread of the spool must read the next frames from the disk.
    pub(super) fn needs_read(&self) -> bool {
        let enough = self.bounds().held / 4;
        self.spooled.as_ref().is_some_and(|it| {
            let ready = it.ready_amount;
            let is_low = ready.frames < enough.frames.max(1) && ready.bytes < enough.bytes.max(1);
            it.wants.reads && is_low && it.only_on_disk() > 0
        })
    }

    /// Adds a chunk that was read from the disk. `number` is the number of its first frame. Ignores the chunk unless it
    /// is the first one that is only on the disk.
    pub(super) fn add_read(&mut self, chunk: Chunk, number: u64) {
        let Some(spooled) = &mut self.spooled else {
            return;
        };
        let end = number + chunk.len() as u64;
        let is_expected = spooled.disk == number && end <= spooled.next;
        if !is_expected || matches!(self.lifecycle, Lifecycle::Ended(_)) {
            return;
        }
        let mut held = Held::new(chunk, spooled.disk_position);
        held.number = Some(number);
        self.ledger.held_bytes += held.amount().bytes as u64;
        (spooled.disk, spooled.disk_position) = (end, held.end());
        let sent = usize::try_from(spooled.sent_below.saturating_sub(number)).unwrap_or(usize::MAX);
        if sent > 0 {
            let mut sent = held.split_to(sent);
            sent.written_before = true;
            spooled.add_ready(sent);
        }
        if !held.chunk.is_empty() {
            spooled.add_ready(held);
        }
    }

    /// Counts the frames that are only on the disk and have numbers below `below` as dropped. Returns their number.
    pub(super) fn lose_on_disk(&mut self, below: u64, reason: DropReason) -> u64 {
        let Some(spooled) = &mut self.spooled else {
            return 0;
        };
        let below = below.min(spooled.next);
        if below <= spooled.disk || matches!(self.lifecycle, Lifecycle::Ended(_)) {
            return 0;
        }
        let lost = below - spooled.disk;
        spooled.done.add(spooled.disk..below);
        spooled.disk = below;
        spooled.disk_position += lost;
        self.ledger.queued -= lost;
        self.count_dropped(reason, lost);
        lost
    }

    /// Records that the frames below `floor` are no longer on the disk. Frames that were only on the disk are lost for
    /// `reason`. Returns the number of lost frames.
    pub(super) fn raise_floor(&mut self, floor: u64, reason: DropReason) -> u64 {
        if let Some(spooled) = &mut self.spooled {
            spooled.floor = spooled.floor.max(floor);
        }
        self.lose_on_disk(floor, reason)
    }

    /// Drops the ready chunks that were received before `limit`.
    pub(super) fn expire_ready(&mut self, limit: Instant) {
        while let Some(spooled) = &mut self.spooled
            && spooled
                .first()
                .is_some_and(|it| it.chunk.received() < limit)
            && let Some(held) = spooled.pop_ready()
        {
            let amount = held.amount();
            spooled.done.add(held.numbers());
            self.ledger.queued -= amount.frames as u64;
            self.ledger.held_bytes -= amount.bytes as u64;
            self.count_dropped(DropReason::Expired, amount.frames as u64);
        }
    }

    /// Returns the waker of the spool's thread, if the thread waits and has work.
    pub(super) fn thread_to_wake(&mut self) -> Option<Waker> {
        let is_news = self.is_news_for_thread();
        self.spooled.as_mut()?.thread.take_if(|_| is_news)
    }

    fn is_news_for_thread(&self) -> bool {
        let Some(spooled) = &self.spooled else {
            return false;
        };
        let is_asked = spooled.wants.done && spooled.done.below() > spooled.known_done;
        self.is_abandoned()
            || spooled.is_ending
            || is_asked
            || self.has_unspooled() && (!spooled.direct.watch.is_active || self.is_pressing())
            || self.needs_read()
    }
}
