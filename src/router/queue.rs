//! The queue of a sink. It is bounded in frames and bytes, drops frames when it is full, and keeps the sink's ledger.

#[cfg(feature = "tap")]
use std::sync::TryLockError;
use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    DropReason, Exclusions, Latency, Ledger,
    amount::Limits,
    contents::{Contents, Lifecycle, Withdrawn},
    held::Held,
    left_out::LeftOut,
    losses::Losses,
    progress::Progress,
    sync::{Mutex, MutexGuard},
    taken::Taken,
};
use crate::frame_stream::Chunk;

/// A queue of chunks between the router and a driver. The driver belongs to a sink, or to one endpoint of a sink.
///
/// The queue stays when a connection ends, because it belongs to the `dnstap` directive and not to the connection. One
/// lock guards the frames and the ledger, so the ledger balances at every read. The lock is taken once for each chunk.
///
/// A queue has one consumer. The frames that the consumer takes are *in flight* until it [settles](Taken::settle) them.
/// Frames in flight count against the bounds. Settling returns the frames that were not written to their positions in
/// the queue, before all later frames. The consumer can take more frames while others are in flight.
pub(crate) struct Queue {
    contents: Mutex<Contents>,
}

// === impl Queue ===

impl Queue {
    #[cfg(test)]
    pub(crate) fn new(limits: Limits) -> Self {
        Self::reporting_to(limits, Arc::default())
    }

    /// Creates a queue that notifies `lost` whenever it counts frames as dropped.
    pub(super) fn reporting_to(limits: Limits, lost: Arc<Notify>) -> Self {
        Self {
            contents: Mutex::new(Contents::new(limits, lost)),
        }
    }

    /// Creates a queue that only counts frames, because no collector is connected.
    pub(super) fn for_nobody(limits: Limits, lost: Arc<Notify>) -> Self {
        let mut contents = Contents::new(limits, lost);
        contents.lifecycle = Lifecycle::NoCollector;
        Self {
            contents: Mutex::new(contents),
        }
    }

    /// Creates a queue like [`reporting_to`](Self::reporting_to), with a spool in which the frames `found` already
    /// wait.
    pub(super) fn with_spool(limits: Limits, lost: Arc<Notify>, found: Range<u64>) -> Self {
        Self {
            contents: Mutex::new(Contents::with_spool(limits, lost, found)),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.lock().limits
    }

    /// Changes the bounds. Frames that are already in the queue stay, even if they exceed the new bounds.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    /// Adds as many frames from the front of `chunk` as fit, and counts the others as lost.
    ///
    /// A full queue is shared fairly. If the sender of `chunk` has less than an equal share of the room, its frames are
    /// added until it has that share. To make room for them, the sender that is furthest above its share loses its
    /// newest frames.
    pub(crate) fn push(&self, chunk: &Chunk) {
        self.change(|contents| contents.push(chunk));
    }

    /// Counts frames that are offered but do not enter the queue, because the sink's filter excludes them, or because its
    /// privacy options cannot edit them.
    pub(super) fn exclude(&self, excluded: &Exclusions, malformed: u64) {
        let mut contents = self.lock();
        contents.ledger.offered += excluded.total() + malformed;
        contents.ledger.count_excluded(excluded);
        contents.count_dropped(DropReason::Malformed, malformed);
    }

    /// Pushes `chunk` without letting the queue grow. Either the sender that is furthest above its share loses frames,
    /// or the new frames are lost.
    pub(super) fn push_in_place(&self, chunk: &Chunk) {
        self.change(|contents| contents.push_in_place(chunk));
    }

    /// Returns whether another thread is using the queue now.
    #[cfg(feature = "tap")]
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self.contents.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Calls `act` while this thread holds the lock of the queue.
    #[cfg(all(test, feature = "tap", feature = "proto"))]
    pub(crate) fn while_in_use(&self, act: impl FnOnce()) {
        let _contents = self.lock();
        act();
    }

    /// Counts `frames` as offered and lost.
    #[cfg(feature = "tap")]
    pub(super) fn lose(&self, reason: DropReason, frames: u64) {
        let mut contents = self.lock();
        contents.ledger.offered += frames;
        contents.count_dropped(reason, frames);
    }

    /// Drops the newest waiting frames of the senders that are furthest above their share. Stops when `bytes` are
    /// freed, or when no frame waits any more.
    pub(super) fn evict(&self, bytes: usize) {
        self.lock().evict(bytes);
    }

    /// Returns two numbers: the bytes of the frames that wait or are in flight, and the bytes that an eviction can free.
    pub(super) fn held_bytes(&self) -> (usize, usize) {
        let contents = self.lock();
        // Unconfirmed frames do not count here, because they have a limit of their own.
        let held = contents.ledger.held_bytes - contents.ledger.unconfirmed_bytes;
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        let spooled = contents.spooled.as_ref();
        let forgettable = spooled.map_or(0, |it| it.forgettable());
        (held, contents.waiting.amount().bytes + forgettable)
    }

    /// Takes the next batch of waiting frames, oldest first. The frames of the batch are in flight from then on.
    /// Returns `None` when the queue is closed and empty.
    pub(crate) fn poll_take(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut contents = self.lock();
        if contents.first().is_none() {
            return contents.poll_end(cx).map(|()| None);
        }
        let (number, held) = contents.take();
        let thread = contents.thread_to_wake();
        drop(contents);
        wake(thread);
        Poll::Ready(Some(Taken::new(Arc::clone(self), number, held)))
    }

    /// Waits until the queue is closed and empty. The consumer calls this while it cannot take frames.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_end(cx)
    }

