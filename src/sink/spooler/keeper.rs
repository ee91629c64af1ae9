//! The thread of a spool.

use std::{
    sync::Arc,
    task::{Context, Waker},
    thread,
    time::{Duration, Instant, SystemTime},
};

use tracing::warn;

use super::{
    context::Contexts,
    failure::{BACKOFF, Failed},
    present::Shared,
};
use crate::{
    frame_stream::Chunk,
    memory::Budget,
    router::{DropReason, Queue, Read, Turn, Unspooled, Wants, Work, Writes},
    spool::{Appended, Batch, Entry, Folder, Fs, Now, Spool, SpoolError, Status},
};

/// The work of a spool's thread, which moves frames from a queue to the disk and back, until the queue ends.
pub(super) struct Keeper<F: Fs = Folder> {
    pub(super) sink: String,
    pub(super) spool: Spool<F>,
    pub(super) queue: Arc<Queue>,
    pub(super) shared: Arc<Shared>,
    contexts: Contexts,
    /// The longest time until a checkpoint covers a frame that is done.
    pace: Duration,
    pub(super) age: Option<Duration>,
    /// The time of the next checkpoint, if more frames are done than the last checkpoint covers.
    note_at: Option<Instant>,
    /// The time of the next check for frames that are too old.
    expire_at: Option<Instant>,
    /// The time of the next [`tidy`](Self::tidy), which deletes the newest segment if all its frames are done.
    pub(super) tidy_at: Option<Instant>,
    /// The time of the next look for segments that another program has deleted or shortened.
    pub(super) look_at: Option<Instant>,
    /// The last failed step; `None` if the disk works.
    pub(super) failed: Option<Failed>,
    /// The time of the next attempt after a failure.
    pub(super) retry_at: Option<Instant>,
    pub(super) backoff: Duration,
    /// The time of the next attempt to read.
    read_at: Option<Instant>,
    is_full: bool,
}

/// The number of bytes in one read. A sink writes about as many at a time.
const READ: usize = 256 << 10;

/// The time between two attempts to read. After three failed attempts, the engine gives up the segment.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// The shortest time between two checks for frames that are too old.
const EXPIRE: Duration = Duration::from_secs(1);

/// The time until a checkpoint covers a frame that is done, unless `sync` sets a time.
const PACE: Duration = Duration::from_millis(200);

// === impl Keeper ===

impl<F: Fs> Keeper<F> {
    pub(super) fn new(
        sink: String,
        spool: Spool<F>,
        queue: Arc<Queue>,
        shared: Arc<Shared>,
        memory: Budget,
    ) -> Self {
        let settings = spool.settings();
        Self {
            pace: settings.pace().unwrap_or(PACE),
            age: settings.age,
            sink,
            spool,
            queue,
            shared,
            contexts: Contexts::new(memory),
            note_at: None,
            expire_at: None,
            tidy_at: None,
            look_at: None,
            failed: None,
            retry_at: None,
            backoff: BACKOFF.0,
            read_at: None,
            is_full: false,
        }
    }

    /// Works until the queue ends. `waker` wakes this thread.
    pub(super) fn run(mut self, waker: &Waker) {
        let cx = Context::from_waker(waker);
        let mut is_ending = false;
        loop {
            let now = Now::read();
            self.change(now);
            self.due(now);
            let work = match self.queue.spool_turn(&cx, self.wants(), now.steady) {
                Turn::Work(work) => work,
                Turn::Wait(look_at) => {
                    self.plan_retry(now);
                    self.park(now, look_at);
                    continue;
                }
            };
            if work.is_ending && !is_ending {
                // Tries once more, even if the disk has failed.
                is_ending = true;
                self.allow_writes();
                self.work(work, now);
                continue;
            }
            let is_over = is_ending && work.unspooled.is_empty();
            self.work(work, now);
            if is_over || is_ending && (self.failed.is_some() || self.is_full) {
                break;
            }
        }
        self.close();
    }

