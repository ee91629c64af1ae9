//! The path of a message from the thread that sends it to the router.
//!
//! Each thread has its own batch, so threads do not wait for each other. When a batch is full, its thread hands it to
//! the router. A background task, the flusher, hands over all other batches, no later than a millisecond after their
//! first message.

use std::{
    fmt, mem,
    sync::{
        Arc, MutexGuard,
        atomic::{
            AtomicU32,
            Ordering::{Acquire, Relaxed},
            fence,
        },
    },
    time::Duration,
};

use tokio::time::sleep;

use super::{
    MessageType,
    alarm::Alarm,
    batch::Batch,
    encode::{Encoding, Head},
    message::Message,
    own,
};
use crate::{
    config::{Sink, Template},
    frame_stream::{Chunk, Source},
    lock::Mutex,
    router::{DropReason, Router},
};

/// The part of a [`Taps`](super::Taps) that all handles and threads share.
pub(super) struct Intake {
    /// The message types that the sinks want, as a bit set. The bit of a type is at the type's number. Two more bits
    /// are [`WIRE`] and [`METADATA`].
    wanted: AtomicU32,
    head: Head,
    router: Router,
    /// The source of all chunks that come from this intake. Because it is the same for all threads, a queue treats all
    /// threads as one sender.
    source: Source,
    slots: Mutex<Slots>,
    flusher: Alarm,
}

/// The batch of a thread. The background task that flushes batches has access to it, too.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The batch to which the thread adds its messages. The flusher holds this lock only while it exchanges the batch,
    /// so the thread practically never has to wait for it.
    batch: Mutex<Batch>,
    /// The batch that the flusher is handing over; empty at other times. Locked while a batch is handed to the router,
    /// so that a later batch of the same thread cannot overtake it. To avoid a deadlock, this lock is taken before the
    /// lock of `batch`, or only with `try_lock`.
    leaving: Mutex<Batch>,
}

/// The batches of all threads.
#[derive(Debug, Default)]
struct Slots {
    all: Vec<Arc<Slot>>,
    closed: bool,
}

/// The parts of messages that the sinks want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The message types, as a bit set. The bit of a type is at the type's number.
    pub(super) types: u32,
    pub(super) wire: bool,
    pub(super) metadata: bool,
}

/// The bit in `wanted` for wire bytes.
const WIRE: u32 = 1 << 31;

/// The bit in `wanted` for metadata.
const METADATA: u32 = 1 << 30;

/// The time that the flusher sleeps between two flushes.
///
/// tokio's timers end at whole milliseconds, so this short sleep ends at the next millisecond. A message that arrives
/// between two flushes therefore waits for less than a millisecond.
const TICK: Duration = Duration::from_micros(1);

const _: () = assert!(MessageType::ALL.len() < METADATA.trailing_zeros() as usize);

// === impl Wanted ===

impl Wanted {
    /// Returns all message types, without their wire bytes and metadata.
    #[cfg(feature = "proto")]
    pub(super) fn all_types() -> Self {
        Self {
            types: types(|_| true),
            wire: false,
            metadata: false,
        }
    }

    pub(super) fn by(sinks: &[Sink]) -> Self {
        let filters: Vec<_> = sinks.iter().map(|sink| sink.filters.of_types()).collect();
        let any_extra = |wants: fn(&Template) -> bool| {
            let extras = sinks.iter().filter_map(|sink| sink.edits.extra.as_ref());
            extras.into_iter().any(wants)
        };
        Self {
            types: types(|of| filters.iter().any(|filter| filter.wants(of))),
            wire: sinks.iter().any(|it| it.full || it.filters.need_wire())
                || any_extra(Template::needs_wire),
            metadata: any_extra(Template::needs_metadata),
        }
    }

    fn bits(self) -> u32 {
        let bit = |is_wanted, bit| if is_wanted { bit } else { 0 };
        self.types | bit(self.wire, WIRE) | bit(self.metadata, METADATA)
    }
}

/// Returns the set of the message types of the schema that `are_wanted`.
fn types(are_wanted: impl Fn(MessageType) -> bool) -> u32 {
    let all = MessageType::ALL.into_iter();
    let wanted = all.filter(|of| *of != MessageType::Unknown && are_wanted(*of));
    wanted.fold(0, |bits, of| bits | 1 << of.number())
}

// === impl Intake ===

impl Intake {
    pub(super) fn new(head: Head, router: Router, source: Source, wanted: Wanted) -> Self {
        Self {
            wanted: AtomicU32::new(wanted.bits()),
            head,
            router,
            source,
            slots: Mutex::default(),
            flusher: Alarm::default(),
        }
    }

