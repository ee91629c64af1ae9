//! Frames that the consumer takes before they are on the disk.
//!
//! A sink that keeps up delivers most frames sooner than a disk could write them. These frames are then done, and need
//! not be written. So the consumer takes new frames directly, if every older frame is in flight or done. The thread of
//! the spool writes only frames that are not done within [`PATIENCE`], including frames in flight, because a collector
//! may stall. The queue therefore keeps a reference to the chunks in flight.
//!
//! ```text
//! taken ──────────────► settled: delivered frames are done, the others wait for the disk as before
//!   └─ written ───────► settled: the frames have numbers, as all frames on the disk have
//!   └─ being written ─► settled ─► written: delivered frames are done, the others get numbers
//! ```
//!
//! This works only for a sink whose frames count as delivered when they are written to the connection. If a collector
//! must confirm the frames, they are written to the disk before they are sent.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use super::{contents::Contents, held::Held, spooled::Writes};
use crate::frame_stream::Chunk;

/// The chunks in flight that were taken before they were on the disk, by position.
pub(super) struct Direct {
    /// True if the consumer may take frames directly.
    pub(super) is_allowed: bool,
    chunks: BTreeMap<u64, Flown>,
    /// The number of chunks that are being written.
    writing: usize,
    /// The state when the thread last looked: the position after the newest frame, and the number of delivered frames.
    seen: (u64, u64),
    /// True if the thread will look at the queue within [`PATIENCE`], so new frames need not wake it.
    pub(super) is_watched: bool,
}

struct Flown {
    chunk: Chunk,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unwritten,
    /// The chunk does not fit into the spool. If it is not delivered, it waits for the disk again and may be divided.
    Refused,
    /// The thread of the spool is writing the chunk.
    Writing,
    /// The thread of the spool is still writing the chunk, but the flight has ended.
    Settled,
    /// The chunk is on the disk, and its first frame has this number.
    Written(u64),
}

/// The age at which a frame is written to the disk if it is neither delivered nor dropped.
///
/// With a shorter time, a steady sink would need more CPU time, because its thread looks at the queue once in this
/// time. With a longer time, more frames would be lost if the process were killed while the collector is down.
pub(super) const PATIENCE: Duration = Duration::from_millis(2);

/// The age at which a frame is written even if the sink has delivered frames since the thread last looked. On a busy
/// machine, a steady sink may get no CPU time for a few milliseconds.
const LONGEST: Duration = Duration::from_millis(20);

// === impl Direct ===

impl Direct {
    /// Creates the value for a queue without frames in flight. `position` is the position after the newest frame.
    pub(super) fn new(position: u64) -> Self {
        Self {
            is_allowed: false,
            chunks: BTreeMap::new(),
            writing: 0,
            seen: (position, 0),
            is_watched: false,
        }
    }

    /// Returns whether the thread is writing none of the chunks that were taken directly.
    pub(super) fn is_at_rest(&self) -> bool {
        self.writing == 0
    }

    /// Returns whether a chunk after `position` was taken directly, and is still in flight or being written.
    pub(super) fn is_after(&self, position: u64) -> bool {
        let newest = self.chunks.last_key_value();
        newest.is_some_and(|(at, _)| *at > position)
    }

    /// Records that the consumer has taken a chunk that is not on the disk.
    pub(super) fn add(&mut self, held: &Held) {
        let flown = Flown {
            chunk: held.chunk.clone(),
            state: State::Unwritten,
        };
        self.chunks.insert(held.position, flown);
    }

    /// Ends the flight of the chunk at `position`. Returns the number of its first frame, if it is on the disk.
    fn settle(&mut self, position: u64) -> Option<u64> {
        let flown = self.chunks.get_mut(&position)?;
        match flown.state {
            State::Writing | State::Settled => {
                flown.state = State::Settled;
                None
            }
            State::Unwritten | State::Refused => {
                self.chunks.remove(&position);
                None
            }
            State::Written(number) => {
                self.chunks.remove(&position);
                Some(number)
            }
        }
    }

    /// Returns the oldest unwritten chunk at or after the position `from`, with its position.
    pub(super) fn first_unwritten(&self, from: u64) -> Option<(u64, &Chunk)> {
        let mut later = self.chunks.range(from..);
        let first = later.find(|(_, flown)| flown.state == State::Unwritten)?;
        Some((*first.0, &first.1.chunk))
    }

    /// Starts to write the chunk at `position`.
    pub(super) fn begin_write(&mut self, position: u64) -> Option<Held> {
        let flown = self.chunks.get_mut(&position)?;
        flown.state = State::Writing;
        self.writing += 1;
        Some(Held::new(flown.chunk.clone(), position))
    }

    /// Ends the write of the chunk at `position`. Returns true if the chunk is not in flight any more.
    fn end_write(&mut self, position: u64, number: Option<u64>) -> bool {
        let Some(flown) = self.chunks.get_mut(&position) else {
            return false;
        };
        self.writing -= 1;
        if flown.state == State::Settled {
            self.chunks.remove(&position);
            return true;
        }
        flown.state = number.map_or(State::Unwritten, State::Written);
        false
    }

