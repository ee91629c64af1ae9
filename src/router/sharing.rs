//! Who gives way in a queue that is full.

use super::{
    amount::{Amount, Dimension},
    ledger::DropReason,
    state::{Bounds, State},
};
use crate::frame_stream::Chunk;

impl State {
    /// Makes room for what the sender of `chunk` is entitled to, if that is more of its frames than the `free` that
    /// there is room for. Returns how many of the frames fit then.
    ///
    /// What may wait is divided equally among the senders that have something waiting, and the part of each equally among
    /// its connections: a sender that opens many connections gets no more. If a connection has less than its part and
    /// there is no room, then another has more than its part: the parts together are all there is. So the connection that
    /// is furthest beyond its part gives way, and never one within its part. One that loses all it has makes the parts of
    /// the sender's other connections larger; together they are still no more than there is.
    pub(super) fn make_room(&mut self, chunk: &Chunk, free: usize, bounds: Bounds) -> usize {
        let source = chunk.source();
        let division = self.senders.divide(self.room(bounds), source);
        let part = self.senders.part(division, source);
        let entitled = part.without(self.senders.waiting(source)).room_for(chunk);
        if entitled <= free {
            return free;
        }
        let wanted = Amount::of(&chunk.clone().split_to(entitled));
        loop {
            let lacking = wanted.without(self.free(bounds));
            let Some(dimension) = lacking.dimension() else {
                return entitled;
            };
            let gave_way = self
                .senders
                .furthest_beyond(division, dimension)
                .is_some_and(|excess| {
                    let give_up = lacking.along(dimension).min(excess.size);
                    self.cut_back(excess.newest, dimension.amount(give_up), bounds.reason)
                });
            if !gave_way {
                debug_assert!(false, "nobody has more than its part of a full queue");
                return self.free(bounds).room_for(chunk).min(entitled).max(free);
            }
        }
    }

    /// Drops so much of the end of the chunk that waits at `place`, or all of it if it has no more. Returns whether there
    /// is such a chunk: a loop that waits for room must not go on without.
    fn cut_back(&mut self, place: u64, excess: Amount, reason: DropReason) -> bool {
        let Some(mut held) = self.waiting.remove(&place) else {
            debug_assert!(false, "an account names a chunk that does not wait");
            return false;
        };
        let before = held.amount();
        let keep = held.kept_without(excess);
        let gone = if keep == 0 {
            self.senders.remove(held.chunk.source(), place, before);
            before
        } else {
            let gone = held.truncate(keep);
            self.senders.shrink(held.chunk.source(), gone);
            gone
        };
        self.ledger.queued -= gone.frames as u64;
        self.ledger.held_bytes -= gone.bytes as u64;
        self.lose(&held.chunk, gone.frames, reason);
        if keep > 0 {
            self.waiting.insert(place, held);
        }
        true
    }

    /// Drops the newest chunks of those furthest beyond their part of what is left then, until at least so many bytes are
    /// gone.
    pub(super) fn give_up(&mut self, bytes: usize) {
        let before = self.senders.total();
        let left = before.without(Dimension::Bytes.amount(bytes));
        let division = self.senders.divide_as_it_is(left);
        while before.without(self.senders.total()).bytes < bytes
            && let Some(excess) = self.senders.furthest_beyond(division, Dimension::Bytes)
        {
            // Whole chunks: a part of one would keep its buffer.
            let all = Dimension::Bytes.amount(before.bytes);
            if !self.cut_back(excess.newest, all, DropReason::Memory) {
                break;
            }
        }
    }
}