    #[inline]
    pub(super) fn wants(&self, message_type: MessageType) -> bool {
        self.wanted.load(Relaxed) & 1 << message_type.number() != 0
    }

    #[inline]
    pub(super) fn wants_wire(&self) -> bool {
        self.wanted.load(Relaxed) & WIRE != 0
    }

    #[inline]
    pub(super) fn wants_metadata(&self) -> bool {
        self.wanted.load(Relaxed) & METADATA != 0
    }

    // --- In

    /// Sends a message with the bytes of its metadata, or counts it as lost if it cannot be sent.
    #[inline]
    pub(super) fn send(self: &Arc<Self>, message: &Message<'_>, labels: &[u8]) {
        let Some(encoding) = Encoding::new(&self.head, message, self.wants_wire()) else {
            self.router.lose(DropReason::Malformed, 1);
            return;
        };
        own::with_slot(self, |slot| {
            let mut batch = slot.batch.lock();
            let length = encoding.frame_length() + labels.len();
            if !batch.has_room(length) {
                batch = self.make_room(slot, batch, length);
            }
            let is_first = batch.is_empty();
            batch.push(&self.head, message.message_type(), &encoding, labels);
            if batch.closed {
                self.offer(batch.take());
            } else if is_first {
                drop(batch);
                self.flusher.raise();
            }
        });
    }

    /// Hands the full batch of a thread to the router. If the flusher is still handing over an earlier batch of the
    /// thread, or if another thread uses a queue at this time, the full batch grows instead, up to a limit. The thread
    /// does not wait for the other thread, because the operating system may have paused it.
    #[cold]
    fn make_room<'a>(
        &self,
        slot: &'a Slot,
        mut batch: MutexGuard<'a, Batch>,
        message: usize,
    ) -> MutexGuard<'a, Batch> {
        if !self.router.is_in_use()
            && let Some(_turn) = slot.leaving.try_lock()
        {
            self.offer(batch.take());
            return batch;
        }
        if batch.may_grow(message) {
            return batch;
        }
        drop(batch);
        let _turn = slot.leaving.lock();
        let mut batch = slot.batch.lock();
        self.offer(batch.take());
        batch
    }

    /// Creates and registers a batch for a thread.
    pub(super) fn register(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        let mut slots = self.slots.lock();
        if slots.closed {
            // After the intake has closed, nothing flushes this batch later, so its messages go to the router
            // immediately.
            slot.batch.lock().closed = true;
        } else {
            slots.all.push(Arc::clone(&slot));
        }
        slot
    }

    // --- Out

    #[cold]
    fn offer(&self, chunk: Option<Chunk>) {
        if let Some(chunk) = chunk {
            self.router.offer(&chunk.brought_by(&self.source));
        }
    }

    /// Flushes the batches, forever. Sleeps while they are empty.
    pub(super) async fn flush_forever(&self) {
        loop {
            self.flusher.wait().await;
            while self.flush() || self.flusher.stays_awake(|| self.flush()) {
                sleep(TICK).await;
            }
        }
    }

    /// Hands the messages of all batches to the router, and returns whether there were any. A batch that its thread is
    /// using at the moment is left for the next flush, and counts as a batch with messages.
    fn flush(&self) -> bool {
        let mut found = false;
        // The lock of the list of batches is not held while messages are handed over. A new thread needs this lock for
        // its first message, and must not wait for a flusher that the operating system has paused.
        let mut batches = mem::take(&mut self.slots.lock().all);
        batches.retain(|slot| self.flush_slot(slot, &mut found));
        let mut slots = self.slots.lock();
        batches.append(&mut slots.all);
        slots.all = batches;
        if slots.closed {
            self.close_slots(&mut slots.all);
        }
        found
    }

    /// Flushes one batch. Returns whether its thread still exists.
    fn flush_slot(&self, slot: &Arc<Slot>, found: &mut bool) -> bool {
        let turn = slot.leaving.try_lock();
        let batch = turn.as_ref().and_then(|_| slot.batch.try_lock());
        let (Some(mut leaving), Some(mut batch)) = (turn, batch) else {
            *found = true;
            return true;
        };
        if batch.is_empty() {
            batch.shrink();
        } else {
            batch.exchange(&mut leaving);
        }
        // Releases the batch, so that its thread can continue while the messages are handed to the router.
        drop(batch);
        let chunk = leaving.take();
        if chunk.is_none() {
            leaving.shrink();
        }
        *found |= chunk.is_some();
        self.offer(chunk);
        self.keep_slot(slot, found)
    }

    /// Returns whether the thread of a batch still exists. If the thread has ended, hands its last messages to the
    /// router.
    fn keep_slot(&self, slot: &Arc<Slot>, found: &mut bool) -> bool {
        if Arc::strong_count(slot) > 1 {
            return true;
        }
        // The thread has ended, maybe just now. The fence makes all messages that it sent visible here.
        fence(Acquire);
        let rest = slot.batch.lock().take();
        *found |= rest.is_some();
        self.offer(rest);
        false
    }

    /// Hands the messages of all batches to the router, and waits for threads that are sending. Later messages go to
    /// the router immediately, because the flusher has ended.
    pub(super) fn close(&self) {
        self.wanted.store(0, Relaxed);
        let mut slots = self.slots.lock();
        slots.closed = true;
        self.close_slots(&mut slots.all);
    }

    fn close_slots(&self, slots: &mut Vec<Arc<Slot>>) {
        for slot in slots.drain(..) {
            let mut leaving = slot.leaving.lock();
            let mut batch = slot.batch.lock();
            self.offer(batch.take());
            batch.shrink();
            batch.closed = true;
            leaving.shrink();
        }
    }

    /// Hands the messages of all batches to the router.
    #[cfg(feature = "proto")]
    pub(super) fn flush_all(&self) {
        self.slots.lock().all.retain(|slot| {
            let _turn = slot.leaving.lock();
            let chunk = slot.batch.lock().take();
            self.offer(chunk);
            self.keep_slot(slot, &mut false)
        });
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Threads keep their batches until they end or send to another tap. `close` hands over the messages that are
        // still in these batches.
        self.close();
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "proto"))]
mod tests {
    use std::{future::poll_fn, thread};

    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::{
        dnstap::proto,
        memory::Budget,
        router::{Limits, Progress, Queue, Queues},
        tap::Handle,
    };

