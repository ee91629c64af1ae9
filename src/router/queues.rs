//! One sink's queues, and the account of them all.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;

use super::{DropReason, Latency, Ledger, Limits, Losses, Queue};
use crate::frame_stream::Chunk;

/// The queues of one sink: one, or with `endpoints all` one for each endpoint. To be shared; it may outlive its sink.
///
/// What it tells is summed up over all that there are and have been, so that it never goes back, and the ledger
/// [balances](Ledger::balances).
#[derive(Debug)]
pub struct Queues {
    /// Those that are offered to. Read once a chunk, without a lock.
    inlets: ArcSwap<Vec<Arc<Inlet>>>,
    accounts: Mutex<Accounts>,
}

/// The account of one endpoint that has a queue of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAccount {
    /// Its address, as the sink's status says it: `tcp://192.0.2.1:6000`.
    pub address: Arc<str>,
    /// Its account, which balances.
    pub ledger: Ledger,
    /// When the oldest frame that waits for it was read from its source.
    pub oldest: Option<Instant>,
}

/// A queue and whom it is for.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) queue: Arc<Queue>,
    /// Its endpoint; `None` as long as none has a queue of its own.
    pub(crate) address: Option<SocketAddr>,
    label: Arc<str>,
    /// Whether it gets what comes in.
    pub(crate) offered: bool,
}

#[derive(Debug)]
struct Accounts {
    limits: Limits,
    entries: Vec<Entry>,
    /// Nothing more will come.
    closed: bool,
    /// The sums of the queues that are no more.
    past: Past,
}

#[derive(Debug, Default)]
struct Past {
    ledger: Ledger,
    latency: Latency,
    losses: Losses,
}

/// A hold on a queue: it closes the queue when nobody can offer to it any more.
///
/// Every set of queues that has this one shares it, so it outlives whoever is still offering to a set of the past.
#[derive(Debug)]
pub(super) struct Inlet(Arc<Queue>);

// === impl Queues ===

impl Queues {
    /// One queue, for whatever endpoint. Each that comes later has the same limits.
    pub fn new(limits: Limits) -> Self {
        let accounts = Accounts {
            limits,
            entries: Vec::new(),
            closed: false,
            past: Past::default(),
        };
        let queues = Self {
            inlets: ArcSwap::default(),
            accounts: Mutex::new(accounts),
        };
        {
            let mut accounts = queues.lock();
            accounts.add(None, "".into());
            queues.publish(&accounts);
        }
        queues
    }

    /// The sink's account as it stands.
    pub fn ledger(&self) -> Ledger {
        let accounts = self.lock();
        let mut sum = accounts.past.ledger.clone();
        for entry in &accounts.entries {
            sum.add(&entry.queue.ledger());
        }
        sum
    }

    /// How long the frames delivered so far took.
    pub fn latency(&self) -> Latency {
        let accounts = self.lock();
        let mut sum = accounts.past.latency.clone();
        for entry in &accounts.entries {
            sum.add(&entry.queue.latency());
        }
        sum
    }

    /// The frames that were dropped for want of room, by sender.
    pub fn losses(&self) -> Losses {
        let accounts = self.lock();
        let mut sum = accounts.past.losses.clone();
        for entry in &accounts.entries {
            sum.add(&entry.queue.losses());
        }
        sum
    }

    /// When the oldest frame that any of the queues holds was read from its source.
    pub fn oldest(&self) -> Option<Instant> {
        let accounts = self.lock();
        let queues = accounts.entries.iter();
        queues.filter_map(|entry| entry.queue.oldest()).min()
    }

    /// The bounds of all queues together.
    pub fn limits(&self) -> Limits {
        let accounts = self.lock();
        let queues = accounts.entries.iter().map(|entry| entry.queue.limits());
        queues
            .reduce(|one, other| Limits {
                frames: one.frames.saturating_add(other.frames),
                bytes: one.bytes.saturating_add(other.bytes),
            })
            .unwrap_or(accounts.limits)
    }

    /// The accounts of the endpoints, where each has its own: with `endpoints all`. Otherwise none.
    pub fn endpoints(&self) -> Vec<EndpointAccount> {
        let accounts = self.lock();
        let entries = accounts.entries.iter();
        let accounts = entries
            .filter(|entry| entry.address.is_some())
            .map(|entry| EndpointAccount {
                address: Arc::clone(&entry.label),
                ledger: entry.queue.ledger(),
                oldest: entry.queue.oldest(),
            });
        accounts.collect()
    }