    pub(super) fn settle(
        &self,
        number: u64,
        held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
    ) {
        self.end_flight(|contents| contents.settle(number, held, left_out, progress));
    }

    pub(super) fn settle_unconfirmed(
        &self,
        number: u64,
        held: VecDeque<Held>,
        left_out: &LeftOut,
        progress: Progress,
        is_kept: bool,
    ) -> VecDeque<Held> {
        self.end_flight(|contents| {
            contents.settle_unconfirmed(number, held, left_out, progress, is_kept)
        })
    }

    /// Changes the contents at the end of a flight. Wakes the consumer if it waits for frames and a frame now waits.
    /// Also wakes the consumer if it waits for the end of the queue and the queue has ended, or if it waits until no
    /// frame is in flight or unconfirmed. Wakes the thread of the spool if it has work.
    pub(super) fn end_flight<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        let (result, consumer, thread) = {
            let mut contents = self.lock();
            let result = change(&mut contents);
            let is_settled = contents.awaits_settlement && contents.is_settled();
            let is_news = contents.first().is_some() || contents.is_over() || is_settled;
            let consumer = contents.consumer.take_if(|_| is_news);
            (result, consumer, contents.thread_to_wake())
        };
        wake(consumer);
        wake(thread);
        result
    }

    /// Closes the queue: no more chunks will be pushed. The consumer still takes the frames that the queue holds.
    pub(crate) fn close(&self) {
        self.change(Contents::close);
    }

    /// Waits until the queue is [closed](Self::close). A closed queue may still hold frames. Only the consumer of the
    /// queue may call this.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut contents = self.lock();
        if contents.closed {
            return Poll::Ready(());
        }
        contents.register(cx);
        Poll::Pending
    }

    /// Waits until no frame is in flight or unconfirmed. Only the consumer of the queue may call this.
    ///
    /// The tasks of a driver that was aborted end a little later than the driver, and their frames return to the queue
    /// only then.
    pub(crate) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_settled(cx)
    }

    /// Returns whether the queue is closed and holds no frames. The ledger of such a queue no longer changes.
    pub(super) fn is_finished(&self) -> bool {
        let contents = self.lock();
        contents.closed && contents.is_over() && contents.ledger.unconfirmed == 0
    }

    /// Removes and returns the waiting chunks. Afterwards the ledger is as if they had never been offered.
    pub(super) fn withdraw(&self) -> Withdrawn {
        self.lock().withdraw()
    }

    /// Adds the frames of another queue in front of all frames of this queue, as if they had been offered first. Call
    /// this only while the queue has no consumer, because this function does not wake a consumer.
    pub(super) fn prepend(&self, withdrawn: &Withdrawn) {
        self.lock().prepend(withdrawn);
    }

    /// Ends the queue. All frames of the queue, and all frames that are pushed later, are counted as dropped for
    /// `reason`.
    pub(crate) fn abandon(&self, reason: DropReason) {
        self.change(|contents| contents.abandon(reason));
    }

    /// Returns the number of connections that died while they were writing the first waiting frame.
    #[cfg(test)]
    pub(crate) fn cuts(&self) -> u32 {
        let contents = self.lock();
        contents.waiting.first().map_or(0, |held| held.cuts)
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.lock().ledger.clone()
    }

    /// Returns the frames that were dropped because the queue had no room, by sender.
    pub(crate) fn losses(&self) -> Losses {
        self.lock().losses.clone()
    }

    /// Returns the latencies of the frames that were delivered.
    pub(crate) fn latency(&self) -> Latency {
        self.lock().latency.clone()
    }

    /// Returns the time at which the oldest frame in the queue was read from its sender.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lock().oldest()
    }

    /// Returns the time at which the oldest unconfirmed frame was read from its sender.
    pub(crate) fn oldest_unconfirmed(&self) -> Option<Instant> {
        self.lock()
            .unconfirmed
            .first()
            .map(|(received, _)| *received)
    }

    /// Changes the contents, and wakes the consumer after the lock is released. With a spool, new frames wake its thread
    /// first.
    fn change(&self, change: impl FnOnce(&mut Contents)) {
        let (consumer, thread) = {
            let mut contents = self.lock();
            change(&mut contents);
            let is_news = contents.spooled.is_none()
                || contents.closed
                || contents.awaits_settlement
                || contents.first().is_some()
                || contents.is_over();
            let consumer = contents.consumer.take_if(|_| is_news);
            (consumer, contents.thread_to_wake())
        };
        wake(consumer);
        wake(thread);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        // Only a failed allocation can panic while the lock is held. The counts are valid even after such a panic, so a
        // poisoned lock is used as before.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("limits", &self.limits())
            .field("ledger", &self.ledger())
            .finish_non_exhaustive()
    }
}