    fn all() -> Wanted {
        Wanted {
            wire: true,
            metadata: true,
            ..Wanted::all_types()
        }
    }

    struct Way {
        intake: Arc<Intake>,
        queues: Arc<Queues>,
        queue: Arc<Queue>,
    }

    impl Way {
        fn new() -> Self {
            let queues = Arc::new(Queues::new(Limits {
                frames: 1_000_000,
                bytes: 1 << 30,
            }));
            let router = Router::new([Arc::clone(&queues)]);
            let source = Source::within(&Budget::default(), "tap".into(), "test");
            let head = Head::new(b"ns1", b"");
            Self {
                intake: Arc::new(Intake::new(head, router, source, all())),
                queue: queues.one(),
                queues,
            }
        }

        fn offered(&self) -> u64 {
            self.queues.ledger().offered
        }

        /// Takes the next messages from the queue and returns their numbers.
        async fn next(&self) -> Vec<u64> {
            let taken = poll_fn(|cx| self.queue.poll_take(cx)).await;
            let taken = taken.expect("the queue is open");
            let frames: Vec<u64> = taken
                .chunks()
                .flat_map(|chunk| chunk.frames().map(number).collect::<Vec<_>>())
                .collect();
            taken.settle(Progress {
                frames: frames.len(),
                ..Progress::default()
            });
            frames
        }
    }

    fn send(intake: &Arc<Intake>, number: u64) {
        let wire = number.to_be_bytes();
        intake.send(&Message::new(MessageType::ClientQuery).query(&wire), &[]);
    }