    /// Holds each queue to other bounds from now on. What it holds already stays, even if that is more.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut accounts = self.lock();
        accounts.limits = limits;
        for entry in &accounts.entries {
            entry.queue.set_limits(limits);
        }
    }

    /// Offers `chunk` to every queue. Never waits.
    pub(super) fn offer(&self, chunk: &Chunk) {
        for inlet in self.inlets.load().iter() {
            inlet.0.push(chunk);
        }
    }

    /// Holds on the queues that are offered to. None of them is closed before its hold is dropped.
    pub(super) fn offered(&self) -> Vec<Arc<Inlet>> {
        self.inlets.load().to_vec()
    }

    /// Says that nothing more will come.
    pub(crate) fn close(&self) {
        let mut accounts = self.lock();
        accounts.closed = true;
        for entry in &accounts.entries {
            entry.queue.close();
        }
    }

    /// Ends every queue: what it holds, and what may still come, is counted as lost to the shutdown.
    pub(crate) fn abandon(&self) {
        for entry in &self.lock().entries {
            entry.queue.abandon(DropReason::Shutdown);
        }
    }

    /// Has one queue for all endpoints, from now on. Of several, which hold mostly the same, the one that is furthest
    /// behind goes on; what others hold is lost with their endpoints.
    ///
    /// None of the queues may have a consumer.
    pub(crate) fn one(&self) -> Arc<Queue> {
        let mut accounts = self.lock();
        let offered = accounts.entries.iter().filter(|entry| entry.offered);
        // One that holds nothing is not behind at all.
        let behind = |entry: &&Entry| {
            entry
                .queue
                .oldest()
                .map_or((true, None), |it| (false, Some(it)))
        };
        let Some(stays) = offered
            .min_by_key(behind)
            .map(|entry| Arc::clone(&entry.queue))
        else {
            let queue = accounts.add(None, "".into());
            self.publish(&accounts);
            return queue;
        };
        for entry in &mut accounts.entries {
            entry.offered = Arc::ptr_eq(&entry.queue, &stays);
            entry.address = entry.address.filter(|_| !entry.offered);
        }
        self.publish(&accounts);
        for entry in accounts.entries.iter().filter(|entry| !entry.offered) {
            entry.queue.abandon(DropReason::EndpointGone);
        }
        accounts.close_books();
        stays
    }

    /// The queues that there are.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Shows an endpoint by another name.
    pub(crate) fn relabel(&self, address: SocketAddr, label: &Arc<str>) {
        for entry in &mut self.lock().entries {
            if entry.address == Some(address) {
                entry.label = Arc::clone(label);
            }
        }
    }

    /// Has the queues that are `gone` offered no more, and one for each endpoint that has `come`, empty, offered to in
    /// their place. Each chunk goes to those that were offered to before, or to those that are now, and never to both. One that
    /// is gone is closed as soon as the last chunk was offered to it.
    ///
    /// Gives the new queues, in the order of their endpoints.
    pub(crate) fn exchange(
        &self,
        gone: &[Arc<Queue>],
        come: impl IntoIterator<Item = (SocketAddr, Arc<str>)>,
    ) -> Vec<Arc<Queue>> {
        let mut accounts = self.lock();
        for entry in &mut accounts.entries {
            entry.offered &= !gone.iter().any(|queue| Arc::ptr_eq(&entry.queue, queue));
        }
        let come = come.into_iter();
        let queues = come.map(|(address, label)| accounts.add(Some(address), label));
        let queues = queues.collect();
        self.publish(&accounts);
        queues
    }

    /// Gives what this queue holds to every queue that is offered to, as older than all that it has. The queue is closed,
    /// and there is no consumer yet.
    pub(crate) fn hand_on(&self, from: &Arc<Queue>) {
        // Under the lock of the accounts, so that whoever looks at the sum sees it before or after.
        let mut accounts = self.lock();
        let chunks = from.surrender();
        for entry in accounts.entries.iter().filter(|entry| entry.offered) {
            entry.queue.endow(&chunks);
        }
        accounts.close_books();
    }

    /// Counts the queues that are at their end among those of the past.
    pub(crate) fn close_books(&self) {
        self.lock().close_books();
    }

    /// Has chunks offered to the queues that are to get them. A queue that is in both sets misses nothing and gets nothing
    /// twice.
    fn publish(&self, accounts: &Accounts) {
        let old = self.inlets.load_full();
        let offered = accounts.entries.iter().filter(|entry| entry.offered);
        let inlet = |entry: &Entry| {
            let known = old.iter().find(|inlet| Arc::ptr_eq(&inlet.0, &entry.queue));
            known.map_or_else(|| Arc::new(Inlet(Arc::clone(&entry.queue))), Arc::clone)
        };
        self.inlets.store(Arc::new(offered.map(inlet).collect()));
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Accounts ===

impl Accounts {
    /// An empty queue, which is offered to once the set is published.
    fn add(&mut self, address: Option<SocketAddr>, label: Arc<str>) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(self.limits));
        self.entries.push(Entry {
            queue: Arc::clone(&queue),
            address,
            label,
            offered: true,
        });
        if self.closed {
            queue.close();
        }
        queue
    }

    fn close_books(&mut self) {
        let Past {
            ledger,
            latency,
            losses,
        } = &mut self.past;
        self.entries.retain(|Entry { queue, offered, .. }| {
            // One that can still be offered to may still change.
            let stays = *offered || !queue.is_at_its_end();
            if !stays {
                ledger.add(&queue.ledger());
                latency.add(&queue.latency());
                losses.add(&queue.losses());
            }
            stays
        });
    }
}

