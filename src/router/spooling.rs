//! The side of a queue that the thread of a spool uses: it takes new frames, and brings frames back from the disk.

use std::{ops::Range, sync::Arc, task::Context, time::Instant};

use super::{
    DropReason,
    amount::Amount,
    contents::Contents,
    held::Held,
    queue::{Queue, wake},
    spooled::{SpoolCounts, Writes},
};
use crate::frame_stream::Chunk;

/// The work that a spool's thread accepts now, in addition to writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    /// True if the thread must learn that more frames are done.
    pub(crate) done: bool,
    /// True if the thread can read frames.
    pub(crate) reads: bool,
}

/// The work of a spool's thread.
#[derive(Debug)]
pub(crate) struct Work {
    /// The frames to write, oldest first.
    pub(crate) unspooled: Unspooled,
    /// The number of the first frame to read; `None` if enough frames are in memory.
    pub(crate) read_from: Option<u64>,
    /// Every frame below this number is delivered or dropped.
    pub(crate) done_below: u64,
    /// True if the sink has ended and no more frames will come. Everything must then be written to the disk.
    pub(crate) is_ending: bool,
}

/// The next turn of a spool's thread.
#[derive(Debug)]
pub(crate) enum Turn {
    Work(Work),
    /// There is no work. The queue wakes the thread when there is work. If a time is given, the thread must also look
    /// at the queue at this time.
    Wait(Option<Instant>),
}

/// Frames that were read from a disk.
#[derive(Debug)]
pub(crate) struct Read {
    /// The number of the first frame of `chunk`. All frames before it are lost.
    pub(crate) number: u64,
    /// The frames; `None` if no more frames are on the disk.
    pub(crate) chunk: Option<Chunk>,
    /// The number of lost frames that were too old.
    pub(crate) expired: u64,
    /// The drop reason of the other lost frames.
    pub(crate) lost: DropReason,
}

/// Chunks that wait for the disk. When this value is dropped, the chunks that were not written return to the queue.
pub(crate) struct Unspooled {
    queue: Arc<Queue>,
    chunks: Vec<Pending>,
}

/// A chunk that waits for the disk.
struct Pending {
    held: Held,
    /// True if the consumer had already taken the chunk directly.
    is_direct: bool,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waits,
    /// The chunk is on the disk, and its first frame has this number.
    Written(u64),
    Dropped(DropReason),
}

/// The largest amount that the thread writes in one turn. The sink gets these frames only after the turn.
const AT_ONCE: Amount = Amount {
    frames: 1 << 16,
    bytes: 1 << 20,
};

// === impl Queue ===

impl Queue {
    /// Returns the next work of the spool's thread. If there is none, stores the waker of the thread.
    pub(crate) fn spool_turn(
        self: &Arc<Self>,
        cx: &Context<'_>,
        wants: Wants,
        now: Instant,
    ) -> Turn {
        let mut contents = self.lock();
        if let Some(spooled) = &mut contents.spooled {
            spooled.wants = wants;
        }
        let (chunks, look_at) = match contents.write_or_watch(now) {
            Ok(()) => (contents.take_unspooled(AT_ONCE), None),
            Err(look_at) => (Vec::new(), look_at),
        };
        let consumer = contents.consumer_to_ask();
        let needs_read = contents.needs_read();
        let is_abandoned = contents.is_abandoned();
        let Some(spooled) = &mut contents.spooled else {
            return Turn::Wait(None);
        };
        let work = Work {
            unspooled: Unspooled {
                queue: Arc::clone(self),
                chunks: chunks.into_iter().map(Pending::new).collect(),
            },
            read_from: needs_read.then_some(spooled.disk),
            done_below: spooled.done.below(),
            is_ending: spooled.is_ending || is_abandoned,
        };
        let is_asked = wants.done && work.done_below > spooled.known_done;
        spooled.known_done = work.done_below;
        let is_work = work.is_some() || is_asked;
        spooled.thread = (!is_work).then(|| cx.waker().clone());
        drop(contents);
        wake(consumer);
        if is_work {
            Turn::Work(work)
        } else {
            Turn::Wait(look_at)
        }
    }

    /// Allows the consumer to take frames before they are on the disk, or forbids it.
    pub(crate) fn set_direct(&self, is_allowed: bool) {
        self.end_flight(|contents| contents.set_direct(is_allowed));
    }

    /// Takes over what was read from the disk. `from` is the [number](Work::read_from) at which the read began.
    pub(crate) fn have_read(&self, from: u64, read: Read) {
        self.end_flight(|contents| {
            // If chunks were removed from memory since the read began, they must be read first, so this read is
            // ignored.
            if contents.spooled.as_ref().is_none_or(|it| it.disk != from) {
                return;
            }
            contents.lose_on_disk(read.number.min(from + read.expired), DropReason::Expired);
            contents.lose_on_disk(read.number, read.lost);
            if let Some(chunk) = read.chunk {
                contents.add_read(chunk, read.number);
            }
        });
    }

