//! Frames that the consumer takes before they are on the disk.
//!
//! A sink that keeps up delivers most frames sooner than a disk could write them. These frames are then done, and need
//! not be written. So the consumer takes new frames directly, if every older frame is in flight or done. The thread of
//! the spool writes only frames that are not done [soon](super::watch), including frames in flight, because a collector
//! may stall. The queue therefore keeps a reference to the chunks in flight.
//!
//! ```text
//! taken ──────────────► settled: delivered frames are done, the others wait for the disk as before
//!   └─ written ───────► settled: the frames have numbers, as all frames on the disk have
//!   └─ being written ─► settled ─► written: delivered frames are done, the others get numbers
//! ```
//!
//! If frames wait for a confirmation, they are in flight here until they are confirmed. The acknowledgement of a kernel
//! usually comes within the patience, so `confirm kernel` rarely needs the disk. FINISH comes far later: with `confirm
//! finish`, all frames go to the disk anyway, and are written before they are sent.
//!
//! A batch can be confirmed in parts, and the spool may take only parts of a long chunk. So a chunk is divided where its
//! parts begin to differ.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use super::{contents::Contents, held::Held, watch::Watch};
use crate::frame_stream::Chunk;

/// The chunks in flight or unconfirmed that were taken before they were on the disk, by position.
pub(super) struct Direct {
    /// True if the consumer may take frames directly.
    pub(super) is_allowed: bool,
    chunks: BTreeMap<u64, Flown>,
    /// The number of frames that are being written.
    writing: u64,
    pub(super) watch: Watch,
}

struct Flown {
    chunk: Chunk,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unwritten,
    /// The chunk can never be in the spool, so it stays only in memory.
    Refused,
    /// The thread of the spool is writing the chunk.
    Writing,
    /// The thread of the spool is still writing the chunk, but the flight has ended.
    Settled,
    /// The chunk is on the disk, and its first frame has this number.
    Written(u64),
}

// === impl Direct ===

