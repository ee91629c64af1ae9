//! The state of a Kafka sink that outlives its connections: the frames that are not confirmed, and the batches.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    thread,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    receipts::Receipts,
    records::{self, Now},
};
use crate::{
    config::RecordKey,
    kafka::{
        Consequence, Metadata, Outcome, Produced, Producer, ProducerId, Record, Settings, Shipped,
    },
    lock::Mutex,
    memory::Reservation,
    router::Progress,
    sink::Shipment,
};

/// The frames of a sink that the brokers have not confirmed, and the producer. Clones share the state.
#[derive(Debug, Clone)]
pub(super) struct Session(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    key: RecordKey,
    /// The number of lookups of the leaders so far.
    lookups: AtomicUsize,
}

#[derive(Debug)]
struct State {
    producer: Producer,
    receipts: Receipts,
    /// The signals of the tasks that write to the leaders.
    leaders: HashMap<i32, Arc<Notify>>,
    /// The task that waits for room, for the end of the connection, or for the last confirmation.
    waiting: Option<Waker>,
    /// The memory of the batches, as a part of the router's memory. `None` before the first frames.
    reserved: Option<Reservation>,
    /// True while batches do not wait for more records, because the stream ends or the connection is replaced.
    is_flushing: bool,
    /// True while there is no room for more frames. Batches then do not wait for more records either.
    is_short: bool,
    /// A buffer that is reused.
    outcomes: Vec<Outcome>,
}

/// Batches in flight. If this value is dropped, the outcome is unknown, and the batches are sent again.
#[derive(Debug)]
pub(super) struct Flight {
    session: Session,
    leader: i32,
    pub(super) shipped: Option<Shipped>,
}

/// A shipment of which records are being made.
///
/// When this value is dropped, the frames that have a record become unconfirmed. If a panic drops it, the frame without a
/// record may have caused the panic, so this frame counts as cut off, and the ones after it return to the queue.
#[derive(Debug)]
struct Packing<'a> {
    receipts: &'a mut Receipts,
    shipment: Option<Shipment>,
    /// The number of frames that have a record.
    frames: usize,
}

/// The memory that the unconfirmed frames and the batches of a sink may use, in bytes.
pub(super) const BYTES: u64 = 32 << 20;

/// The room for one shipment, in bytes: the frames, and the records and buffers that are made from them. It is at most a
/// part of the bound.
const SHIPMENT: u64 = 2 << 20;
const PARTS_FOR_SHIPMENT: u64 = 4;

/// If the router has a memory limit, the unconfirmed frames and the batches use at most this part of it.
const PARTS_OF_LIMIT: u64 = 8;

// === impl Session ===

