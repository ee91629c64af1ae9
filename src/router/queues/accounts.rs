//! The accounts of a sink's queues: the current queues, and the sums of the former ones.

use std::{net::SocketAddr, sync::Arc, time::Instant};

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

/// A queue and its endpoint.
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
    limits: Limits,
    entries: Vec<EndpointQueue>,
    /// True once nothing more will be offered.
    closed: bool,
    /// The sums of the former queues.
    past: Past,
}

#[derive(Debug, Default)]
struct Past {
    ledger: Ledger,
    latency: Latency,
    losses: Losses,
}

// === impl Accounts ===

impl Accounts {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Vec::new(),
            closed: false,
            past: Past::default(),
        }
    }

    /// Adds an empty queue. It gets chunks only after it is published.
    pub(super) fn add(&mut self, address: Option<SocketAddr>, label: Arc<str>) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(self.limits));
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

    pub(super) fn entries(&self) -> &[EndpointQueue] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [EndpointQueue] {
        &mut self.entries
    }

    pub(super) fn ledger(&self) -> Ledger {
        let mut sum = self.past.ledger.clone();
        for entry in &self.entries {
            sum.add(&entry.queue.ledger());
        }
        sum
    }

    pub(super) fn latency(&self) -> Latency {
        let mut sum = self.past.latency.clone();
        for entry in &self.entries {
            sum.add(&entry.queue.latency());
        }
        sum
    }

    pub(super) fn losses(&self) -> Losses {
        let mut sum = self.past.losses.clone();
        for entry in &self.entries {
            sum.add(&entry.queue.losses());
        }
        sum
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        let queues = self.entries.iter();
        queues.filter_map(|entry| entry.queue.oldest()).min()
    }

    pub(super) fn limits(&self) -> Limits {
        let queues = self.entries.iter().map(|entry| entry.queue.limits());
        queues
            .reduce(|one, other| Limits {
                frames: one.frames.saturating_add(other.frames),
                bytes: one.bytes.saturating_add(other.bytes),
            })
            .unwrap_or(self.limits)
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for entry in &self.entries {
            entry.queue.set_limits(limits);
        }
    }

    pub(super) fn endpoints(&self) -> Vec<EndpointAccount> {
        let own = self.entries.iter().filter(|entry| entry.address.is_some());
        let accounts = own.map(|entry| EndpointAccount {
            address: Arc::clone(&entry.label),
            ledger: entry.queue.ledger(),
            oldest: entry.queue.oldest(),
        });
        accounts.collect()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        for entry in &self.entries {
            entry.queue.close();
        }
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
        let Past {
            ledger,
            latency,
            losses,
        } = &mut self.past;
        self.entries.retain(|EndpointQueue { queue, offered, .. }| {
            // The counts of a queue can change as long as chunks are offered to it.
            let stays = *offered || !queue.is_finished();
            if !stays {
                ledger.add(&queue.ledger());
                latency.add(&queue.latency());
                losses.add(&queue.losses());
            }
            stays
        });
    }
}