impl Direct {
    /// Creates the value for a queue without frames in flight. `position` is the position after the newest frame.
    pub(super) fn new(position: u64) -> Self {
        Self {
            is_allowed: false,
            chunks: BTreeMap::new(),
            writing: 0,
            watch: Watch::new(position),
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

    /// Returns the number of frames at the beginning of `positions` that are in the same state.
    fn frames_alike(&self, positions: &Range<u64>) -> u64 {
        let before = self.chunks.range(..=positions.start).next_back();
        let end = before.map(|(at, flown)| at + flown.frames());
        let end = end.filter(|end| *end > positions.start).or_else(|| {
            let next = self.chunks.range(positions.start..).next();
            next.map(|(at, _)| *at)
        });
        end.map_or(positions.end, |end| end.min(positions.end)) - positions.start
    }

    /// Divides the chunk to which the frame at this position belongs. The frame is the first one of the second part.
    fn divide(&mut self, at: u64) {
        let Some((start, flown)) = self.chunks.range_mut(..at).next_back() else {
            return;
        };
        let frames = at - start;
        if frames < flown.frames() {
            let rest = flown.split_off(frames);
            self.chunks.insert(at, rest);
        }
    }

    /// Ends the flight of the frames at `positions`, which are in the [same state](Self::frames_alike). Returns the
    /// number of the first one, if they are on the disk.
    fn settle(&mut self, positions: &Range<u64>) -> Option<u64> {
        self.divide(positions.start);
        self.divide(positions.end);
        let flown = self.chunks.get_mut(&positions.start)?;
        match flown.state {
            State::Writing | State::Settled => {
                flown.state = State::Settled;
                None
            }
            State::Unwritten | State::Refused => {
                self.chunks.remove(&positions.start);
                None
            }
            State::Written(number) => {
                self.chunks.remove(&positions.start);
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
        self.writing += flown.frames();
        Some(Held::new(flown.chunk.clone(), position))
    }

    /// Ends the write of the frames at `positions`. Returns the positions of those that are not in flight any more.
    fn end_write(&mut self, positions: &Range<u64>, number: Option<u64>) -> Vec<Range<u64>> {
        self.divide(positions.start);
        self.divide(positions.end);
        let mut settled = Vec::new();
        for (at, flown) in self.chunks.range_mut(positions.clone()) {
            let frames = flown.frames();
            self.writing -= frames;
            if flown.state == State::Settled {
                settled.push(*at..at + frames);
            } else {
                let number = number.map(|number| number + (at - positions.start));
                flown.state = number.map_or(State::Unwritten, State::Written);
            }
        }
        for positions in &settled {
            self.chunks.remove(&positions.start);
        }
        settled
    }

    /// Ends the write of the frames at `positions`, which the spool can never take.
    pub(super) fn refuse(&mut self, positions: &Range<u64>) {
        self.end_write(positions, None);
        for (_, flown) in self.chunks.range_mut(positions.clone()) {
            flown.state = State::Refused;
        }
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.writing = 0;
    }
}

// === impl Flown ===

impl Flown {
    fn frames(&self) -> u64 {
        self.chunk.len() as u64
    }

    /// Splits off and returns everything after the first `frames` frames.
    fn split_off(&mut self, frames: u64) -> Self {
        let mut chunk = self.chunk.clone();
        self.chunk = chunk.split_to(usize::try_from(frames).unwrap_or(usize::MAX));
        let state = match self.state {
            State::Written(number) => State::Written(number + frames),
            state => state,
        };
        Self { chunk, state }
    }
}

// === impl Contents ===

impl Contents {
    /// Ends the flight of chunks, and sets the numbers of those that were written to the disk during the flight. Divides a
    /// chunk if only a part of it was written.
    pub(super) fn number(&mut self, landed: &mut VecDeque<Held>) {
        let Some(spooled) = &mut self.spooled else {
            return;
        };
        let direct = &mut spooled.direct;
        let mut at = 0;
        while let Some(held) = landed.get_mut(at) {
            at += 1;
            if held.number.is_some() || direct.chunks.is_empty() {
                continue;
            }
            let frames = direct.frames_alike(&held.positions());
            if frames < held.chunk.len() as u64 {
                let mut first = held.split_to(usize::try_from(frames).unwrap_or(usize::MAX));
                first.number = direct.settle(&first.positions());
                landed.insert(at - 1, first);
            } else {
                held.number = direct.settle(&held.positions());
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
        let settled = spooled.direct.end_write(&held.positions(), number);
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
        for positions in settled {
            let number = numbers.start + (positions.start - held.position);
            self.settle_written(positions, number);
        }
    }

    /// Gives numbers to frames that were settled during their write. Frames that are not in the queue again are done.
    fn settle_written(&mut self, positions: Range<u64>, number: u64) {
        let waiting = self.waiting.within(positions.clone());
        let number_at = |position: u64| number + (position - positions.start);
        let mut done_from = positions.start;
        for position in waiting {
            let Some(mut held) = self.waiting.remove(position) else {
                continue;
            };
            self.add_done(number_at(done_from)..number_at(position));
            done_from = held.end();
            held.number = Some(number_at(position));
            if held.written_before {
                self.mark_sent_before(&held);
            }
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
        let waiting = self.waiting.first_from(spooled.written_to);
        let waiting = waiting.map(|held| (held.position, &held.chunk, false));
        let flown = flown.map(|(position, chunk)| (position, chunk, true));
        flown
            .into_iter()
            .chain(waiting)
            .min_by_key(|(position, ..)| *position)
    }

    /// Allows the consumer to take frames before they are on the disk, or forbids it.
    pub(super) fn set_direct(&mut self, is_allowed: bool) {
        if let Some(spooled) = &mut self.spooled {
            spooled.direct.is_allowed = is_allowed;
        }
    }
}