impl Session {
    pub(super) fn new(settings: Settings, key: RecordKey) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                producer: Producer::new(settings),
                receipts: Receipts::default(),
                leaders: HashMap::new(),
                waiting: None,
                reserved: None,
                is_flushing: false,
                is_short: false,
                outcomes: Vec::new(),
            }),
            key,
            lookups: AtomicUsize::default(),
        }))
    }

    /// Makes records from the frames of `shipment`. The frames are unconfirmed from then on.
    pub(super) fn ship(&self, shipment: Shipment) {
        let (key, now) = (self.0.key, Now::new());
        self.ship_as(shipment, |frame, received| {
            records::of(frame, received, key, now)
        });
    }

    /// Makes records from the frames of `shipment` with the function `record`, which gets a frame and the time at which it
    /// was received.
    pub(super) fn ship_as(
        &self,
        shipment: Shipment,
        record: impl for<'a> Fn(&'a [u8], std::time::Instant) -> Record<'a>,
    ) {
        let state = &mut *self.0.state.lock();
        if let Some(memory) = shipment.memory() {
            state.reserved.get_or_insert_with(|| memory.reserve(0));
        }
        let bound = state.bound();
        let State {
            producer,
            receipts,
            leaders,
            ..
        } = state;
        producer.set_bound(usize::try_from(bound).unwrap_or(usize::MAX));
        let (ticket, now, mut place) = (receipts.next_ticket(), Instant::now(), 0);
        let mut packing = Packing {
            receipts,
            shipment: Some(shipment),
            frames: 0,
        };
        let chunks = packing.shipment.iter().flat_map(Shipment::chunks);
        for chunk in chunks {
            for frame in chunk.frames() {
                let record = record(frame, chunk.received());
                let leader = producer.append(&record, (ticket, place), now);
                if let Some(leader) = leader.and_then(|leader| leaders.get(&leader)) {
                    leader.notify_one();
                }
                place += 1;
                packing.frames += 1;
            }
        }
        drop(packing);
        state.count_memory();
    }

    /// Returns whether more frames can be [shipped](Self::ship). Wakes the task of `cx` when this changes, and when
    /// [`wake`](Self::wake) is called.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.state.lock();
        state.register(cx);
        // The driver waits for the last confirmations before it ends the stream, so `linger` must not delay them.
        if !state.is_flushing && state.receipts.is_closing() {
            state.flush(true);
        }
        let bound = state.bound();
        let has_room = state.memory() + SHIPMENT.min(bound / PARTS_FOR_SHIPMENT) <= bound;
        // With many partitions and a long `linger`, the memory can be used up before any batch is full or due.
        if state.is_short == has_room {
            state.is_short = !has_room;
            state.set_flush();
        }
        has_room
    }

    /// Returns whether all frames are confirmed or refused. Wakes the task of `cx` when this may have changed.
    pub(super) fn poll_done(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.state.lock();
        state.register(cx);
        state.producer.is_empty()
    }

    /// Wakes the task that waits for this session.
    pub(super) fn wake(&self) {
        let waiting = self.0.state.lock().waiting.take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Turns flushing on or off. While it is on, batches do not wait for more records.
    pub(super) fn flush(&self, on: bool) {
        self.0.state.lock().flush(on);
    }

    /// Returns the memory of the frames that are not confirmed and of the batches, in bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> u64 {
        self.0.state.lock().memory()
    }

    /// Puts all unconfirmed frames back into their queue.
    pub(super) fn give_up(&self) {
        self.0.state.lock().give_up();
    }

    // --- For the link

    pub(super) fn needs_id(&self) -> bool {
        self.0.state.lock().producer.needs_id()
    }

    pub(super) fn set_id(&self, id: ProducerId) {
        let mut state = self.0.state.lock();
        state.producer.set_id(id);
        state.notify_all();
    }

    pub(super) fn set_leaders(&self, metadata: &Metadata) {
        let mut state = self.0.state.lock();
        let outcomes = state.producer.set_leaders(metadata);
        state.receipts.apply(outcomes);
        state.count_memory();
        state.notify_all();
    }

    /// Counts a lookup of the leaders. Returns the number of earlier lookups.
    pub(super) fn count_lookup(&self) -> usize {
        self.0.lookups.fetch_add(1, Relaxed)
    }

    /// Reads from the producer.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Producer) -> T) -> T {
        read(&self.0.state.lock().producer)
    }

    /// Notes that there is a connection to this leader. Returns the signal that there may be work for it.
    pub(super) fn reach(&self, leader: i32) -> Arc<Notify> {
        let mut state = self.0.state.lock();
        state.producer.set_reachable(leader, true);
        let signal = Arc::new(Notify::new());
        state.leaders.insert(leader, Arc::clone(&signal));
        signal
    }

    /// Notes that there are no connections.
    pub(super) fn forget_connections(&self) {
        let state = &mut *self.0.state.lock();
        for (leader, _) in state.leaders.drain() {
            state.producer.set_reachable(leader, false);
        }
    }

    /// Notes that the connection to this leader has ended.
    pub(super) fn lose(&self, leader: i32, signal: &Arc<Notify>) {
        let mut state = self.0.state.lock();
        let current = state.leaders.get(&leader);
        if current.is_some_and(|current| Arc::ptr_eq(current, signal)) {
            state.leaders.remove(&leader);
            state.producer.set_reachable(leader, false);
        }
    }

    /// Takes the batches that can be sent to the broker `leader` now. Otherwise returns the time at which the next
    /// batch is due, if one is waiting.
    pub(super) fn collect(&self, leader: i32) -> Result<Flight, Option<Instant>> {
        let mut state = self.0.state.lock();
        match state.producer.collect(leader, Instant::now()) {
            Some(shipped) => Ok(Flight {
                session: self.clone(),
                leader,
                shipped: Some(shipped),
            }),
            None => Err(state.producer.due(leader)),
        }
    }

    fn settle(&self, leader: i32, shipped: Shipped, answer: Option<&Produced>) -> Consequence {
        let waiting;
        let consequence = {
            let state = &mut *self.0.state.lock();
            let now = Instant::now();
            let outcomes = &mut state.outcomes;
            let has_moved = state.producer.has_moved(&shipped);
            let consequence = state.producer.settle(shipped, answer, now, outcomes);
            state.receipts.apply(outcomes.drain(..));
            state.count_memory();
            if has_moved {
                state.notify_all();
            } else if let Some(leader) = state.leaders.get(&leader) {
                leader.notify_one();
            }
            waiting = state.waiting.take();
            consequence
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        consequence
    }
}

// === impl State ===

impl State {
    /// Returns the memory of the frames that are not confirmed and of the batches, in bytes.
    fn memory(&self) -> u64 {
        self.receipts.memory() + self.producer.memory() as u64
    }

    /// Returns the memory that the frames and the batches may use, in bytes. A reload can change it.
    fn bound(&self) -> u64 {
        let limit = self.reserved.as_ref().map(Reservation::limit);
        limit.map_or(BYTES, |limit| BYTES.min(limit as u64 / PARTS_OF_LIMIT))
    }

    /// Counts the memory of the batches as a part of the router's memory.
    fn count_memory(&mut self) {
        if let Some(reserved) = &mut self.reserved {
            reserved.resize(self.producer.memory());
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &self.waiting {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => self.waiting = Some(cx.waker().clone()),
        }
    }

    fn flush(&mut self, on: bool) {
        self.is_flushing = on;
        self.set_flush();
    }

    fn set_flush(&mut self) {
        self.producer.flush(self.is_flushing || self.is_short);
        self.notify_all();
    }

    fn give_up(&mut self) {
        let Self {
            producer, receipts, ..
        } = self;
        producer.clear(|span| receipts.mark_unsent(span));
        receipts.give_up();
        self.count_memory();
    }

    fn notify_all(&self) {
        for leader in self.leaders.values() {
            leader.notify_one();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.give_up();
    }
}

// === impl Packing ===

impl Drop for Packing<'_> {
    fn drop(&mut self) {
        if let Some(shipment) = self.shipment.take() {
            let (written, chunks) = shipment.settle_kept(Progress {
                frames: self.frames,
                cut: thread::panicking(),
                ..Progress::default()
            });
            self.receipts.add(written, &chunks);
        }
    }
}

// === impl Flight ===

impl Flight {
    /// Ends the flight with the broker's response.
    pub(super) fn settle(mut self, answer: &Produced) -> Consequence {
        match self.shipped.take() {
            Some(shipped) => self.session.settle(self.leader, shipped, Some(answer)),
            None => Consequence::default(),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(shipped) = self.shipped.take() {
            self.session.settle(self.leader, shipped, None);
        }
    }
}
