//! A sink's queue: bounded in frames and bytes, lossy when full, and the keeper of the sink's ledger.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{
    Latency,
    ledger::{DropReason, Ledger},
    sync::{Mutex, MutexGuard},
    taken::{Held, Taken},
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

/// The bounds of a queue. What is in flight counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Frames.
    pub frames: usize,
    /// Bytes of memory that the frames hold.
    pub bytes: usize,
}

/// How much of what was in flight is done with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames handed whole to the operating system.
    pub frames: usize,
    /// Their bytes on the wire, as the sink's edits made them.
    pub bytes: u64,
    /// Frames that were passed over among those, since they were no dnstap messages.
    pub malformed: usize,
    /// Whether the connection died in the middle of the frame after those.
    pub cut: bool,
}

struct State {
    limits: Limits,
    /// By their places.
    waiting: VecDeque<Held>,
    in_flight: Vec<Flight>,
    /// The place of the next chunk.
    next_place: u64,
    /// The number of the next flight.
    next_flight: u64,
    /// Nobody can offer to it any more.
    closed: bool,
    ledger: Ledger,
    latency: Latency,
    phase: Phase,
    consumer: Option<Waker>,
}

/// What is known here of something [`Taken`].
struct Flight {
    number: u64,
    /// When the oldest of it was read from its source.
    received: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing more will come: the consumer ends when the queue is empty.
    Closing,
    /// The consumer is gone; what still comes is lost, for this reason.
    Ended(DropReason),
}

/// What one take brings at the most: as much as a large read, and about what a socket takes at once. Frames in flight
/// count against the bounds until the whole batch is written, so that more would make the queue smaller than it says.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_CHUNKS: usize = 256;

/// Connections that may die in the middle of the same frame before it is given up.
const CUTS_ALLOWED: u32 = 3;

