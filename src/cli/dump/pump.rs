//! The pump: takes batches from the inputs and offers them to the outputs.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{batch::Batch, network::Network, output::Worker, stats::Stats};
use crate::{
    dnstap::RawFrame,
    filter::{Filter, Sample},
};

/// The pump between the inputs and the outputs.
pub(super) struct Pump {
    batches: Receiver<Batch>,
    /// Asks the inputs to stop.
    pub(super) stop: CancellationToken,
    /// Set when no more frames will come from the listeners.
    have_sockets_ended: Arc<AtomicBool>,
    pub(super) workers: Vec<Worker>,
    pub(super) filter: Filter,
    pub(super) sample: Option<Sample>,
    /// The number of frames after which the program ends.
    pub(super) limit: Option<NonZeroU64>,
    pub(super) stats: Option<Stats>,
    /// The number of frames that passed the filter and were offered to the outputs.
    pub(super) passed: u64,
}

/// The longest time until the pump notices a stop while no input has frames.
const ATTENTION: Duration = Duration::from_millis(100);

// === impl Pump ===

impl Pump {
    pub(super) fn new(batches: Receiver<Batch>, network: &Network) -> Self {
        Self {
            batches,
            stop: network.stop(),
            have_sockets_ended: network.sockets_ended(),
            workers: Vec::new(),
            filter: Filter::default(),
            sample: None,
            limit: None,
            stats: None,
            passed: 0,
        }
    }

    /// Runs until all inputs have ended. After a request to stop, runs only until the senders have ended their streams.
    pub(super) fn run(&mut self) {
        loop {
            match self.batches.recv_timeout(ATTENTION) {
                Ok(batch) => {
                    if !self.pass(batch) {
                        // The inputs notice this because their queue is closed.
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                // A read of standard input may block forever, so the pump does not wait for its end.
                Err(RecvTimeoutError::Timeout) if self.is_over() => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.stop.cancel();
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() && self.have_sockets_ended.load(Relaxed)
    }

    /// Passes a batch to the outputs. Returns false if no more frames are wanted.
    fn pass(&mut self, batch: Batch) -> bool {
        let batch = self.wanted(batch);
        let left = self.limit.map(|limit| limit.get() - self.passed);
        let batch = match left {
            Some(left) if left < batch.len() => first(&batch, left),
            _ => batch,
        };
        self.passed += batch.len();
        if let Some(stats) = &mut self.stats {
            batch
                .frames()
                .for_each(|frame| stats.count(&RawFrame::of_valid(frame)));
        }
        if batch.is_empty() {
            return true;
        }
        let batch = Arc::new(batch);
        let mut is_wanted = self.workers.is_empty();
        for worker in &mut self.workers {
            is_wanted |= worker.offer(&batch).is_ok();
        }
        is_wanted && self.limit.is_none_or(|limit| self.passed < limit.get())
    }
}

impl Pump {
    /// The frames of `batch` that pass the filter and are in the sample.
    fn wanted(&self, batch: Batch) -> Batch {
        if self.filter.is_empty() && self.sample.is_none() {
            return batch;
        }
        let mut wanted = Batch::like(&batch);
        for frame in batch.frames() {
            let raw = RawFrame::of_valid(frame);
            let is_sampled = |sample: &Sample| sample.has(&raw);
            if self.filter.passes(&raw) && self.sample.as_ref().is_none_or(is_sampled) {
                wanted.push(frame);
            }
        }
        wanted
    }
}

/// The first `count` frames of `batch`.
fn first(batch: &Batch, count: u64) -> Batch {
    let mut head = Batch::like(batch);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    batch
        .frames()
        .take(count)
        .for_each(|frame| head.push(frame));
    head
}
