//! The room in a queue, and its fair sharing among the senders if the queue is full.

use super::{
    DropReason,
    amount::{Amount, Dimension},
    contents::{Bounds, Contents},
};
use crate::frame_stream::Chunk;

impl Contents {
    /// Returns the room for the frames in `waiting`: the bounds minus all other frames in memory.
    pub(super) fn room(&self, bounds: Bounds) -> Amount {
        bounds
            .held
            .without(self.in_memory().without(self.waiting.amount()))
    }

    /// Returns the free room: the bounds minus the frames in memory. Frames that returned unconfirmed take no room from
    /// new frames, because they had already left the queue.
    pub(super) fn free(&self, bounds: Bounds) -> Amount {
        bounds
            .held
            .without(self.in_memory().without(self.waiting.returned()))
    }

    /// Returns the frames in memory that count against the bounds. Unconfirmed frames do not count: the connection
    /// limits them separately.
    pub(super) fn in_memory(&self) -> Amount {
        let queued = self.ledger.queued - self.only_on_disk();
        Amount {
            frames: to_usize(queued + self.ledger.in_flight),
            bytes: self.bounded_bytes(),
        }
    }

    /// Returns the bytes that count against the bounds.
    pub(super) fn bounded_bytes(&self) -> usize {
        to_usize(self.ledger.held_bytes - self.ledger.unconfirmed_bytes)
    }

    pub(super) fn in_flight_amount(&self) -> Amount {
        let spooled = self.spooled.as_ref();
        let spooled = spooled.map_or_else(Amount::default, |it| it.in_memory());
        Amount {
            frames: to_usize(self.ledger.in_flight),
            bytes: self
                .bounded_bytes()
                .saturating_sub(self.waiting.amount().bytes + spooled.bytes),
        }
    }

    /// Makes room for the frames of `chunk` to which its connection is entitled. Does nothing if the connection is
    /// entitled to no more than the `free` frames that already fit. Returns the number of frames of `chunk` that fit
    /// afterwards.
    ///
    /// The room is divided equally among the senders that have waiting frames, and the share of each sender equally
    /// among its connections. So a sender gains nothing by opening many connections.
    ///
    /// The shares add up to the whole room. If the queue is full and one connection is below its share, another
    /// connection must therefore be above its share. The connection that is furthest above its share loses its newest
    /// frames. A connection within its share loses no frames.
    ///
    /// If a connection loses all its frames, the shares of the other connections of its sender grow. Even so, the
    /// shares together do not exceed the room.
    pub(super) fn make_room(&mut self, chunk: &Chunk, free: usize, bounds: Bounds) -> usize {
        let source = chunk.source();
        let room = self.room(bounds);
        let senders = self.waiting.senders();
        let division = senders.divide(room, source);
        let share = senders.share(division, source);
        let entitled = share.without(senders.waiting(source)).room_for(chunk);
        if entitled <= free {
            return free;
        }
        let wanted = Amount::of(&chunk.clone().split_to(entitled));
        loop {
            // A queue can be full in frames, in bytes or in both. This loop first makes room in frames.
            let lacking = wanted.without(self.free(bounds));
            let Some(dimension) = lacking.dimension() else {
                return entitled;
            };
            let made_way = self
                .waiting
                .senders()
                .furthest_above(division, dimension)
                .is_some_and(|excess| {
                    let size = lacking.along(dimension).min(excess.size);
                    self.cut_back(excess.newest, dimension.amount(size), bounds.reason)
                });
            if !made_way {
                debug_assert!(false, "no connection of a full queue is above its share");
                return self.free(bounds).room_for(chunk).min(entitled).max(free);
            }
        }
    }

    /// Drops `excess` from the end of the chunk that waits at `position`. Drops the whole chunk if it is not larger
    /// than `excess`. Returns false if no chunk waits at this position. The caller must end its loop in that case,
    /// because another call would drop nothing either.
    fn cut_back(&mut self, position: u64, excess: Amount, reason: DropReason) -> bool {
        let Some(held) = self.waiting.get(position) else {
            debug_assert!(false, "an account names a chunk that does not wait");
            return false;
        };
        let chunk = held.chunk.clone();
        let keep = held.kept_without(excess);
        let gone = if keep == 0 {
            let gone = self.waiting.remove(position);
            gone.map_or_else(Amount::default, |gone| gone.amount())
        } else {
            self.waiting.truncate(position, keep)
        };
        self.ledger.queued -= gone.frames as u64;
        self.ledger.held_bytes -= gone.bytes as u64;
        self.lose(&chunk, gone.frames, reason);
        true
    }

    /// Drops chunks until `bytes` are freed or no chunk waits. In each step, the connection that is furthest above its
    /// share loses its newest chunk. To compute the shares, the amount that is left after the eviction is divided among
    /// the senders.
    ///
    /// Chunks that are also on a disk go first, because they can leave memory without a loss.
    pub(super) fn evict(&mut self, mut bytes: usize) {
        while bytes > 0
            && let Some(amount) = self.forget_newest()
        {
            bytes = bytes.saturating_sub(amount.bytes);
        }
        let before = self.waiting.amount();
        let left = before.without(Dimension::Bytes.amount(bytes));
        let division = self.waiting.senders().divide_as_it_is(left);
        while before.without(self.waiting.amount()).bytes < bytes
            && let Some(excess) = self
                .waiting
                .senders()
                .furthest_above(division, Dimension::Bytes)
        {
            // Always drops the whole chunk, because any part of a chunk keeps the whole buffer of the chunk in memory.
            let all = Dimension::Bytes.amount(before.bytes);
            if !self.cut_back(excess.newest, all, DropReason::Memory) {
                break;
            }
        }
    }
}

/// Converts a count back to `usize`. The count was made from a `usize`, so it fits.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