    fn number(frame: &[u8]) -> u64 {
        let frame: proto::Dnstap = prost::Message::decode(frame).expect("a frame");
        let wire = frame.message.and_then(|message| message.query_message);
        u64::from_be_bytes(wire.expect("a query").try_into().expect("a number"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_message_leaves_at_once_and_those_behind_it_within_a_millisecond() {
        let way = Way::new();
        let intake = Arc::clone(&way.intake);
        let flusher = tokio::spawn(async move { intake.flush_forever().await });
        for _ in 0..3 {
            let sent = Instant::now();
            send(&way.intake, 0);
            assert_eq!(way.next().await, [0]);
            assert_eq!(sent.elapsed(), Duration::ZERO);
            send(&way.intake, 1);
            send(&way.intake, 2);
            assert_eq!(way.next().await, [1, 2]);
            assert!(sent.elapsed() <= Duration::from_millis(1));
            // After this time the flusher sleeps.
            sleep(Duration::from_secs(1)).await;
        }
        assert!(!way.intake.flusher.is_awake(), "it sleeps");
        flusher.abort();
    }

    #[test]
    fn a_full_batch_leaves_by_its_own_thread() {
        let way = Way::new();
        for number in 0..10_000 {
            send(&way.intake, number);
        }
        let left = way.offered();
        assert!((8_000..10_000).contains(&left), "{left}");
        way.intake.flush();
        assert_eq!(way.offered(), 10_000);
    }

    #[tokio::test]
    async fn every_message_of_every_thread_arrives_once_and_those_of_a_thread_in_order() {
        const THREADS: u64 = 8;
        const EACH: u64 = 20_000;
        let way = Way::new();
        let intake = Arc::clone(&way.intake);
        let flusher = tokio::spawn(async move { intake.flush_forever().await });
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let intake = Arc::clone(&way.intake);
                thread::spawn(move || (0..EACH).for_each(|n| send(&intake, thread << 32 | n)))
            })
            .collect();
        let mut next = [0; 8];
        while next.iter().sum::<u64>() < THREADS * EACH {
            let numbers = timeout(Duration::from_secs(30), way.next()).await;
            for number in numbers.expect("more to come") {
                let next = &mut next[usize::try_from(number >> 32).expect("small")];
                assert_eq!(number & u64::from(u32::MAX), *next);
                *next += 1;
            }
        }
        for thread in threads {
            thread.join().expect("no panic");
        }
        flusher.abort();
        assert_eq!(way.offered(), THREADS * EACH);
    }

    #[test]
    fn a_thread_that_ends_loses_nothing_and_leaves_nothing() {
        let way = Way::new();
        for number in 0..100 {
            let intake = Arc::clone(&way.intake);
            let thread = thread::spawn(move || send(&intake, number));
            thread.join().expect("no panic");
        }
        assert!(way.intake.flush());
        assert_eq!(way.offered(), 100);
        assert_eq!(way.intake.slots.lock().all.len(), 0);
    }

    #[test]
    fn a_message_sent_by_a_destructor_of_the_thread_arrives() {
        struct Last(Arc<Intake>);
        impl Drop for Last {
            fn drop(&mut self) {
                send(&self.0, 2);
            }
        }
        thread_local!(static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) });
        let way = Way::new();
        let intake = Arc::clone(&way.intake);
        let thread = thread::spawn(move || {
            // The thread-local `LAST` is initialized before the thread's batches, so its destructor runs after theirs.
            LAST.set(Some(Last(Arc::clone(&intake))));
            send(&intake, 1);
        });
        thread.join().expect("no panic");
        way.intake.flush();
        assert_eq!(way.offered(), 2);
    }

    #[test]
    fn a_silent_thread_keeps_little_memory() {
        let way = Way::new();
        let memory = || {
            let slots = way.intake.slots.lock();
            slots
                .all
                .iter()
                .map(|slot| slot.batch.lock().memory() + slot.leaving.lock().memory())
                .sum::<usize>()
        };
        for number in 0..10_000 {
            send(&way.intake, number);
        }
        assert!(memory() > 60 << 10);
        way.intake.flush();
        way.intake.flush();
        assert!(memory() <= 5 << 10, "{}", memory());
    }

    #[test]
    fn a_chunk_of_few_messages_holds_no_large_buffer() {
        let way = Way::new();
        for number in 0..10_000 {
            send(&way.intake, number);
        }
        way.intake.flush();
        let before = way.queues.ledger().held_bytes;
        send(&way.intake, 0);
        way.intake.flush();
        assert!(way.queues.ledger().held_bytes - before < 200);
        let slot = Arc::clone(&way.intake.slots.lock().all[0]);
        let buffers = [&slot.batch, &slot.leaving].map(|batch| batch.lock().memory());
        assert!(buffers.iter().sum::<usize>() > 60 << 10, "{buffers:?}");
    }

    #[test]
    fn after_the_end_each_message_is_counted_at_once() {
        let way = Way::new();
        send(&way.intake, 0);
        let handle = Handle::new(&way.intake);
        assert!(handle.wants(MessageType::ClientQuery) && handle.wants_wire());
        way.intake.close();
        way.queues.abandon();
        assert_eq!(way.queues.ledger().dropped(DropReason::Shutdown), 1);
        send(&way.intake, 1);
        let intake = Arc::clone(&way.intake);
        let thread = thread::spawn(move || send(&intake, 2));
        thread.join().expect("no panic");
        assert_eq!(way.queues.ledger().dropped(DropReason::Shutdown), 3);
        assert!(!handle.wants(MessageType::ClientQuery) && !handle.wants_wire());
    }

    #[test]
    fn taps_of_one_thread_are_apart_and_dropping_one_gives_its_batch_away() {
        let (one, other) = (Way::new(), Way::new());
        send(&one.intake, 1);
        send(&other.intake, 2);
        send(&one.intake, 3);
        one.intake.flush();
        other.intake.flush();
        assert_eq!((one.offered(), other.offered()), (2, 1));
        send(&one.intake, 4);
        let Way { intake, queues, .. } = one;
        drop(intake);
        assert_eq!(queues.ledger().offered, 3);
        // A new tap may get the same address in memory as the tap that was dropped. This thread must not use the old
        // batch for the new tap.
        for _ in 0..10 {
            let way = Way::new();
            send(&way.intake, 5);
            way.intake.flush();
            assert_eq!(way.offered(), 1);
        }
    }

    #[test]
    fn threads_that_end_leave_no_batch_behind_without_a_flusher_either() {
        let way = Way::new();
        let batches_after_threads = || {
            for number in 0..20 {
                let intake = Arc::clone(&way.intake);
                let thread = thread::spawn(move || send(&intake, number));
                thread.join().expect("sends");
            }
            way.intake.flush_all();
            way.intake.slots.lock().all.len()
        };
        assert_eq!(batches_after_threads(), 0);
        way.intake.close();
        assert_eq!(batches_after_threads(), 0);
        assert_eq!(way.offered(), 40);
    }

    #[test]
    fn a_sender_does_not_wait_for_a_flusher_that_was_stopped() {
        let way = Way::new();
        send(&way.intake, 0);
        let slot = Arc::clone(&way.intake.slots.lock().all[0]);
        let stopped = slot.leaving.lock();
        let wire = vec![0; 60_000];
        let large = Message::new(MessageType::ClientQuery).query(&wire);
        for _ in 0..60 {
            way.intake.send(&large, &[]);
        }
        send(&way.intake, 1);
        assert_eq!(way.offered(), 0);
        assert!(way.intake.flush(), "a batch was left for the next flush");
        drop(stopped);
        send(&way.intake, 2);
        assert_eq!(way.offered(), 62);
        way.intake.flush();
        assert_eq!(way.offered(), 63);
    }

    #[test]
    fn a_sender_does_not_wait_for_a_thread_that_uses_a_queue() {
        let way = Way::new();
        let wire = vec![0; 60_000];
        let large = Message::new(MessageType::ClientQuery).query(&wire);
        let queue = way.queues.one();
        queue.while_in_use(|| {
            for _ in 0..60 {
                way.intake.send(&large, &[]);
            }
        });
        assert_eq!(way.offered(), 0);
        way.intake.send(&large, &[]);
        assert_eq!(way.offered(), 60);
    }

    #[test]
    fn metadata_stays_with_its_message_and_counts_against_the_batch() {
        let tap = crate::tap::MemoryTap::new();
        let handle = tap.handle();
        let (mut metadata, mut sent) = (crate::tap::Metadata::new(), Vec::new());
        for number in 0..1_000_usize {
            metadata.clear();
            if number % 3 > 0 {
                metadata.set("a/b", vec![b'x'; number % 700]);
            }
            handle.send_with(&Message::new(MessageType::ClientQuery), &metadata);
            sent.push(metadata.clone());
        }
        let tapped: Vec<_> = tap.take().into_iter().map(|it| it.metadata).collect();
        assert_eq!(tapped, sent);

        let way = Way::new();
        let labels = vec![0; 4 << 10];
        for _ in 0..100 {
            let message = Message::new(MessageType::ClientQuery);
            way.intake.send(&message, &labels);
        }
        way.intake.flush();
        let held = way.queues.ledger().held_bytes;
        assert!(held > 100 * (4 << 10), "{held}");
        way.intake.flush();
        assert!(way.intake.slots.lock().all[0].batch.lock().memory() <= 5 << 10);
    }

    #[test]
    fn a_message_that_cannot_be_sent_is_counted() {
        let way = Way::new();
        way.intake.send(&Message::new(MessageType::Unknown), &[]);
        let ledger = way.queues.ledger();
        assert_eq!(
            (ledger.offered, ledger.dropped(DropReason::Malformed)),
            (1, 1)
        );
        assert!(ledger.balances());
        assert!(!way.intake.wants(MessageType::Unknown));
    }
}
