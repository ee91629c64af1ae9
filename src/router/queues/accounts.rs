//! The accounts of a sink's queues: the current queues, and the sums of the former ones.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use tokio::sync::Notify;

use super::super::{Latency, Ledger, Limits, Losses, Queue};

/// The account of one endpoint that has a queue of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAccount {
    /// Its address, as in the sink's status: `tcp://192.0.2.1:6000`.
    pub address: Arc<str>,
    /// Its ledger, which balances.
    pub ledger: Ledger,
    /// The time at which the oldest frame in its queue was read from its sender.
    pub oldest: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(crate) struct EndpointQueue {
    pub(crate) queue: Arc<Queue>,
    /// Its endpoint; `None` for the single queue of all endpoints.
    pub(crate) address: Option<SocketAddr>,
    pub(super) label: Arc<str>,
    /// True while chunks are offered to it.
    pub(crate) offered: bool,
}

#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) limits: Limits,
    pub(super) entries: Vec<EndpointQueue>,
    /// True when nothing more will be offered to it.
    pub(super) closed: bool,
    /// Notified when frames are counted as dropped.
    pub(super) lost: Arc<Notify>,
    /// The sums of the former queues.
    past: Sums,
}

/// The counts of several queues together.
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
            closed: false,
            lost: Arc::default(),
            past: Sums::default(),
        }
    }

    /// Adds an empty queue. It gets chunks only after it is published.
    pub(super) fn add(&mut self, address: Option<SocketAddr>, label: Arc<str>) -> Arc<Queue> {
        let queue = Arc::new(Queue::reporting_to(self.limits, Arc::clone(&self.lost)));
        self.entries.push(EndpointQueue {
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

    /// The counts of all queues, including the former ones.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = self.past.clone();
        for entry in &self.entries {
            sums.add(&entry.queue);
        }
        sums
    }

    /// The queue with the oldest frame among those that chunks are offered to. If all are empty, it is any of them.
    pub(super) fn furthest_behind(&self) -> Option<Arc<Queue>> {
        let offered = self.entries.iter().filter(|entry| entry.offered);
        let furthest = offered.min_by_key(|entry| {
            let oldest = entry.queue.oldest();
            // An empty queue must come last; `None` alone would come first.
            (oldest.is_none(), oldest)
        });
        furthest.map(|entry| Arc::clone(&entry.queue))
    }

    /// Adds the counts of finished queues to the sums of the former ones, and removes these queues.
    pub(super) fn retire_finished(&mut self) {
        self.entries.retain(|EndpointQueue { queue, offered, .. }| {
            // The counts of a queue can change as long as chunks are offered to it.
            let stays = *offered || !queue.is_finished();
            if !stays {
                self.past.add(queue);
            }
            stays
        });
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
