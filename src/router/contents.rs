//! The contents of a queue: its frames, the accounts of their senders, and the ledger. One lock, the lock of the queue,
//! guards them, so they always change together.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    DropReason, Latency, Ledger,
    amount::{Amount, Limits},
    held::Held,
    losses::Losses,
    spooled::Spooled,
    waiting::Waiting,
};
use crate::frame_stream::Chunk;

pub(super) struct Contents {
    pub(super) limits: Limits,
    /// The waiting chunks. With a spool, these are only the chunks that are not on the disk.
    pub(super) waiting: Waiting,
    pub(super) ledger: Ledger,
    pub(super) losses: Losses,
    pub(super) latency: Latency,
    /// The waker of the consumer. `None` if the consumer does not wait.
    pub(super) consumer: Option<Waker>,
    pub(super) in_flight: Vec<Flight>,
    /// The batches that have unconfirmed frames: the time at which the oldest of these frames was read from its sender,
    /// and the number of the batch.
    pub(super) unconfirmed: BTreeSet<(Instant, u64)>,
    /// The number of unconfirmed frames that do not return to the queue when their connection ends. The consumer waits for
    /// them.
    pub(super) kept: usize,
    /// True while the consumer waits until no frame is in flight or unconfirmed.
    pub(super) awaits_settlement: bool,
    /// The frames that are on a disk; `None` without a spool.
    pub(super) spooled: Option<Box<Spooled>>,
    /// The lowest position that any chunk has had so far.
    first_position: u64,
    /// The position of the next chunk that is pushed.
    pub(super) next_position: u64,
    next_flight: u64,
    /// True if no more chunks will be pushed. An abandoned queue, whose lifecycle is `Ended`, is not necessarily
    /// closed: chunks can still be pushed to it. So `lifecycle` cannot replace this flag.
    pub(super) closed: bool,
    pub(super) lifecycle: Lifecycle,
    /// Notified when frames are counted as dropped.
    lost: Arc<Notify>,
}

/// A batch that was [`Taken`](super::Taken) from the queue and is not settled yet.
pub(super) struct Flight {
    pub(super) number: u64,
    /// The time at which the oldest frame of the batch was read from its sender.
    received: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifecycle {
    Open,
    /// No more chunks will be pushed. The consumer ends when the queue is empty.
    Closing,
    /// The queue has no consumer any more. Frames that are still pushed are dropped with this drop reason.
    Ended(DropReason),
    /// The sink waits for collectors, and none is connected, or the collector of the queue has left. All frames are
    /// excluded.
    NoCollector,
}

/// The waiting frames that were removed from a queue.
pub(super) struct Withdrawn {
    chunks: Vec<Chunk>,
    /// The amount of those frames in `chunks` that were written, but came back to the queue because they were not
    /// confirmed.
    returned: Amount,
}

/// The bounds of a queue while a chunk is added, and the drop reason of the frames that do not fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) held: Amount,
    pub(super) reason: DropReason,
}

/// The largest size of one batch, in bytes on the wire. A socket accepts about this many bytes in one write, and the
/// largest read returns about as many. Larger batches would leave less room for waiting frames, because a batch counts
/// against the bounds of the queue until the whole batch is written.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_CHUNKS: usize = 256;

/// The size that a batch can always have, even if it is more than half of the room for waiting frames. Without this
/// minimum, a small queue would have batches that are too small to be worth a write.
const SMALLEST_BATCH: Amount = Amount {
    frames: 64,
    bytes: 16 << 10,
};

/// A frame is dropped after this number of connections died while they were writing it. Such a frame may be the reason
/// why the connections die. If it were kept, the frames behind it might never be sent.
pub(super) const CUTS_ALLOWED: u32 = 3;

// === impl Contents ===

impl Contents {
    pub(super) fn new(limits: Limits, lost: Arc<Notify>) -> Self {
        // The first position is in the middle of the range, because `prepend` needs positions below the first one.
        let position = 1 << 63;
        Self {
            limits,
            waiting: Waiting::default(),
            ledger: Ledger::default(),
            losses: Losses::default(),
            latency: Latency::default(),
            consumer: None,
            in_flight: Vec::new(),
            unconfirmed: BTreeSet::new(),
            kept: 0,
            awaits_settlement: false,
            spooled: None,
            first_position: position,
            next_position: position,
            next_flight: 0,
            closed: false,
            lifecycle: Lifecycle::Open,
            lost,
        }
    }