// === impl Queue ===

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        let state = State {
            limits,
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            next_place: 0,
            next_flight: 0,
            closed: false,
            ledger: Ledger::default(),
            latency: Latency::default(),
            phase: Phase::Open,
            consumer: None,
        };
        Self {
            state: Mutex::new(state),
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
            state.closed = true;
            if state.phase == Phase::Open {
                state.phase = Phase::Closing;
            }
            state.consumer.take()
        };
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    /// Ready once it was [closed](Self::close), whatever it holds. For its consumer.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(());
        }
        state.register(cx);
        Poll::Pending
    }

    /// Whether it is closed, and holds nothing.
    pub(super) fn is_at_its_end(&self) -> bool {
        let state = self.lock();
        state.closed && state.is_over()
    }

    /// Gives up what waits, as if it had never been offered.
    pub(super) fn surrender(&self) -> Vec<Chunk> {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.waiting);
        let chunks: Vec<_> = waiting.into_iter().map(|held| held.chunk).collect();
        let frames: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let bytes: u64 = chunks.iter().map(|chunk| chunk.footprint() as u64).sum();
        state.ledger.offered -= frames;
        state.ledger.queued -= frames;
        state.ledger.held_bytes -= bytes;
        chunks
    }

    /// Takes these as offered before all that waits. It has no consumer yet, so wakes none.
    pub(super) fn endow(&self, chunks: &[Chunk]) {
        let mut state = self.lock();
        let later = std::mem::take(&mut state.waiting);
        for chunk in chunks {
            state.push(chunk);
        }
        for held in later {
            let place = state.next_place;
            state.next_place += 1;
            state.waiting.push_back(Held { place, ..held });
        }
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

    /// How long the frames delivered so far took.
    pub fn latency(&self) -> Latency {
        self.lock().latency.clone()
    }

    /// When the oldest frame it holds was read from its source.
    pub fn oldest(&self) -> Option<Instant> {
        let state = self.lock();
        let in_flight = state.in_flight.iter().map(|flight| flight.received);
        let waiting = state.waiting.front().map(|held| held.chunk.received());
        in_flight.chain(waiting).min()
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

// === impl State ===

impl State {
    fn push(&mut self, chunk: &Chunk) {
        let offered = chunk.len();
        self.ledger.offered += offered as u64;
        if let Phase::Ended(reason) = self.phase {
            self.ledger.count_dropped(reason, offered as u64);
            return;
        }
        let frames = self
            .limits
            .frames
            .saturating_sub(to_usize(self.ledger.queued + self.ledger.in_flight));
        let bytes = self
            .limits
            .bytes
            .saturating_sub(to_usize(self.ledger.held_bytes));
        let fits = if offered <= frames && chunk.footprint() <= bytes {
            offered
        } else {
            frames.min(offered).min(chunk.frames_within(bytes))
        };
        self.ledger
            .count_dropped(DropReason::QueueFull, (offered - fits) as u64);
        if fits == 0 {
            return;
        }
        let mut taken = chunk.clone();
        if fits < offered {
            taken = taken.split_to(fits).compact();
        }
        self.ledger.queued += fits as u64;
        self.ledger.held_bytes += taken.footprint() as u64;
        self.waiting.push_back(Held {
            chunk: taken,
            place: self.next_place,
            cuts: 0,
        });
        self.next_place += 1;
    }

    /// Whether nothing more will come, and nothing is left.
    fn is_over(&self) -> bool {
        self.phase != Phase::Open && self.waiting.is_empty() && self.in_flight.is_empty()
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &self.consumer {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => self.consumer = Some(cx.waker().clone()),
        }
    }

    /// What goes out next, and its number.
    fn take(&mut self) -> (u64, VecDeque<Held>) {
        let mut chunks = 0;
        let mut bytes = 0;
        let mut frames = 0;
        for held in &self.waiting {
            bytes += held.chunk.wire().len();
            if chunks > 0 && (bytes > BATCH_BYTES || chunks == BATCH_CHUNKS) {
                break;
            }
            frames += held.chunk.len() as u64;
            chunks += 1;
        }
        let taken: VecDeque<_> = self.waiting.drain(..chunks).collect();
        self.ledger.queued -= frames;
        self.ledger.in_flight += frames;
        let number = self.next_flight;
        self.next_flight += 1;
        let received = taken.iter().map(|held| held.chunk.received()).min();
        let flight = received.map(|received| Flight { number, received });
        self.in_flight.extend(flight);
        (number, taken)
    }

    fn abandon(&mut self, reason: DropReason) {
        if let Phase::Ended(_) = self.phase {
            return;
        }
        let lost = self.ledger.queued + self.ledger.in_flight;
        self.ledger.count_dropped(reason, lost);
        self.ledger.queued = 0;
        self.ledger.in_flight = 0;
        self.ledger.held_bytes = 0;
        self.waiting.clear();
        self.in_flight.clear();
        self.phase = Phase::Ended(reason);
    }

    fn settle(&mut self, number: u64, mut held: VecDeque<Held>, progress: Progress) {
        if let Phase::Ended(_) = self.phase {
            return;
        }
        self.in_flight.retain(|flight| flight.number != number);
        let delivered = self.release(
            &mut held,
            progress.frames + progress.malformed,
            Some(Instant::now()),
        );
        let malformed = (progress.malformed as u64).min(delivered);
        self.ledger.delivered += delivered - malformed;
        self.ledger.delivered_bytes += progress.bytes;
        self.ledger.count_dropped(DropReason::Malformed, malformed);
        // A connection that failed between frames says nothing about the first one.
        if let Some(first) = held.front_mut().filter(|_| progress.cut) {
            first.cuts += 1;
            if first.cuts >= CUTS_ALLOWED {
                let given_up = self.release(&mut held, 1, None);
                self.ledger
                    .count_dropped(DropReason::Disconnected, given_up);
            }
        }
        while let Some(last) = held.pop_back() {
            let frames = last.chunk.len() as u64;
            self.ledger.in_flight -= frames;
            self.ledger.queued += frames;
            let behind = |other: &Held| other.place < last.place;
            let place = self.waiting.partition_point(behind);
            self.waiting.insert(place, last);
        }
    }

    /// Lets go of the first of these frames in flight and says how many those were; they took until `written`, if given.
    fn release(
        &mut self,
        held: &mut VecDeque<Held>,
        mut frames: usize,
        written: Option<Instant>,
    ) -> u64 {
        let mut released = 0;
        while frames > 0 {
            let Some(mut first) = held.pop_front() else {
                break;
            };
            let before = first.chunk.footprint();
            let done = first.chunk.split_to(frames);
            if let Some(written) = written {
                let frames = u32::try_from(done.len()).unwrap_or(u32::MAX);
                let took = written.saturating_duration_since(done.received());
                self.latency.record(took, frames);
            }
            frames -= done.len();
            released += done.len() as u64;
            let after = if first.chunk.is_empty() {
                0
            } else {
                let after = first.chunk.footprint();
                // It begins with another frame now.
                held.push_front(Held { cuts: 0, ..first });
                after
            };
            self.ledger.held_bytes -= (before - after) as u64;
        }
        self.ledger.in_flight -= released;
        released
    }
}

/// The ledger counts in `u64`; what it holds now came from `usize`.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