// === impl Inlet ===

impl Inlet {
    pub(super) fn queue(&self) -> &Queue {
        &self.0
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use bytes::{BufMut, BytesMut};
    use tokio_test::task::spawn;

    use super::*;
    use crate::router::{Progress, Taken};

    const LIMITS: Limits = Limits {
        frames: 100_000,
        bytes: 1 << 30,
    };

    fn frame(number: u32) -> Chunk {
        let mut wire = BytesMut::new();
        wire.put_u32(4);
        wire.put_u32(number);
        Chunk::from_wire(wire.freeze()).expect("a frame")
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 6000))
    }

    fn endpoint(last: u8) -> (SocketAddr, Arc<str>) {
        (address(last), format!("tcp://{}", address(last)).into())
    }

    /// A queue for each of these in place of `gone`.
    fn exchange<const N: usize>(
        queues: &Queues,
        gone: &Arc<Queue>,
        come: [u8; N],
    ) -> [Arc<Queue>; N] {
        let gone = std::slice::from_ref(gone);
        let come = queues.exchange(gone, come.map(endpoint));
        come.try_into().expect("as many")
    }

    fn take(queue: &Arc<Queue>) -> Option<Taken> {
        match spawn(poll_fn(|cx| queue.poll_take(cx))).poll() {
            std::task::Poll::Ready(taken) => taken,
            std::task::Poll::Pending => None,
        }
    }

    /// Writes all that there is.
    fn write(queue: &Arc<Queue>) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let Some(taken) = take(queue) {
            let before = numbers.len();
            for frame in taken.chunks().flat_map(Chunk::frames) {
                numbers.push(u32::from_be_bytes(frame.try_into().expect("four bytes")));
            }
            let frames = numbers.len() - before;
            taken.settle(Progress {
                frames,
                ..Progress::default()
            });
        }
        numbers
    }

    #[test]
    fn each_endpoint_begins_with_what_was_held_while_frames_come_in() {
        let queues = Arc::new(Queues::new(LIMITS));
        let enough = Arc::new(AtomicBool::new(false));
        let offering = {
            let (queues, enough) = (Arc::clone(&queues), Arc::clone(&enough));
            thread::spawn(move || {
                let mut offered = 0;
                while !enough.load(Ordering::Relaxed) && offered < 50_000 {
                    queues.offer(&frame(offered));
                    offered += 1;
                }
                offered
            })
        };
        let looking = {
            let (queues, enough) = (Arc::clone(&queues), Arc::clone(&enough));
            thread::spawn(move || {
                let mut before = Ledger::default();
                while !enough.load(Ordering::Relaxed) {
                    let ledger = queues.ledger();
                    assert!(ledger.balances(), "{ledger:?}");
                    assert!(
                        ledger.offered >= before.offered,
                        "{ledger:?} after {before:?}"
                    );
                    before = ledger;
                }
            })
        };
        while queues.ledger().offered < 1000 {
            thread::yield_now();
        }
        let held = queues.one();
        let [one, two] = exchange(&queues, &held, [1, 2]);
        while spawn(poll_fn(|cx| held.poll_closed(cx)))
            .poll()
            .is_pending()
        {
            thread::yield_now();
        }
        queues.hand_on(&held);
        while queues.ledger().offered < 10_000 {
            thread::yield_now();
        }
        enough.store(true, Ordering::Relaxed);
        let offered = offering.join().expect("no panic");
        looking.join().expect("no panic");
        for queue in [one, two] {
            assert!(write(&queue).into_iter().eq(0..offered));
        }
        let ledger = queues.ledger();
        assert_eq!(ledger.delivered, 2 * u64::from(offered));
        assert!(ledger.balances());
        assert_eq!(queues.endpoints().len(), 2);
    }

    #[test]
    fn no_chunk_slips_between_those_that_go_and_those_that_come() {
        let queues = Arc::new(Queues::new(LIMITS));
        let enough = Arc::new(AtomicBool::new(false));
        let offering = {
            let (queues, enough) = (Arc::clone(&queues), Arc::clone(&enough));
            thread::spawn(move || {
                let mut offered = 0;
                while !enough.load(Ordering::Relaxed) {
                    queues.offer(&frame(offered));
                    offered += 1;
                }
                offered
            })
        };
        let mut all = vec![queues.one()];
        for round in 0..5000_u16 {
            let last = &all[all.len() - 1];
            let [next] = exchange(&queues, last, [u8::from(round % 2 == 1)]);
            all.push(next);
        }
        enough.store(true, Ordering::Relaxed);
        let offered = offering.join().expect("no panic");
        let written: Vec<_> = all.iter().flat_map(write).collect();
        assert!(written.into_iter().eq(0..offered), "each once, in order");
        assert_eq!(queues.ledger().offered, u64::from(offered));
    }

    #[test]
    fn an_endpoint_that_leaves_stays_in_the_sums() {
        let queues = Queues::new(LIMITS);
        let held = queues.one();
        queues.offer(&frame(0));
        write(&held);
        let [one, two] = exchange(&queues, &held, [1, 2]);
        queues.hand_on(&held);
        queues.offer(&frame(1));
        assert_eq!(
            (queues.ledger().offered, queues.limits().frames),
            (3, 200_000)
        );
        write(&one);
        exchange(&queues, &two, []);
        queues.offer(&frame(2));
        queues.close_books();
        assert_eq!(queues.endpoints().len(), 2, "it still holds something");
        two.abandon(DropReason::EndpointGone);
        queues.close_books();
        assert_eq!(queues.endpoints().len(), 1);
        let ledger = queues.ledger();
        assert_eq!(
            (
                ledger.offered,
                ledger.delivered,
                ledger.queued,
                ledger.dropped(DropReason::EndpointGone)
            ),
            (4, 2, 1, 1)
        );
        assert_eq!(queues.latency().counts().iter().sum::<u64>(), 2);
        assert_eq!(queues.oldest(), one.oldest());
    }

    #[test]
    fn the_queue_that_is_furthest_behind_goes_on_alone() {
        let queues = Queues::new(LIMITS);
        let held = queues.one();
        let all = exchange(&queues, &held, [1, 2, 3]);
        queues.hand_on(&held);
        queues.offer(&frame(0));
        queues.offer(&frame(1));
        write(&all[0]);
        let mut taken = take(&all[2]).expect("two frames");
        let _ = taken.begin();
        taken.settle(Progress {
            frames: 1,
            ..Progress::default()
        });
        let one = queues.one();
        assert!(Arc::ptr_eq(&one, &all[1]));
        assert!(queues.endpoints().is_empty());
        queues.offer(&frame(2));
        assert_eq!(write(&one), [0, 1, 2]);
        let ledger = queues.ledger();
        assert_eq!(ledger.dropped(DropReason::EndpointGone), 1);
        assert_eq!((ledger.offered, ledger.delivered), (7, 6));
    }

    #[test]
    fn one_that_comes_after_the_end_is_closed() {
        let queues = Queues::new(LIMITS);
        queues.close();
        let [late] = exchange(&queues, &queues.one(), [1]);
        assert!(spawn(poll_fn(|cx| late.poll_end(cx))).poll().is_ready());
        assert!(take(&queues.one()).is_none());
    }
}
