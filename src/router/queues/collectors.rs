//! The queues of a sink that waits for collectors: one for each collector that is connected.

use std::{mem::take, sync::Arc};

use super::{
    super::{DropReason, Queue, contents::Lifecycle},
    Queues,
    accounts::{Accounts, EndpointQueue, QueueUser, SocketId},
};

impl Queues {
    /// Adds an empty queue for a collector that has connected at a socket. It gets the chunks from now on. `label`
    /// makes the text of the collector in the status from its number among all collectors that the sink has had.
    pub(crate) fn admit(
        &self,
        socket: SocketId,
        label: impl FnOnce(u64) -> Arc<str>,
    ) -> (Arc<Queue>, Arc<str>) {
        let mut accounts = self.accounts.lock();
        let entries = accounts.entries.iter_mut();
        for nobody in entries.filter(|entry| entry.user == QueueUser::Nobody) {
            nobody.offered = false;
        }
        accounts.collectors += 1;
        let label = label(accounts.collectors);
        let queue = accounts.add(QueueUser::Collector(socket), Arc::clone(&label));
        self.publish(&accounts);
        accounts.retire_finished();
        (queue, label)
    }

    /// Removes the queue of a collector whose connection has ended. The frames in it are excluded if the collector
    /// `left`, and lost otherwise.
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

    /// Takes the queues of the collectors at a socket out of use. Each of them is closed as soon as no thread offers to
    /// it any more, and may still hold frames.
    pub(crate) fn vacate(&self, socket: SocketId) {
        let mut accounts = self.accounts.lock();
        let user = QueueUser::Collector(socket);
        accounts.withdraw(|entry| entry.user == user);
        add_nobody(&mut accounts);
        self.publish(&accounts);
        accounts.retire_finished();
    }

    /// Begins to wait for collectors, after the sink has connected to its collector until now. From the next chunk on,
    /// frames are offered only to collectors. The frames that wait in the old queues are [given
    /// up](Self::give_up_former) later, because the former task of the sink still uses these queues.
    pub(crate) fn begin_to_wait(&self) {
        let mut accounts = self.accounts.lock();
        for entry in &mut accounts.entries {
            if matches!(entry.user, QueueUser::Sink | QueueUser::Endpoint(_)) {
                entry.user = QueueUser::Former;
                entry.offered = false;
            }
        }
        add_nobody(&mut accounts);
        self.publish(&accounts);
        accounts.retire_finished();
    }

    /// Begins to connect, after the sink has waited for collectors until now. From the next chunk on, frames wait in a
    /// single queue. The collectors that are connected get the frames that are already in their queues.
    pub(crate) fn begin_to_dial(&self) {
        let mut accounts = self.accounts.lock();
        accounts
            .withdraw(|entry| matches!(entry.user, QueueUser::Collector(_) | QueueUser::Nobody));
        if !accounts.entries.iter().any(|entry| entry.offered) {
            accounts.add(QueueUser::Sink, "".into());
        }
        self.publish(&accounts);
        accounts.retire_finished();
    }

    /// Counts the frames that the former task of the sink has left in queues that no other task can continue as lost.
    /// These are also the queues of the collectors at `socket`. The former task must have ended.
    pub(crate) fn give_up_former(&self, socket: Option<SocketId>) {
        let of_socket = socket.map(QueueUser::Collector);
        let mut accounts = self.accounts.lock();
        let (mut former, mut is_published) = (Vec::new(), false);
        for entry in &mut accounts.entries {
            if entry.user == QueueUser::Former || Some(entry.user) == of_socket {
                is_published |= entry.offered;
                entry.offered = false;
                former.push(Arc::clone(&entry.queue));
            }
        }
        if is_published {
            add_nobody(&mut accounts);
            self.publish(&accounts);
        }
        for queue in former {
            queue.abandon(DropReason::EndpointGone);
        }
        accounts.retire_finished();
    }

    /// Waits until the router offers nothing more to the sink. Cancel safe.
    pub(crate) async fn closed(&self) {
        let closed = self.accounts.lock().closed.clone();
        closed.cancelled().await;
    }
}

// === impl Queue ===

impl Queue {
    /// Excludes the frames of the queue, and all frames that are pushed later. Does nothing if the queue was
    /// abandoned.
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

// === impl Accounts ===

impl Accounts {
    /// Marks some queues as no longer offered.
    fn withdraw(&mut self, is_gone: impl Fn(&EndpointQueue) -> bool) {
        for entry in &mut self.entries {
            entry.offered &= !is_gone(entry);
        }
    }
}

/// Adds a queue that counts chunks, if they are offered to no queue.
fn add_nobody(accounts: &mut Accounts) {
    if !accounts.entries.iter().any(|entry| entry.offered) {
        accounts.add(QueueUser::Nobody, "".into());
    }
}
