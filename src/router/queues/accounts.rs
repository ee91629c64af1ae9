//! The accounts of a sink's queues: the queues that exist now, and the sums over the former queues.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::{Latency, Ledger, Limits, Losses, Queue};

/// The account of an endpoint that has a queue of its own, as every endpoint has with `endpoints all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAccount {
    /// The address of the endpoint, as the sink's status shows it: `tcp://192.0.2.1:6000`.
    pub address: Arc<str>,
    /// The ledger of the queue. It balances.
    pub ledger: Ledger,
    /// The time at which the oldest frame in the queue was read from its sender.
    pub oldest: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(crate) struct EndpointQueue {
    pub(crate) queue: Arc<Queue>,
    pub(crate) user: QueueUser,
    pub(super) label: Arc<str>,
    /// True while the router offers chunks to this queue.
    pub(crate) offered: bool,
}

/// The user of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueUser {
    /// All endpoints of the sink share the queue.
    Sink,
    /// The endpoint with this address.
    Endpoint(SocketAddr),
    /// A collector that has connected to the sink, at this of its sockets.
    Collector(SocketId),
    /// The sink connected to its collector until a reload, and waits for collectors since then. The frames are given up
    /// when the former task of the sink has ended.
    Former,
    /// The sink waits for collectors, and none is connected. The queue only counts frames.
    Nobody,
}

/// The number of a socket at which collectors connect. A reload can give a sink another socket while collectors are
/// connected at the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketId(u64);

#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) limits: Limits,
    pub(super) entries: Vec<EndpointQueue>,
    /// Cancelled when the router will offer nothing more to the sink.
    pub(super) closed: CancellationToken,
    /// Notified when frames are counted as dropped.
    pub(super) lost: Arc<Notify>,
    /// The number of collectors that have connected to the sink.
    pub(super) collectors: u64,
    /// The sums over the former queues.
    past: Sums,
}

/// The sums of the counts of several queues.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) ledger: Ledger,
    pub(super) latency: Latency,
    pub(super) losses: Losses,
}

// === impl Accounts ===

impl Accounts {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Vec::new(),
            closed: CancellationToken::new(),
            lost: Arc::default(),
            collectors: 0,
            past: Sums::default(),
        }
    }

    /// Adds an empty queue. The router offers chunks to it only after it is published.
    pub(super) fn add(&mut self, user: QueueUser, label: Arc<str>) -> Arc<Queue> {
        let lost = Arc::clone(&self.lost);
        let queue = match user {
            QueueUser::Nobody => Queue::for_nobody(self.limits, lost),
            _ => Queue::reporting_to(self.limits, lost),
        };
        self.add_queue(queue, user, label)
    }

    /// Adds a queue for all endpoints, with a spool in which the frames `found` already wait.
    pub(super) fn add_with_spool(&mut self, found: Range<u64>) -> Arc<Queue> {
        let queue = Queue::with_spool(self.limits, Arc::clone(&self.lost), found);
        self.add_queue(queue, QueueUser::Sink, "".into())
    }

    fn add_queue(&mut self, queue: Queue, user: QueueUser, label: Arc<str>) -> Arc<Queue> {
        let queue = Arc::new(queue);
        self.entries.push(EndpointQueue {
            queue: Arc::clone(&queue),
            user,
            label,
            offered: true,
        });
        if self.closed.is_cancelled() {
            queue.close();
        }
        queue
    }

    /// Returns the sums of the counts of all queues, including the former ones.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = self.past.clone();
        for entry in &self.entries {
            sums.add(&entry.queue);
        }
        sums
    }

    /// Returns the queue with the oldest frame, among the queues to which chunks are offered. If all of them are empty,
    /// returns any of them. Queues of collectors do not count.
    pub(super) fn furthest_behind(&self) -> Option<Arc<Queue>> {
        let offered = self.entries.iter().filter(|entry| {
            entry.offered && matches!(entry.user, QueueUser::Sink | QueueUser::Endpoint(_))
        });
        let furthest = offered.min_by_key(|entry| {
            let oldest = entry.queue.oldest();
            // `oldest` is `None` for an empty queue, and `None` is less than any time. So the key begins with
            // `is_none()`, which puts empty queues last.
            (oldest.is_none(), oldest)
        });
        furthest.map(|entry| Arc::clone(&entry.queue))
    }

    /// Removes the queues that have ended, after adding their counts to the sums over the former queues.
    pub(super) fn retire_finished(&mut self) {
        self.entries.retain(|EndpointQueue { queue, offered, .. }| {
            // As long as chunks are offered to a queue, its counts can change.
            let stays = *offered || !queue.is_finished();
            if !stays {
                self.past.add(queue);
            }
            stays
        });
    }
}

// === impl SocketId ===

impl SocketId {
    /// Returns a number that no other socket has.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

// === impl EndpointQueue ===

impl EndpointQueue {
    /// Returns the address of the endpoint that has this queue; `None` if it is not the queue of an endpoint.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.user {
            QueueUser::Endpoint(address) => Some(address),
            QueueUser::Sink | QueueUser::Collector(_) | QueueUser::Former | QueueUser::Nobody => {
                None
            }
        }
    }
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, queue: &Queue) {
        self.ledger.add(&queue.ledger());
        self.latency.add(&queue.latency());
        self.losses.add(&queue.losses());
    }
}