    /// Creates the contents of a queue whose spool already has the frames `found`.
    pub(super) fn with_spool(limits: Limits, lost: Arc<Notify>, found: Range<u64>) -> Self {
        let mut contents = Self::new(limits, lost);
        let (start, frames) = (contents.next_position, found.end - found.start);
        contents.next_position += frames;
        contents.ledger.offered = frames;
        contents.ledger.queued = frames;
        let positions = start..contents.next_position;
        contents.spooled = Some(Box::new(Spooled::new(found, positions)));
        contents
    }

    // --- In

    pub(super) fn push(&mut self, chunk: &Chunk) {
        let position = self.next_position;
        self.next_position += chunk.len() as u64;
        self.admit(chunk, position, self.bounds());
    }

    /// Pushes a chunk without letting the queue grow: the queue may hold as many bytes afterwards as it holds now, but
    /// no more.
    pub(super) fn push_in_place(&mut self, chunk: &Chunk) {
        let mut bounds = self.bounds();
        // If the whole chunk fits within the configured bounds of the queue, only the memory limit can cause a loss. If
        // it does not fit, the configured bounds apply, and the drop reason is `QueueFull`.
        if self.free(bounds).room_for(chunk) == chunk.len() {
            bounds.held.bytes = self.bounded_bytes();
            bounds.reason = DropReason::Memory;
        }
        let position = self.next_position;
        self.next_position += chunk.len() as u64;
        self.admit(chunk, position, bounds);
    }

    /// Adds the frames of another queue as if they had been offered before all frames of this queue.
    pub(super) fn prepend(&mut self, Withdrawn { chunks, returned }: &Withdrawn) {
        let frames: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.first_position -= frames;
        let mut position = self.first_position;
        // Some of these frames were written, but came back to the other queue because they were not confirmed.
        // `returned` is their amount. They did not count against the bounds of the other queue, so they do not count
        // against the bounds of this queue either.
        let mut bounds = self.bounds();
        bounds.held += *returned;
        for chunk in chunks {
            self.admit(chunk, position, bounds);
            position += chunk.len() as u64;
        }
    }

    /// Adds as many frames from the front of `chunk` as fit, and counts the others as lost.
    fn admit(&mut self, chunk: &Chunk, position: u64, bounds: Bounds) {
        let offered = chunk.len();
        self.ledger.offered += offered as u64;
        match self.lifecycle {
            Lifecycle::Open | Lifecycle::Closing => {}
            Lifecycle::NoCollector => return self.ledger.count_no_collector(offered as u64),
            Lifecycle::Ended(reason) => return self.count_dropped(reason, offered as u64),
        }
        self.forget_for(chunk, bounds);
        let mut fits = self.free(bounds).room_for(chunk);
        if fits < offered {
            // The queue is full. But the sender of this chunk may be entitled to room that another sender occupies.
            fits = self.make_room(chunk, fits, bounds);
            self.lose(chunk, offered - fits, bounds.reason);
        }
        if fits == 0 {
            return;
        }
        let mut admitted = chunk.clone();
        if fits < offered {
            // Without a copy, the buffer of the chunk would keep the lost frames in memory.
            admitted = admitted.split_to(fits).compact();
        }
        let held = Held::new(admitted, position);
        self.ledger.queued += fits as u64;
        self.ledger.held_bytes += held.amount().bytes as u64;
        self.wait(held);
    }

    pub(super) fn count_dropped(&mut self, reason: DropReason, frames: u64) {
        self.ledger.count_dropped(reason, frames);
        if frames > 0 {
            self.lost.notify_one();
        }
    }

    pub(super) fn lose(&mut self, chunk: &Chunk, frames: usize, reason: DropReason) {
        self.count_dropped(reason, frames as u64);
        self.losses.record(chunk.source(), frames as u64);
    }

