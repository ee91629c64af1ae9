//! The queues of one sink, and the sums of their counts.

mod accounts;
mod collectors;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Instant};

use accounts::{Accounts, EndpointQueue};
pub(crate) use accounts::{EndpointAccount, QueueUser, SocketId};

use super::{
    DropReason, Latency, Ledger, Limits, Losses, Queue, SpoolCounts,
    inlets::{Close, Inlet, Inlets},
    offer::Offer,
};
use crate::{frame_stream::Chunk, lock::Mutex};

/// The queues of one sink. The sink has a single queue, or with `endpoints all` one queue for each endpoint. This value
/// can outlive the sink.
///
/// The ledger, the losses and the latency are sums over all queues, including the queues of former endpoints. So no
/// counter ever decreases, and the ledger [balances](Ledger::balances).
#[derive(Debug)]
pub struct Queues {
    /// The queues to which chunks are offered.
    inlets: Inlets<Queue>,
    accounts: Mutex<Accounts>,
}

// === impl Queues ===

impl Queues {
    /// Creates a single queue for all endpoints. Queues that are added later have the same limits.
    pub fn new(limits: Limits) -> Self {
        Self::with(limits, |accounts| accounts.add(QueueUser::Sink, "".into()))
    }

    /// Creates the queues of a sink that waits for collectors. Each collector gets one; no collector is connected yet.
    pub(crate) fn for_collectors(limits: Limits) -> Self {
        Self::with(limits, |accounts| {
            accounts.add(QueueUser::Nobody, "".into())
        })
    }

    /// Creates a single queue with a spool in which the frames `found` already wait.
    pub(crate) fn with_spool(limits: Limits, found: Range<u64>) -> Self {
        Self::with(limits, |accounts| accounts.add_with_spool(found))
    }

    fn with(limits: Limits, add: impl FnOnce(&mut Accounts) -> Arc<Queue>) -> Self {
        let queues = Self {
            inlets: Inlets::default(),
            accounts: Mutex::new(Accounts::new(limits)),
        };
        {
            let mut accounts = queues.accounts.lock();
            add(&mut accounts);
            queues.publish(&accounts);
        }
        queues
    }

    /// Returns the counts of the frames in the sink's spool. `None` without a spool.
    pub(crate) fn spool_counts(&self) -> Option<SpoolCounts> {
        let accounts = self.accounts.lock();
        let mut queues = accounts.entries.iter();
        queues.find_map(|entry| entry.queue.spool_counts())
    }

    /// Returns the sink's current ledger.
    pub fn ledger(&self) -> Ledger {
        self.accounts.lock().sums().ledger
    }

    /// Returns the latencies of the frames that were delivered.
    pub fn latency(&self) -> Latency {
        self.accounts.lock().sums().latency
    }

    /// Returns the frames that were dropped because there was no room, by sender.
    pub fn losses(&self) -> Losses {
        self.accounts.lock().sums().losses
    }

    /// Waits until a frame has been dropped since the last call. Only one task may wait at a time.
    pub(crate) async fn have_lost(&self) {
        let lost = Arc::clone(&self.accounts.lock().lost);
        lost.notified().await;
    }

    /// Returns the time at which the oldest frame in any of the queues was read from its sender.
    pub fn oldest(&self) -> Option<Instant> {
        let accounts = self.accounts.lock();
        let queues = accounts.entries.iter();
        queues.filter_map(|entry| entry.queue.oldest()).min()
    }

    /// Returns the time at which the oldest unconfirmed frame of any queue was read from its sender.
    pub fn oldest_unconfirmed(&self) -> Option<Instant> {
        let accounts = self.accounts.lock();
        let queues = accounts.entries.iter();
        queues
            .filter_map(|entry| entry.queue.oldest_unconfirmed())
            .min()
    }

    /// Returns the sum of the bounds of all queues.
    pub fn limits(&self) -> Limits {
        let accounts = self.accounts.lock();
        let queues = accounts.entries.iter().map(|entry| entry.queue.limits());
        queues
            .reduce(|one, other| Limits {
                frames: one.frames.saturating_add(other.frames),
                bytes: one.bytes.saturating_add(other.bytes),
            })
            .unwrap_or(accounts.limits)
    }

    /// Returns the account of each endpoint that has its own queue, as with `endpoints all`, or of each collector that is
    /// connected to a sink that waits for collectors. For other sinks, the list is empty.
    pub fn endpoints(&self) -> Vec<EndpointAccount> {
        let accounts = self.accounts.lock();
        let own = accounts
            .entries
            .iter()
            .filter(|entry| matches!(entry.user, QueueUser::Endpoint(_) | QueueUser::Collector(_)));
        let own = own.map(|entry| EndpointAccount {
            address: Arc::clone(&entry.label),
            ledger: entry.queue.ledger(),
            oldest: entry.queue.oldest(),
        });
        own.collect()
    }

