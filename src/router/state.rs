//! What is behind the lock of a queue: the frames, the accounts, and the ledger, changed together.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{
    Latency,
    amount::{Amount, Limits},
    held::Held,
    ledger::{DropReason, Ledger},
    losses::Losses,
    queue::Progress,
    senders::Senders,
};
use crate::frame_stream::Chunk;

pub(super) struct State {
    pub(super) limits: Limits,
    /// By their places.
    pub(super) waiting: BTreeMap<u64, Held>,
    pub(super) ledger: Ledger,
    pub(super) losses: Losses,
    pub(super) latency: Latency,
    pub(super) consumer: Option<Waker>,
    /// Whose frames those in `waiting` are.
    pub(super) senders: Senders,
    in_flight: Vec<Flight>,
    /// The place of the oldest chunk that it has held.
    first_place: u64,
    /// The place of the next chunk.
    next_place: u64,
    /// The number of the next flight.
    next_flight: u64,
    /// Nobody can offer to it any more.
    closed: bool,
    phase: Phase,
}

/// What is known here of something [`Taken`](super::Taken).
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

/// The amount that a queue may hold at the moment, and the reason for which the rest is dropped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) held: Amount,
    pub(super) reason: DropReason,
}

/// The most that one take brings: as much as a large read, and about what a socket takes at once. Frames in flight
/// count against the bounds until the whole batch is written, so that more would make the queue smaller than it says.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_CHUNKS: usize = 256;

/// The amount that one take may bring though it is more than half of what may wait: it keeps the batches of small queues large
/// enough to be worth a write.
const BATCH_AT_LEAST: Amount = Amount {
    frames: 64,
    bytes: 16 << 10,
};

/// Connections that may die in the middle of the same frame before it is given up.
const CUTS_ALLOWED: u32 = 3;