    pub(super) fn wait(&mut self, held: Held) {
        if let (Some(_), Some(spooled)) = (held.number, &mut self.spooled) {
            spooled.add_ready(held);
            return;
        }
        self.waiting.add(held);
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            held: self.limits.into(),
            reason: DropReason::QueueFull,
        }
    }

    // --- Out

    /// Takes the chunks of the next batch. Returns the number that identifies the batch while it is in flight, and the
    /// chunks.
    ///
    /// A batch takes at most half of the room that frames in flight leave. Frames in flight cannot be dropped to make room.
    /// If a batch took all frames, the queue could not make room for a sender that has less than its share.
    pub(super) fn take(&mut self) -> (u64, VecDeque<Held>) {
        let half = self.bounds().held.without(self.in_flight_amount()) / 2;
        let mut most = Amount {
            frames: half.frames.max(SMALLEST_BATCH.frames),
            bytes: half.bytes.max(SMALLEST_BATCH.bytes),
        };
        let mut taken = VecDeque::with_capacity(self.waiting.len().min(BATCH_CHUNKS));
        let mut wire = 0;
        while let Some(first) = self.first() {
            let chunk = &first.chunk;
            wire += chunk.wire().len();
            let (frames, fits) = (chunk.len(), most.room_for(chunk));
            // At least a part of the first chunk is always taken.
            let is_more = wire > BATCH_BYTES || taken.len() == BATCH_CHUNKS || fits < frames;
            if is_more && !taken.is_empty() {
                break;
            }
            let Some(mut held) = self.pop_first() else {
                break;
            };
            // Only the first chunk can be too large here. Takes the part of it that fits, but at least one frame.
            if fits.max(1) < frames {
                let first = held.split_to(fits.max(1));
                self.wait(std::mem::replace(&mut held, first));
            }
            let amount = held.amount();
            most = most.without(amount);
            self.ledger.queued -= amount.frames as u64;
            self.ledger.in_flight += amount.frames as u64;
            self.is_taken(&held);
            taken.push_back(held);
        }
        let number = self.next_flight;
        self.next_flight += 1;
        let received = taken.iter().map(|held| held.chunk.received()).min();
        let flight = received.map(|received| Flight { number, received });
        self.in_flight.extend(flight);
        (number, taken)
    }

    /// Removes and returns the waiting chunks. Afterwards the ledger is as if they had never been offered.
    pub(super) fn withdraw(&mut self) -> Withdrawn {
        let (all, returned) = (self.waiting.amount(), self.waiting.returned());
        self.ledger.offered -= all.frames as u64;
        self.ledger.queued -= all.frames as u64;
        self.ledger.held_bytes -= all.bytes as u64;
        Withdrawn {
            chunks: self.waiting.take().map(|held| held.chunk).collect(),
            returned,
        }
    }

    // --- The end

    /// Returns whether the consumer can end. It can end if the queue is closed or abandoned and holds no frames.
    pub(super) fn is_over(&self) -> bool {
        let has_spooled = self.spooled.as_ref().is_some_and(|it| !it.is_empty());
        let is_empty = self.waiting.is_empty() && self.in_flight.is_empty() && !has_spooled;
        self.lifecycle != Lifecycle::Open && is_empty && (self.kept == 0 || self.is_abandoned())
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        if self.lifecycle == Lifecycle::Open {
            self.lifecycle = Lifecycle::Closing;
        }
    }

    /// Ends the queue. Frames on the disk stay there and count as queued; all others are dropped.
    pub(super) fn abandon(&mut self, reason: DropReason) {
        if let Lifecycle::Ended(_) = self.lifecycle {
            return;
        }
        let returned = self.waiting.returned().frames as u64;
        let kept = self.keep_on_disk();
        let ledger = &self.ledger;
        let all = ledger.queued + ledger.in_flight + ledger.unconfirmed;
        let unconfirmed = (ledger.unconfirmed + returned).min(all.saturating_sub(kept));
        let lost = all.saturating_sub(kept + unconfirmed);
        self.count_dropped(reason, lost);
        self.count_dropped(DropReason::Unconfirmed, unconfirmed);
        self.ledger.queued = kept;
        self.ledger.in_flight = 0;
        self.ledger.unconfirmed = 0;
        self.ledger.held_bytes = 0;
        self.ledger.unconfirmed_bytes = 0;
        self.waiting = Waiting::default();
        self.in_flight.clear();
        self.unconfirmed.clear();
        self.lifecycle = Lifecycle::Ended(reason);
    }

    /// Returns whether no frame is in flight or unconfirmed.
    pub(super) fn is_settled(&self) -> bool {
        self.ledger.in_flight == 0 && self.ledger.unconfirmed == 0
    }

    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.awaits_settlement = !self.is_settled();
        if !self.awaits_settlement {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
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

    /// Returns the time at which the oldest frame in the queue was read from its sender.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let in_flight = self.in_flight.iter().map(|flight| flight.received);
        let first = self.waiting.first();
        in_flight
            .chain(first.map(|held| held.chunk.received()))
            .chain(self.oldest_ready())
            .min()
    }
}
