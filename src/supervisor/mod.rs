//! Owns every task of the router: starts listeners and sinks, keeps sinks going, and drains them at the end.
//!
//! Called by `cli`, and by whoever embeds the router; calls `listener`, `router`, `sink`, `net` and `config`.

mod drain;
mod drops;
mod sink_task;
mod start;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use drain::{ListenerReport, Report, SinkReport};
pub use start::{StartError, StartProblem};

use crate::{
    listener::{Counters, Phase},
    router::Queue,
    sink::{Reporter, Status},
};

/// A running router.
///
/// It runs on the tokio runtime it was started on until it is [drained](Self::drain). Dropping it ends it at once,
/// and what its queues hold is lost.
#[derive(Debug)]
pub struct Supervisor {
    listeners: Vec<ListenerHandle>,
    sinks: Vec<SinkHandle>,
    phase: Phase,
    /// Ends what a sink still waits for when the drain's time is over.
    abort: CancellationToken,
    drain: Duration,
    drop_log: JoinHandle<()>,
}

/// A listener, as seen from outside.
#[derive(Debug)]
pub struct ListenerHandle {
    name: Arc<str>,
    address: Option<SocketAddr>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

/// A sink, as seen from outside.
#[derive(Debug)]
pub struct SinkHandle {
    queue: Arc<Queue>,
    reporter: Reporter,
    task: JoinHandle<()>,
}

// === impl Supervisor ===

impl Supervisor {
    /// The listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[ListenerHandle] {
        &self.listeners
    }

    /// The sinks, in the order of the configuration.
    pub fn sinks(&self) -> &[SinkHandle] {
        &self.sinks
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let tasks = self.listeners.iter().map(|listener| &listener.task);
        for task in tasks
            .chain(self.sinks.iter().map(|sink| &sink.task))
            .chain([&self.drop_log])
        {
            task.abort();
        }
    }
}

// === impl ListenerHandle ===

impl ListenerHandle {
    /// Its name: the address as configured.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The address it is bound to, with the port that the system chose if it was asked to; `None` for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What it has taken and refused.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

// === impl SinkHandle ===

impl SinkHandle {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        self.reporter.sink()
    }

    /// Its queue, with the ledger.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Its status as it is and as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.reporter.watch()
    }
}
