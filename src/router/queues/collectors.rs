//! The queues of a sink that waits for collectors: one for each collector that is connected.

use std::{mem::take, sync::Arc};

use super::{
    super::{DropReason, Queue, contents::Lifecycle},
    Queues,
    accounts::{Accounts, QueueUser},
};

impl Queues {
    /// Adds an empty queue for a collector that has connected. It gets the chunks from now on.
    pub(crate) fn admit(&self, label: Arc<str>) -> Arc<Queue> {
        let mut accounts = self.accounts.lock();
        let entries = accounts.entries.iter_mut();
        for nobody in entries.filter(|entry| entry.user == QueueUser::Nobody) {
            nobody.offered = false;
        }
        let queue = accounts.add(QueueUser::Collector, label);
        self.publish(&accounts);
        accounts.retire_finished();
        queue
    }

    /// Removes the queue of a collector whose connection has ended. The frames in it are excluded if the collector `left`,
    /// and lost otherwise.
    ///
    /// Each chunk is offered to this queue or counted as offered to nobody, never both.
    pub(crate) fn dismiss(&self, queue: &Arc<Queue>, left: bool) {
        let mut accounts = self.accounts.lock();
        let mut entries = accounts.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| Arc::ptr_eq(&entry.queue, queue)) {
            entry.offered = false;
        }
        add_nobody(&mut accounts);
        self.publish(&accounts);
        if left {
            queue.release();
        } else {
            queue.abandon(DropReason::EndpointGone);
        }
        accounts.retire_finished();
    }

    /// Takes all queues out of use, so that frames are only counted. Returns the queues that were in use. They are closed
    /// as soon as no thread offers to them any more, and may still hold frames.
    pub(crate) fn vacate(&self) -> Vec<Arc<Queue>> {
        let mut accounts = self.accounts.lock();
        let mut vacated = Vec::new();
        let entries = accounts.entries.iter_mut();
        for entry in entries.filter(|entry| entry.user != QueueUser::Nobody) {
            entry.offered = false;
            vacated.push(Arc::clone(&entry.queue));
        }
        add_nobody(&mut accounts);
        self.publish(&accounts);
        accounts.retire_finished();
        vacated
    }

    /// Waits until the router offers nothing more to the sink. Cancel safe.
    pub(crate) async fn closed(&self) {
        let closed = self.accounts.lock().closed.clone();
        closed.cancelled().await;
    }
}

// === impl Queue ===

impl Queue {
    /// Excludes the frames of the queue, and all frames that are pushed later. Does nothing if the queue was abandoned.
    fn release(&self) {
        let mut contents = self.lock();
        if contents.is_abandoned() {
            return;
        }
        let ledger = &mut contents.ledger;
        let rest = take(&mut ledger.queued) + take(&mut ledger.in_flight);
        ledger.count_no_collector(rest);
        // This clears the queue. It counts no frame as lost, because the ledger has no frame left.
        contents.abandon(DropReason::EndpointGone);
        contents.lifecycle = Lifecycle::NoCollector;
    }
}

/// Adds a queue that counts chunks, if they are offered to no queue.
fn add_nobody(accounts: &mut Accounts) {
    if !accounts.entries.iter().any(|entry| entry.offered) {
        accounts.add(QueueUser::Nobody, "".into());
    }
}