    /// Records that the frames below `floor` were deleted from the disk. Frames that are not in memory are lost.
    /// Returns the number of lost frames.
    pub(crate) fn raise_floor(&self, floor: u64, reason: DropReason) -> u64 {
        self.end_flight(|contents| contents.raise_floor(floor, reason))
    }

    /// Drops the frames in memory that are also on the disk and were received before `limit`.
    pub(crate) fn expire(&self, limit: Instant) {
        self.end_flight(|contents| contents.expire_ready(limit));
    }

    /// Returns the time at which the oldest ready frame was read from its sender.
    pub(crate) fn oldest_ready(&self) -> Option<Instant> {
        self.lock().oldest_ready()
    }

    /// Returns whether frames wait for the disk, or would wait if the disk worked.
    pub(crate) fn has_frames_for_disk(&self) -> bool {
        self.lock().first_unspooled().is_some()
    }

    /// Sets the state of the writes, which decides what happens to new frames.
    pub(crate) fn set_writes(&self, writes: Writes) {
        self.end_flight(|contents| {
            if let Some(spooled) = &mut contents.spooled {
                spooled.writes = writes;
            }
        });
    }

    /// Makes the thread of the spool write everything to the disk, and end.
    pub(crate) fn end_spool(&self) {
        self.end_flight(|contents| {
            if let Some(spooled) = &mut contents.spooled {
                spooled.is_ending = true;
            }
        });
    }

    /// Returns the counts of the frames in the spool. `None` without a spool.
    pub(crate) fn spool_counts(&self) -> Option<SpoolCounts> {
        let contents = self.lock();
        let spooled = contents.spooled.as_ref()?;
        Some(SpoolCounts {
            frames: spooled.kept(),
            only_on_disk: spooled.only_on_disk(),
        })
    }

    /// Returns the numbers of the frames that may be on the disk, from the first one that is not done.
    pub(crate) fn spool_range(&self) -> Range<u64> {
        let contents = self.lock();
        let spooled = contents.spooled.as_ref();
        spooled.map_or(0..0, |it| it.done.below()..it.next)
    }
}

// === impl Work ===

impl Work {
    fn is_some(&self) -> bool {
        !self.unspooled.is_empty() || self.read_from.is_some() || self.is_ending
    }
}

// === impl Pending ===

impl Pending {
    fn new((held, is_direct): (Held, bool)) -> Self {
        Self {
            held,
            is_direct,
            fate: Fate::Waits,
        }
    }

    fn apply(self, contents: &mut Contents) {
        let number = match self.fate {
            Fate::Waits => None,
            Fate::Written(number) => Some(number),
            // A chunk in flight may still be delivered, so it is not dropped. It is marked as refused, so that the
            // thread does not try to write it again and again.
            Fate::Dropped(_) if self.is_direct => {
                if let Some(spooled) = &mut contents.spooled {
                    spooled.direct.refuse(&self.held.positions());
                }
                return;
            }
            Fate::Dropped(reason) => return contents.drop_write(&self.held, reason),
        };
        if self.is_direct {
            contents.end_direct_write(&self.held, number);
        } else {
            contents.end_write(self.held, number);
        }
    }
}

// === impl Unspooled ===

impl Unspooled {
    /// Returns whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns the oldest chunk that is not written yet.
    pub(crate) fn next(&self) -> Option<&Chunk> {
        let mut chunks = self.chunks.iter();
        let next = chunks.find(|it| it.fate == Fate::Waits);
        next.map(|it| &it.held.chunk)
    }

    /// Records that the next chunk is on the disk. Its first frame has this number.
    pub(crate) fn mark_written(&mut self, number: u64) {
        self.decide(Fate::Written(number));
    }

    /// Records that the next chunk cannot be written. Its frames are lost for `reason`, unless they are in flight.
    pub(crate) fn drop_next(&mut self, reason: DropReason) {
        self.decide(Fate::Dropped(reason));
    }

    /// Divides the next chunk, because it is too long for the disk. Returns false if it has a single frame.
    pub(crate) fn divide_next(&mut self) -> bool {
        let mut chunks = self.chunks.iter();
        let Some(at) = chunks.position(|it| it.fate == Fate::Waits) else {
            return false;
        };
        let next = self.chunks.get_mut(at);
        let Some(next) = next.filter(|it| it.held.chunk.len() > 1) else {
            return false;
        };
        let first = next.held.split_to(next.held.chunk.len() / 2);
        let first = Pending::new((first, next.is_direct));
        self.chunks.insert(at, first);
        true
    }

    fn decide(&mut self, fate: Fate) {
        let mut chunks = self.chunks.iter_mut();
        if let Some(next) = chunks.find(|it| it.fate == Fate::Waits) {
            next.fate = fate;
        }
    }
}

impl Drop for Unspooled {
    fn drop(&mut self) {
        if self.chunks.is_empty() {
            return;
        }
        let chunks = std::mem::take(&mut self.chunks);
        self.queue.end_flight(|contents| {
            for chunk in chunks {
                chunk.apply(contents);
            }
        });
    }
}

impl std::fmt::Debug for Unspooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chunks = self.chunks.iter().map(|it| &it.held.chunk);
        f.debug_list().entries(chunks).finish()
    }
}