    /// Changes the bounds of each queue. Frames that are already in a queue stay there.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut accounts = self.accounts.lock();
        accounts.limits = limits;
        for entry in &accounts.entries {
            entry.queue.set_limits(limits);
        }
    }

    /// Offers the frames of `chunk` to every queue. Never waits.
    pub(super) fn offer(&self, chunk: &Chunk) {
        for (queue, ()) in self.inlets.load().iter() {
            queue.push(chunk);
        }
    }

    /// Offers the frames of a chunk that have passed the filter of the sink to every queue, and counts the others. Never
    /// waits.
    pub(super) fn put(&self, offer: &Offer<'_>) {
        for (queue, ()) in self.inlets.load().iter() {
            offer.put_into(queue, Queue::push);
        }
    }

    /// Returns whether another thread is using one of the queues now.
    #[cfg(feature = "tap")]
    pub(super) fn is_in_use(&self) -> bool {
        let inlets = self.inlets.load();
        inlets.iter().any(|(queue, ())| queue.is_in_use())
    }

    /// Counts `frames` as offered to every queue and lost by every queue.
    #[cfg(feature = "tap")]
    pub(super) fn lose(&self, reason: DropReason, frames: u64) {
        for (queue, ()) in self.inlets.load().iter() {
            queue.lose(reason, frames);
        }
    }

    /// Returns the queues to which chunks are offered, each with the guard that keeps it open.
    pub(super) fn inlets(&self) -> Vec<Arc<Inlet<Queue>>> {
        let inlets = self.inlets.load();
        inlets.iter().map(|(queue, ())| Arc::clone(queue)).collect()
    }

    /// Closes every queue, including the queues that are added later. The router will offer nothing more to them.
    pub(crate) fn close(&self) {
        let accounts = self.accounts.lock();
        accounts.closed.cancel();
        for entry in &accounts.entries {
            entry.queue.close();
        }
    }

    /// Ends every queue. All frames of these queues, and all frames that are offered later, are counted as lost because
    /// of the shutdown. Frames in a spool stay there and count as queued.
    pub(crate) fn abandon(&self) {
        for entry in &self.accounts.lock().entries {
            entry.queue.abandon(DropReason::Shutdown);
        }
    }

    /// Replaces the queues of the endpoints by a single queue for all endpoints. Only the queue with the oldest frame
    /// stays, because the queues hold mostly the same frames. The other queues end, and count their frames as lost.
    ///
    /// The queues must not have a consumer.
    pub(crate) fn one(&self) -> Arc<Queue> {
        let mut accounts = self.accounts.lock();
        let stays = accounts.furthest_behind();
        let stays = stays.unwrap_or_else(|| accounts.add(QueueUser::Sink, "".into()));
        for entry in &mut accounts.entries {
            entry.offered = Arc::ptr_eq(&entry.queue, &stays);
            if entry.offered {
                entry.user = QueueUser::Sink;
            }
        }
        self.publish(&accounts);
        let gone = accounts.entries.iter().filter(|entry| !entry.offered);
        // A queue that only counts frames holds none. A thread that still offers to it must find it as it is.
        for entry in gone.filter(|entry| entry.user != QueueUser::Nobody) {
            entry.queue.abandon(DropReason::EndpointGone);
        }
        accounts.retire_finished();
        stays
    }

    /// Returns all queues. A queue of a former endpoint is included as long as it holds frames.
    pub(crate) fn entries(&self) -> Vec<EndpointQueue> {
        self.accounts.lock().entries.clone()
    }

    /// Changes the text that people see for an endpoint.
    pub(crate) fn relabel(&self, address: SocketAddr, label: &Arc<str>) {
        for entry in &mut self.accounts.lock().entries {
            if entry.user == QueueUser::Endpoint(address) {
                entry.label = Arc::clone(label);
            }
        }
    }

    /// Replaces the queues in `gone` by empty queues, one for each endpoint in `come`. Returns the new queues, in the
    /// order of their endpoints.
    ///
    /// Each chunk is offered either to the old queues or to the new queues, never to both. An old queue is closed as
    /// soon as no thread offers to it any more.
    pub(crate) fn exchange(
        &self,
        gone: &[Arc<Queue>],
        come: impl IntoIterator<Item = (SocketAddr, Arc<str>)>,
    ) -> Vec<Arc<Queue>> {
        let mut accounts = self.accounts.lock();
        for entry in &mut accounts.entries {
            entry.offered &= !gone.iter().any(|queue| Arc::ptr_eq(&entry.queue, queue));
        }
        let come = come.into_iter();
        let queues = come.map(|(address, label)| accounts.add(QueueUser::Endpoint(address), label));
        let queues = queues.collect();
        self.publish(&accounts);
        queues
    }

    /// Moves the frames of `from` to every queue to which chunks are offered, in front of the frames that are already
    /// there. `from` must be closed, and the other queues must not have a consumer yet.
    pub(crate) fn hand_over(&self, from: &Arc<Queue>) {
        // The accounts stay locked during the move, so that a thread that reads the sums in the meantime counts each
        // frame exactly once.
        let mut accounts = self.accounts.lock();
        let withdrawn = from.withdraw();
        for entry in accounts.entries.iter().filter(|entry| entry.offered) {
            entry.queue.prepend(&withdrawn);
        }
        accounts.retire_finished();
    }

    /// Removes the queues that have ended, after adding their counts to the sums over the former queues.
    pub(crate) fn retire_finished(&self) {
        self.accounts.lock().retire_finished();
    }

    /// Makes the router offer chunks to the queues that are marked as offered in `accounts`, from the next chunk on.
    fn publish(&self, accounts: &Accounts) {
        let offered = accounts.entries.iter().filter(|entry| entry.offered);
        self.inlets
            .replace(offered.map(|entry| (Arc::clone(&entry.queue), ())));
    }
}

impl Close for Queues {
    fn close(&self) {
        Queues::close(self);
    }
}

impl Close for Queue {
    fn close(&self) {
        Queue::close(self);
    }
}
