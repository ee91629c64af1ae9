//! One sink's queues, and the account of them all.

use std::{sync::Arc, time::Instant};

use super::{Latency, Ledger, Limits, Queue};

/// The queues of one sink: one, or with `endpoints all` one for each endpoint. To be shared; it may outlive its sink.
///
/// What it tells is summed up over all that there are and have been, so that it never goes back, and the ledger
/// [balances](Ledger::balances).
#[derive(Debug)]
pub struct Queues {
    queue: Arc<Queue>,
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

// === impl Queues ===

impl Queues {
    /// One queue, for whatever endpoint.
    pub fn new(limits: Limits) -> Self {
        Self {
            queue: Arc::new(Queue::new(limits)),
        }
    }

    /// The sink's account as it stands.
    pub fn ledger(&self) -> Ledger {
        self.queue.ledger()
    }

    /// How long the frames delivered so far took.
    pub fn latency(&self) -> Latency {
        self.queue.latency()
    }

    /// When the oldest frame that any of the queues holds was read from its source.
    pub fn oldest(&self) -> Option<Instant> {
        self.queue.oldest()
    }

    /// The bounds of all queues together.
    pub fn limits(&self) -> Limits {
        self.queue.limits()
    }

    /// The accounts of the endpoints, where each has its own: with `endpoints all`. Otherwise none.
    pub fn endpoints(&self) -> Vec<EndpointAccount> {
        Vec::new()
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}
