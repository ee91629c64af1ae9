//! A sink's queue: bounded in frames and bytes, lossy when full, and the keeper of the sink's ledger.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use super::{
    Latency,
    amount::Limits,
    held::Held,
    ledger::{DropReason, Drops, Ledger},
    losses::Losses,
    state::State,
    sync::{Mutex, MutexGuard},
    taken::Taken,
};
use crate::frame_stream::Chunk;

/// A queue of chunks between the router and the driver of a sink, or of one of its endpoints.
///
/// It belongs to the directive, not to the connection, so it outlives reconnects. One lock guards the frames and
/// the ledger together, and it is taken once a chunk, so that whoever reads the ledger sees it add up.
///
/// There is one consumer, which may take again before what it took is [settled](Taken::settle). Until then that is *in
/// flight*, and counts against the bounds; what did not go out whole then goes back to its place, before all that came
/// after it.
pub struct Queue {
    state: Mutex<State>,
}

/// How much of what was in flight is done with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames handed whole to the operating system.
    pub frames: usize,
    /// Their bytes on the wire, as the sink's edits made them.
    pub bytes: u64,
    /// Frames among those that the sink dropped instead of writing them.
    pub dropped: Drops,
    /// Whether the connection died in the middle of the frame after those.
    pub cut: bool,
}

// === impl Progress ===

impl Progress {
    /// The frames that need no further care: those that were written and those that were dropped.
    pub fn frames_done(&self) -> usize {
        let dropped = usize::try_from(self.dropped.total()).unwrap_or(usize::MAX);
        self.frames.saturating_add(dropped)
    }
}

// === impl Queue ===

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State::new(limits)),
        }
    }

    /// Its bounds.
    pub fn limits(&self) -> Limits {
        self.lock().limits
    }

    /// Holds it to other bounds from now on. What it holds already stays, even if that is more.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    /// Takes the frames of `chunk` that there is room for, from its front, and counts the others as lost.
    ///
    /// A full queue is shared: a sender that has less waiting than an equal part of what may wait gets room up to that
    /// part, and the sender that has most loses its newest frames in exchange.
    pub fn push(&self, chunk: &Chunk) {
        let consumer = {
            let mut state = self.lock();
            state.push(chunk);
            state.consumer.take()
        };
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// The same without more memory than it holds: the sender that has most waiting gives way, or what comes is lost.
    pub(super) fn push_in_place(&self, chunk: &Chunk) {
        let consumer = {
            let mut state = self.lock();
            state.push_in_place(chunk);
            state.consumer.take()
        };
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Drops the newest of what waits, of the senders that have most, until so many bytes are gone or nothing waits.
    pub(super) fn give_up(&self, bytes: usize) {
        self.lock().give_up(bytes);
    }

    /// The bytes that it holds, and those of them that wait.
    pub(super) fn held_bytes(&self) -> (usize, usize) {
        let state = self.lock();
        let held = usize::try_from(state.ledger.held_bytes).unwrap_or(usize::MAX);
        (held, state.senders.total().bytes)
    }

    /// Takes what has piled up, oldest first, and leaves it in flight; `None` once the queue is closed and empty.
    pub fn poll_take(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            return state.poll_end(cx).map(|()| None);
        }
        let (number, held) = state.take();
        Poll::Ready(Some(Taken::new(Arc::clone(self), number, held)))
    }

    /// Ready once the queue is closed and empty, for a consumer that cannot take now.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_end(cx)
    }

    pub(super) fn settle(&self, number: u64, held: VecDeque<Held>, progress: Progress) {
        let consumer = {
            let mut state = self.lock();
            state.settle(number, held, progress);
            // What came back can be taken, and what was waited for at the end is over.
            let news = !state.waiting.is_empty() || state.is_over();
            state.consumer.take_if(|_| news)
        };
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        let consumer = {
            let mut state = self.lock();
            state.close();
            state.consumer.take()
        };
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Ready once it was [closed](Self::close), whatever it holds. For its consumer.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_closed() {
            return Poll::Ready(());
        }
        state.register(cx);
        Poll::Pending
    }

    /// Whether it is closed, and holds nothing.
    pub(super) fn is_at_its_end(&self) -> bool {
        let state = self.lock();
        state.is_closed() && state.is_over()
    }

    /// Gives up what waits, as if it had never been offered.
    pub(super) fn surrender(&self) -> Vec<Chunk> {
        self.lock().surrender()
    }

    /// Takes these as offered before all that waits. It has no consumer yet, so wakes none.
    pub(super) fn endow(&self, chunks: &[Chunk]) {
        self.lock().endow(chunks);
    }

    /// Ends the queue: what it holds, and what may still come, is counted as lost for this reason.
    pub fn abandon(&self, reason: DropReason) {
        let consumer = {
            let mut state = self.lock();
            state.abandon(reason);
            state.consumer.take()
        };
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// The account as it stands.
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger.clone()
    }

    /// The frames that were dropped for want of room, by sender.
    pub fn losses(&self) -> Losses {
        self.lock().losses.clone()
    }

    /// How long the frames delivered so far took.
    pub fn latency(&self) -> Latency {
        self.lock().latency.clone()
    }

    /// When the oldest frame it holds was read from its source.
    pub fn oldest(&self) -> Option<Instant> {
        self.lock().oldest()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is held can only come from memory running out; the counts are still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
