//! The pump: the loop that takes batches from the inputs and offers them to the outputs.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed},
        },
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio_util::sync::CancellationToken;

use super::{account::Account, batch::Batch, output::Worker, stats::Stats};
use crate::{
    dnstap::RawFrame,
    filter::{Facts, Sample, Screen},
};

/// The pump between the inputs and the outputs.
pub(super) struct Pump {
    account: Arc<Account>,
    /// Asks the inputs to stop.
    pub(super) stop: CancellationToken,
    /// Set after the last frame of the listeners has been sent to the pump.
    have_sockets_ended: Arc<AtomicBool>,
    pub(super) workers: Vec<Worker>,
    pub(super) screen: Screen,
    /// The number of frames after which the program ends.
    pub(super) limit: Option<NonZeroU64>,
    pub(super) stats: Option<Stats>,
    /// The number of frames that passed the filter and were offered to the outputs.
    pub(super) passed: u64,
    /// The longest time until the pump notices a request to stop.
    attention: Duration,
}

/// The longest time until the pump notices a request to stop while no input has frames.
const ATTENTION: Duration = Duration::from_millis(100);

// === impl Pump ===

impl Pump {
    pub(super) fn new(
        account: Arc<Account>,
        stop: CancellationToken,
        have_sockets_ended: Arc<AtomicBool>,
    ) -> Self {
        Self {
            account,
            stop,
            have_sockets_ended,
            attention: ATTENTION,
            workers: Vec::new(),
            screen: Screen::default(),
            limit: None,
            stats: None,
            passed: 0,
        }
    }

    /// Takes frames from `batches` until all inputs have ended. After a request to stop, runs only until the listeners
    /// have received the last frame of their senders.
    pub(super) fn run(&mut self, batches: Receiver<Batch>) {
        loop {
            // `is_over` must be read before the queue. In the opposite order, the last batch could arrive between the
            // two reads, and it would be lost.
            let is_over = self.is_over();
            match batches.recv_timeout(self.attention) {
                Ok(batch) => {
                    if !self.pass(batch) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                // A read of standard input may block forever, so the pump does not wait for the thread that reads it.
                Err(RecvTimeoutError::Timeout) if is_over => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.stop.cancel();
        // Dropping the receiver ends every thread that waits for room in the queue. Otherwise such a thread would wait
        // until the outputs have finished.
        drop(batches);
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() && self.have_sockets_ended.load(Acquire)
    }

    /// Passes a batch to the outputs. Returns false if no more batches are wanted.
    fn pass(&mut self, batch: Batch) -> bool {
        let (batch, read) = self.wanted(batch);
        self.account.read.fetch_add(read, Relaxed);
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
        is_wanted && !self.is_at_limit()
    }

    /// Returns whether the limit ended the input.
    pub(super) fn is_at_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.passed >= limit.get())
    }
}

impl Pump {
    /// Returns the frames of `batch` that pass the filter and are in the sample, up to the limit. Also returns how many
    /// frames of `batch` were examined to find them.
    fn wanted(&self, batch: Batch) -> (Batch, u64) {
        let limit = self.limit.map_or(u64::MAX, NonZeroU64::get);
        let left = limit.saturating_sub(self.passed);
        let count = batch.len();
        if self.screen.is_noop() && count <= left {
            return (batch, count);
        }
        let mut wanted = Batch::like(&batch);
        let mut edited = BytesMut::new();
        let mut read = 0;
        for frame in batch.frames() {
            if wanted.len() == left {
                break;
            }
            read += 1;
            let Screen {
                filter,
                sample,
                privacy,
                ..
            } = &self.screen;
            let raw = RawFrame::of_valid(frame);
            let facts = Facts::of(&raw);
            let is_sampled = |sample: &Sample| sample.has(&facts);
            if !filter.passes(&facts) || !sample.as_ref().is_none_or(is_sampled) {
                continue;
            }
            if privacy.is_noop() {
                wanted.push(frame);
                continue;
            }
            edited.clear();
            let edit = privacy.append(frame, facts.message_type(), &mut edited);
            if edit.is_ok() {
                wanted.push(&edited);
            }
        }
        (wanted, read)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{atomic::Ordering::Release, mpsc::sync_channel},
        thread,
    };

    use super::*;
    use crate::filter::ClientAddress;

    fn pump() -> Pump {
        let mut pump = Pump::new(Arc::default(), CancellationToken::new(), Arc::default());
        pump.attention = Duration::ZERO;
        pump
    }

    fn batch() -> Batch {
        let mut batch = Batch::of_file();
        batch.push(b"\x72\x02\x08\x05\x78\x01");
        batch
    }

    #[test]
    fn a_message_in_a_frame_of_another_kind_is_edited_like_one_of_unknown_type() {
        // A RESOLVER_QUERY from 192.0.2.77, in a frame whose kind is not that of a message.
        const FRAME: &[u8] = b"\x72\x08\x08\x03\x22\x04\xc0\0\x02\x4d\x78\x02";
        let mut pump = pump();
        pump.screen.privacy.client_address = Some(ClientAddress::Remove);
        let mut batch = Batch::of_file();
        batch.push(FRAME);
        let (wanted, _) = pump.wanted(batch);
        let frames: Vec<_> = wanted.frames().collect();
        assert_eq!(frames, [b"\x72\x02\x08\x03\x78\x02"]);
    }

    /// A batch rarely arrives exactly when the sockets end, so the test runs many rounds.
    #[test]
    fn a_batch_that_arrives_with_the_end_of_the_sockets_is_passed() {
        for _ in 0..500 {
            let mut pump = pump();
            pump.stop.cancel();
            let (to, batches) = sync_channel(1);
            let has_ended = Arc::clone(&pump.have_sockets_ended);
            let sockets = thread::spawn(move || {
                to.send(batch()).expect("the pump runs");
                has_ended.store(true, Release);
                // As if standard input were still open.
                to
            });
            pump.run(batches);
            drop(sockets.join());
            assert_eq!(pump.passed, 1);
            assert_eq!(pump.account.read.load(Relaxed), 1);
        }
    }

    #[test]
    fn an_input_that_waits_for_room_ends_with_the_pump() {
        let mut pump = pump();
        pump.limit = NonZeroU64::new(1);
        let (to, batches) = sync_channel(1);
        let input = thread::spawn(move || while to.send(batch()).is_ok() {});
        pump.run(batches);
        input.join().expect("it ends");
        assert_eq!(pump.passed, 1);
        assert_eq!(pump.account.read.load(Relaxed), 1);
    }
}