    /// Ends the write of the chunk at `position`, which does not fit into the spool.
    pub(super) fn refuse(&mut self, position: u64) {
        self.end_write(position, None);
        if let Some(flown) = self.chunks.get_mut(&position) {
            flown.state = State::Refused;
        }
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.writing = 0;
    }
}

// === impl Contents ===

impl Contents {
    /// Sets the numbers of chunks whose flight ends, if they were written to the disk during the flight.
    pub(super) fn number<'a>(&mut self, batch: impl IntoIterator<Item = &'a mut Held>) {
        let Some(spooled) = &mut self.spooled else {
            return;
        };
        for held in batch {
            if held.number.is_none() {
                held.number = spooled.direct.settle(held.position);
            }
        }
    }

    /// Ends the write of a chunk that was taken directly. `number` is the number of its first frame, or `None` if the
    /// chunk is not on the disk.
    pub(super) fn end_direct_write(&mut self, held: &Held, number: Option<u64>) {
        if self.is_abandoned() {
            return;
        }
        let Some(spooled) = &mut self.spooled else {
            return;
        };
        let is_settled = spooled.direct.end_write(held.position, number);
        let Some(number) = number else {
            return;
        };
        debug_assert_eq!(
            spooled.only_on_disk(),
            0,
            "an older frame must stay in memory"
        );
        let numbers = number..number + held.chunk.len() as u64;
        spooled.written_to = spooled.written_to.max(held.end());
        spooled.next = spooled.next.max(numbers.end);
        spooled.disk = spooled.next;
        if is_settled {
            self.settle_written(held.position..held.end(), numbers.start);
        }
    }

    /// Gives numbers to the frames of a chunk that was settled during its write. Frames that are not in the queue again
    /// are done.
    fn settle_written(&mut self, positions: Range<u64>, number: u64) {
        let waiting = self.waiting.range(positions.clone());
        let waiting: Vec<u64> = waiting.map(|(position, _)| *position).collect();
        let number_at = |position: u64| number + (position - positions.start);
        let mut done_from = positions.start;
        for position in waiting {
            let Some(mut held) = self.pop_waiting(position) else {
                continue;
            };
            self.add_done(number_at(done_from)..number_at(position));
            done_from = held.end();
            held.number = Some(number_at(position));
            self.wait(held);
        }
        self.add_done(number_at(done_from)..number_at(positions.end));
    }

    fn add_done(&mut self, numbers: Range<u64>) {
        if let Some(spooled) = &mut self.spooled {
            spooled.done.add(numbers);
        }
    }

    /// Returns the oldest chunk that the thread of the spool must write, with its position. The flag is true if the
    /// consumer took the chunk directly.
    pub(super) fn first_unspooled(&self) -> Option<(u64, &Chunk, bool)> {
        let spooled = self.spooled.as_ref()?;
        let flown = spooled.direct.first_unwritten(spooled.written_to);
        let waiting = self.waiting.range(spooled.written_to..).next();
        let waiting = waiting.map(|(position, held)| (*position, &held.chunk, false));
        let flown = flown.map(|(position, chunk)| (position, chunk, true));
        flown
            .into_iter()
            .chain(waiting)
            .min_by_key(|(position, ..)| *position)
    }

    /// Decides whether the thread of the spool must write now. If not, returns the time at which it looks again.
    ///
    /// While frames come and go, the thread looks once in [`PATIENCE`], and new frames do not wake it. This costs less
    /// than one wake-up per chunk.
    pub(super) fn write_or_watch(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        let oldest = self.first_unspooled().map(|(_, chunk, _)| chunk.received());
        let is_pressing = self.is_pressing();
        let seen = (self.next_position, self.ledger.delivered);
        let Some(spooled) = &mut self.spooled else {
            return Err(None);
        };
        let direct = &mut spooled.direct;
        let before = std::mem::replace(&mut direct.seen, seen);
        let (is_moving, delivers) = (seen.0 != before.0, seen.1 != before.1);
        if !direct.is_allowed || spooled.is_ending || is_pressing {
            direct.is_watched = false;
            return Ok(());
        }
        let patience = if delivers { LONGEST } else { PATIENCE };
        let due = oldest.map(|oldest| oldest + patience);
        let look_at = match due {
            _ if spooled.writes != Writes::On => None,
            Some(due) => Some(due.min(now + PATIENCE)),
            None => is_moving.then(|| now + PATIENCE),
        };
        direct.is_watched = look_at.is_some();
        if due.is_some_and(|due| due <= now) {
            return Ok(());
        }
        Err(look_at)
    }

    /// Returns whether so many frames wait for the disk that the thread must write them before [`PATIENCE`] ends.
    pub(super) fn is_pressing(&self) -> bool {
        let (waiting, half) = (self.senders.total, self.bounds().held / 2);
        waiting.frames > half.frames || waiting.bytes > half.bytes
    }

    /// Allows the consumer to take frames before they are on the disk, or forbids it.
    pub(super) fn set_direct(&mut self, is_allowed: bool) {
        if let Some(spooled) = &mut self.spooled {
            spooled.direct.is_allowed = is_allowed;
        }
    }
}