    fn wants(&self) -> Wants {
        Wants {
            done: self.note_at.is_none() && self.retry_at.is_none(),
            reads: self.read_at.is_none(),
        }
    }

    fn park(&self, now: Now, look_at: Option<Instant>) {
        let commit_at = self.spool.commit_due().filter(|_| self.retry_at.is_none());
        let times = [
            self.note_at,
            commit_at,
            self.expire_at,
            self.tidy_at,
            self.look_at,
            self.retry_at,
            self.read_at,
            look_at,
        ];
        match times.into_iter().flatten().min() {
            Some(time) => thread::park_timeout(time.saturating_duration_since(now.steady)),
            None => thread::park(),
        }
    }

    /// Does the work that is due.
    fn due(&mut self, now: Now) {
        let is_due = |time: &mut Option<Instant>| time.take_if(|it| *it <= now.steady).is_some();
        is_due(&mut self.read_at);
        if is_due(&mut self.retry_at) {
            self.try_again(now);
        }
        if is_due(&mut self.expire_at) {
            self.expire(now);
        }
        let commit_due = self.spool.commit_due().is_some_and(|it| it <= now.steady);
        if self.retry_at.is_none() && (is_due(&mut self.note_at) || commit_due) {
            self.commit(now);
        }
        if is_due(&mut self.tidy_at) {
            self.tidy(now);
        }
        if is_due(&mut self.look_at) {
            self.look_after_segments(now);
        }
        self.plan_tidying(now);
        if let (Some(age), None) = (self.age, self.expire_at) {
            let oldest = self.queue.oldest_ready();
            let at = oldest.and_then(|oldest| oldest.checked_add(age));
            self.expire_at = at.map(|at| at.max(now.steady + EXPIRE));
        }
    }

    pub(super) fn allow_writes(&mut self) {
        self.retry_at = None;
        self.is_full = false;
        self.queue.set_writes(Writes::On);
    }

    fn work(&mut self, work: Work, now: Now) {
        if work.done_below > self.spool.status().confirmed && self.note_at.is_none() {
            self.note_at = Some(now.steady + self.pace);
        }
        if !work.unspooled.is_empty() {
            self.write(work.unspooled, now);
        }
        if let Some(from) = work.read_from {
            self.read(from, now);
        }
        self.publish();
    }

    // --- Writing

    fn write(&mut self, mut unspooled: Unspooled, now: Now) {
        while let Some(chunk) = unspooled.next() {
            let entry = Entry {
                payload: chunk.wire_bytes(),
                context: self.contexts.of(chunk, self.spool.status().next),
                received: wall(chunk.received(), now),
            };
            match self.spool.append(&entry, now) {
                Ok(Appended::At(number)) => {
                    unspooled.mark_written(number);
                    self.works_again(Failed::Append);
                    self.backoff = BACKOFF.0;
                }
                Ok(Appended::Full) if self.is_too_long() => drop_too_long(&mut unspooled),
                Ok(Appended::Full) => {
                    self.is_full = true;
                    self.queue.set_writes(Writes::Full);
                    break;
                }
                Err(SpoolError::TooLong(_)) => drop_too_long(&mut unspooled),
                Err(SpoolError::Malformed) => unspooled.drop_next(DropReason::QueueFull),
                Err(error) => {
                    self.fails(Failed::Append, &error, now);
                    break;
                }
            }
        }
        // The chunks must return to the queue before frames that were deleted from the disk are counted.
        drop(unspooled);
        self.raise_floor(DropReason::SpoolOldest);
    }

    /// Returns whether a chunk that does not fit is too long for the spool. It is if nothing else is in the spool.
    fn is_too_long(&self) -> bool {
        let Status {
            confirmed, next, ..
        } = self.spool.status();
        confirmed == next
    }

    /// Confirms the frames that are done, and commits the spool.
    pub(super) fn commit(&mut self, now: Now) {
        if !self.restore_place(now) {
            return;
        }
        let below = self.queue.spool_range().start;
        let result = self.spool.confirm(below, now);
        match result.and_then(|()| self.spool.commit(now)) {
            Ok(()) => {
                self.works_again(Failed::Commit);
                if self.is_full {
                    self.allow_writes();
                }
            }
            Err(error) => self.fails(Failed::Commit, &error, now),
        }
        self.publish();
    }

