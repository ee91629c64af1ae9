//! The queues of one sink, and their sums.

mod accounts;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Instant};

pub(crate) use accounts::EndpointAccount;
use accounts::{Accounts, EndpointQueue};

use super::{
    DropReason, Latency, Ledger, Limits, Losses, Queue,
    inlets::{Close, Inlet, Inlets},
};
use crate::{frame_stream::Chunk, lock::Mutex};

/// The queues of one sink: a single queue, or with `endpoints all` a queue for each endpoint. This value can outlive
/// the sink.
///
/// The ledger, the losses and the latency are sums over all queues, including those of former endpoints. So no counter
/// ever decreases, and the ledger [balances](Ledger::balances).
#[derive(Debug)]
pub struct Queues {
    /// The queues that chunks are offered to.
    inlets: Inlets<Queue>,
    accounts: Mutex<Accounts>,
}

// === impl Queues ===

impl Queues {
    /// A single queue, for all endpoints. A queue that is added later has the same limits.
    pub fn new(limits: Limits) -> Self {
        let queues = Self {
            inlets: Inlets::default(),
            accounts: Mutex::new(Accounts::new(limits)),
        };
        {
            let mut accounts = queues.accounts.lock();
            accounts.add(None, "".into());
            queues.publish(&accounts);
        }
        queues
    }

    /// The sink's current ledger.
    pub fn ledger(&self) -> Ledger {
        self.accounts.lock().sums().ledger
    }

    /// The latencies of the frames that were delivered.
    pub fn latency(&self) -> Latency {
        self.accounts.lock().sums().latency
    }

    /// The frames that were dropped because there was no room, by sender.
    pub fn losses(&self) -> Losses {
        self.accounts.lock().sums().losses
    }

    /// Waits until frames have been dropped since the last call. Only one task may wait at a time.
    pub(crate) async fn have_lost(&self) {
        let lost = Arc::clone(&self.accounts.lock().lost);
        lost.notified().await;
    }

    /// The time at which the oldest frame in any of the queues was read from its sender.
    pub fn oldest(&self) -> Option<Instant> {
        let accounts = self.accounts.lock();
        let queues = accounts.entries.iter();
        queues.filter_map(|entry| entry.queue.oldest()).min()
    }

    /// The bounds of all queues together.
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

    /// With `endpoints all`, the account of each endpoint that has its own queue. Otherwise it is empty.
    pub fn endpoints(&self) -> Vec<EndpointAccount> {
        let accounts = self.accounts.lock();
        let own = accounts
            .entries
            .iter()
            .filter(|entry| entry.address.is_some());
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

    /// Offers `chunk` to every queue. Never waits.
    pub(super) fn offer(&self, chunk: &Chunk) {
        for queue in self.inlets.load().iter() {
            queue.push(chunk);
        }
    }

    /// Counts `frames` as offered to every queue and lost.
    #[cfg(feature = "tap")]
    pub(super) fn lose(&self, reason: DropReason, frames: u64) {
        for queue in self.inlets.load().iter() {
            queue.lose(reason, frames);
        }
    }

    /// The queues that chunks are offered to. A queue is not closed while its inlet exists.
    pub(super) fn inlets(&self) -> Vec<Arc<Inlet<Queue>>> {
        self.inlets.load().to_vec()
    }

    /// Closes every queue, also those that are added later. Nothing more will be offered.
    pub(crate) fn close(&self) {
        let mut accounts = self.accounts.lock();
        accounts.closed = true;
        for entry in &accounts.entries {
            entry.queue.close();
        }
    }

    /// Ends every queue. Its frames, and all frames that are offered later, are counted as lost to the shutdown.
    pub(crate) fn abandon(&self) {
        for entry in &self.accounts.lock().entries {
            entry.queue.abandon(DropReason::Shutdown);
        }
    }

    /// Returns to a single queue for all endpoints. The queues hold mostly the same frames, so only the queue that is
    /// furthest behind stays. The frames that only other queues hold are counted as lost with their endpoints.
    ///
    /// The queues must not have a consumer.
    pub(crate) fn one(&self) -> Arc<Queue> {
        let mut accounts = self.accounts.lock();
        let Some(stays) = accounts.furthest_behind() else {
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
        accounts.retire_finished();
        stays
    }

    /// All queues, including those of former endpoints that still hold frames.
    pub(crate) fn entries(&self) -> Vec<EndpointQueue> {
        self.accounts.lock().entries.clone()
    }

    /// Changes the name by which an endpoint is shown.
    pub(crate) fn relabel(&self, address: SocketAddr, label: &Arc<str>) {
        for entry in &mut self.accounts.lock().entries {
            if entry.address == Some(address) {
                entry.label = Arc::clone(label);
            }
        }
    }

    /// Replaces the queues `gone` with an empty queue for each of the endpoints `come`. Returns the new queues, in the
    /// order of their endpoints.
    ///
    /// Each chunk is offered either to the old queues or to the new ones, never to both. An old queue is closed as soon
    /// as the last offer to it is over.
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
        let queues = come.map(|(address, label)| accounts.add(Some(address), label));
        let queues = queues.collect();
        self.publish(&accounts);
        queues
    }

    /// Moves the frames of `from` to every queue that chunks are offered to, in front of the frames there. `from` must
    /// be closed, and the other queues must not have a consumer yet.
    pub(crate) fn hand_over(&self, from: &Arc<Queue>) {
        // The accounts stay locked, so that a concurrent reader of the sums counts the frames exactly once.
        let mut accounts = self.accounts.lock();
        let withdrawn = from.withdraw();
        for entry in accounts.entries.iter().filter(|entry| entry.offered) {
            entry.queue.prepend(&withdrawn);
        }
        accounts.retire_finished();
    }

    /// Adds the counts of finished queues to the sums of the former ones, and removes these queues.
    pub(crate) fn retire_finished(&self) {
        self.accounts.lock().retire_finished();
    }

    /// From the next chunk on, offers go to the queues that are marked as offered in `accounts`.
    fn publish(&self, accounts: &Accounts) {
        let offered = accounts.entries.iter().filter(|entry| entry.offered);
        self.inlets
            .replace(offered.map(|entry| Arc::clone(&entry.queue)));
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