// === impl State ===

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        // There are places for the chunks of the past that another queue hands on.
        let place = 1 << 63;
        Self {
            limits,
            waiting: BTreeMap::new(),
            ledger: Ledger::default(),
            losses: Losses::default(),
            latency: Latency::default(),
            consumer: None,
            senders: Senders::default(),
            in_flight: Vec::new(),
            first_place: place,
            next_place: place,
            next_flight: 0,
            closed: false,
            phase: Phase::Open,
        }
    }

    // --- In

    pub(super) fn push(&mut self, chunk: &Chunk) {
        let place = self.next_place;
        self.next_place += chunk.len() as u64;
        self.admit(chunk, place, self.bounds());
    }

    /// Takes no more memory than it holds, so that what comes in takes the place of something else, or is lost.
    pub(super) fn push_in_place(&mut self, chunk: &Chunk) {
        let mut bounds = self.bounds();
        if self.free(bounds).room_for(chunk) == chunk.len() {
            bounds.held.bytes = to_usize(self.ledger.held_bytes);
            bounds.reason = DropReason::Memory;
        }
        let place = self.next_place;
        self.next_place += chunk.len() as u64;
        self.admit(chunk, place, bounds);
    }

    /// Takes these as offered before all that it has held.
    pub(super) fn endow(&mut self, chunks: &[Chunk]) {
        let frames: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.first_place -= frames;
        let mut place = self.first_place;
        for chunk in chunks {
            self.admit(chunk, place, self.bounds());
            place += chunk.len() as u64;
        }
    }

    /// Takes what there is room for of `chunk`, from its front, and counts the rest as lost.
    fn admit(&mut self, chunk: &Chunk, place: u64, bounds: Bounds) {
        let offered = chunk.len();
        self.ledger.offered += offered as u64;
        if let Phase::Ended(reason) = self.phase {
            self.ledger.count_dropped(reason, offered as u64);
            return;
        }
        let mut fits = self.free(bounds).room_for(chunk);
        if fits < offered {
            fits = self.make_room(chunk, fits, bounds);
            self.lose(chunk, offered - fits, bounds.reason);
        }
        if fits == 0 {
            return;
        }
        let mut taken = chunk.clone();
        if fits < offered {
            taken = taken.split_to(fits).compact();
        }
        let held = Held::new(taken, place);
        self.ledger.queued += fits as u64;
        self.ledger.held_bytes += held.amount().bytes as u64;
        self.wait(held);
    }

    pub(super) fn lose(&mut self, chunk: &Chunk, frames: usize, reason: DropReason) {
        self.ledger.count_dropped(reason, frames as u64);
        self.losses.record(chunk.source(), frames as u64);
    }

    fn wait(&mut self, held: Held) {
        let source = held.chunk.source();
        self.senders.add(source, held.place, held.amount());
        self.waiting.insert(held.place, held);
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            held: self.limits.into(),
            reason: DropReason::QueueFull,
        }
    }

    /// How much may wait.
    pub(super) fn room(&self, bounds: Bounds) -> Amount {
        bounds.held.without(Amount {
            frames: to_usize(self.ledger.in_flight),
            bytes: to_usize(self.ledger.held_bytes).saturating_sub(self.senders.total().bytes),
        })
    }

    /// How much more may come.
    pub(super) fn free(&self, bounds: Bounds) -> Amount {
        bounds.held.without(Amount {
            frames: to_usize(self.ledger.queued + self.ledger.in_flight),
            bytes: to_usize(self.ledger.held_bytes),
        })
    }

    // --- Out

    /// What goes out next, and its number.
    ///
    /// It is at most half of what may wait, so that senders never find a queue that is full of what nobody can give up.
    pub(super) fn take(&mut self) -> (u64, VecDeque<Held>) {
        let half = self.room(self.bounds()) / 2;
        let mut most = Amount {
            frames: half.frames.max(BATCH_AT_LEAST.frames),
            bytes: half.bytes.max(BATCH_AT_LEAST.bytes),
        };
        let mut taken = VecDeque::new();
        let mut wire = 0;
        while let Some(first) = self.waiting.first_entry() {
            let chunk = &first.get().chunk;
            wire += chunk.wire().len();
            let (frames, fits) = (chunk.len(), most.room_for(chunk));
            let is_more = wire > BATCH_BYTES || taken.len() == BATCH_CHUNKS || fits < frames;
            if is_more && !taken.is_empty() {
                break;
            }
            let mut held = first.remove();
            self.senders
                .remove(held.chunk.source(), held.place, held.amount());
            if fits.max(1) < frames {
                let first = held.split_to(fits.max(1));
                self.wait(std::mem::replace(&mut held, first));
            }
            let amount = held.amount();
            most = most.without(amount);
            self.ledger.queued -= amount.frames as u64;
            self.ledger.in_flight += amount.frames as u64;
            taken.push_back(held);
        }
        let number = self.next_flight;
        self.next_flight += 1;
        let received = taken.iter().map(|held| held.chunk.received()).min();
        let flight = received.map(|received| Flight { number, received });
        self.in_flight.extend(flight);
        (number, taken)
    }

    pub(super) fn settle(&mut self, number: u64, mut held: VecDeque<Held>, progress: Progress) {
        if let Phase::Ended(_) = self.phase {
            return;
        }
        self.in_flight.retain(|flight| flight.number != number);
        let done = progress.frames_done();
        let mut delivered = self.release(&mut held, done, Some(Instant::now()));
        for (reason, frames) in progress.dropped.each() {
            // Even if more is claimed than was in flight, the ledger balances.
            let frames = frames.min(delivered);
            delivered -= frames;
            self.ledger.count_dropped(reason, frames);
        }
        self.ledger.delivered += delivered;
        self.ledger.delivered_bytes += progress.bytes;
        // A connection that failed between frames says nothing about the first one.
        if let Some(first) = held.front_mut().filter(|_| progress.cut) {
            first.cuts += 1;
            if first.cuts >= CUTS_ALLOWED {
                let given_up = self.release(&mut held, 1, None);
                self.ledger
                    .count_dropped(DropReason::Disconnected, given_up);
            }
        }
        for back in held {
            let frames = back.chunk.len() as u64;
            self.ledger.in_flight -= frames;
            self.ledger.queued += frames;
            self.wait(back);
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
            let done = first.split_to(frames);
            if !first.chunk.is_empty() {
                held.push_front(first);
            }
            let amount = done.amount();
            if let Some(written) = written {
                let frames = u32::try_from(amount.frames).unwrap_or(u32::MAX);
                let took = written.saturating_duration_since(done.chunk.received());
                self.latency.record(took, frames);
            }
            frames -= amount.frames;
            released += amount.frames as u64;
            self.ledger.held_bytes -= amount.bytes as u64;
        }
        self.ledger.in_flight -= released;
        released
    }

    /// Gives up what waits, as if it had never been offered.
    pub(super) fn surrender(&mut self) -> Vec<Chunk> {
        let total = self.senders.total();
        self.ledger.offered -= total.frames as u64;
        self.ledger.queued -= total.frames as u64;
        self.ledger.held_bytes -= total.bytes as u64;
        self.senders.clear();
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().map(|held| held.chunk).collect()
    }

    // --- The end

    /// Whether nothing more will come, and nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.phase != Phase::Open && self.waiting.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
    }

    pub(super) fn abandon(&mut self, reason: DropReason) {
        if let Phase::Ended(_) = self.phase {
            return;
        }
        let lost = self.ledger.queued + self.ledger.in_flight;
        self.ledger.count_dropped(reason, lost);
        self.ledger.queued = 0;
        self.ledger.in_flight = 0;
        self.ledger.held_bytes = 0;
        self.waiting.clear();
        self.senders.clear();
        self.in_flight.clear();
        self.phase = Phase::Ended(reason);
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
    }

    pub(super) fn register(&mut self, cx: &Context<'_>) {
        match &self.consumer {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => self.consumer = Some(cx.waker().clone()),
        }
    }

    /// When the oldest frame it holds was read from its source.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let in_flight = self.in_flight.iter().map(|flight| flight.received);
        let first = self.waiting.first_key_value();
        in_flight
            .chain(first.map(|(_, held)| held.chunk.received()))
            .min()
    }
}

/// The ledger counts in `u64`; what it holds now came from `usize`.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