    /// Reports to the queue which frames are no longer on the disk.
    pub(super) fn raise_floor(&self, reason: DropReason) {
        let confirmed = self.spool.status().confirmed;
        self.queue.raise_floor(confirmed, reason);
    }

    // --- Reading

    fn read(&mut self, from: u64, now: Now) {
        let before = self.spool.status();
        if before.position != from {
            self.spool.seek(from);
        }
        let batch = match self.spool.read(READ, now) {
            Ok(batch) => batch,
            Err(error) => {
                let sink = self.sink.as_str();
                warn!(sink, %error, "cannot read from the spool, trying again");
                self.read_at = Some(now.steady + READ_AGAIN);
                return;
            }
        };
        let after = self.spool.status();
        let corrupt = after.counters.corrupt - before.counters.corrupt;
        if corrupt > 0 {
            let sink = self.sink.as_str();
            warn!(
                sink,
                frames = corrupt,
                "frames in the spool cannot be read and are lost: its files are damaged"
            );
        }
        let number = batch.as_ref().map_or(after.next, |batch| batch.first);
        let is_gone = from < before.confirmed;
        let read = Read {
            number,
            chunk: batch.and_then(|batch| self.chunk(batch, now)),
            expired: after.counters.expired - before.counters.expired,
            lost: if is_gone {
                DropReason::SpoolOldest
            } else {
                DropReason::SpoolCorrupt
            },
        };
        self.queue.have_read(from, read);
    }

    fn chunk(&mut self, batch: Batch, now: Now) -> Option<Chunk> {
        let age = now.wall.duration_since(batch.received).unwrap_or_default();
        let chunk = Chunk::from_wire(batch.payload)?;
        let chunk = chunk.received_at(now.steady.checked_sub(age).unwrap_or(now.steady));
        Some(self.contexts.add(&batch.context, chunk))
    }

    // --- Changes, the end

    /// Applies the settings that a reload has changed.
    fn change(&mut self, now: Now) {
        let Some(settings) = self.shared.changed.lock().take() else {
            return;
        };
        let pace = settings.pace().unwrap_or(PACE);
        let age = settings.age;
        match self.spool.change(&settings, now) {
            Ok(()) => {
                (self.pace, self.age) = (pace, age);
                (self.expire_at, self.tidy_at) = (None, None);
                self.allow_writes();
                self.retry_at = self.failed.map(|_| now.steady);
                self.publish();
                self.warn_if_too_small();
            }
            Err(error) => {
                let sink = self.sink.as_str();
                warn!(sink, %error, "the spool keeps its settings: the new ones cannot be used");
            }
        }
    }

    pub(super) fn publish(&self) {
        let (bytes, size) = (self.spool.status().bytes, self.spool.settings().size);
        self.shared.state.set_room(bytes, size);
    }

    fn close(mut self) {
        let (sink, now) = (self.sink.as_str(), Now::read());
        let below = self.queue.spool_range().start;
        let confirmed = self.spool.confirm(below, now);
        if let Err(error) = confirmed.and_then(|()| self.spool.close(now)) {
            warn!(sink, %error, "cannot write the last changes of the spool to the disk; after a power loss, frames may be lost or sent twice");
        }
    }
}

/// Divides a chunk that is too long for the spool, so that a long frame does not cause the loss of the other frames. If
/// the chunk cannot be divided, drops it.
fn drop_too_long(unspooled: &mut Unspooled) {
    if !unspooled.divide_next() {
        unspooled.drop_next(DropReason::QueueFull);
    }
}

/// Returns the time of `moment` on the system clock.
fn wall(moment: Instant, now: Now) -> SystemTime {
    let ago = now.steady.saturating_duration_since(moment);
    now.wall.checked_sub(ago).unwrap_or(now.wall)
}
