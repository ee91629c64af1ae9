//! The frames that were made into records and are not confirmed yet.

use std::collections::VecDeque;

use crate::{
    frame_stream::Chunk,
    kafka::{Outcome, Span},
    router::{DropReason, Written},
};

/// The frames of a sink that the brokers have not confirmed yet. Each shipment has a receipt, and the number of the receipt
/// is the ticket of its records.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// The ticket of the first receipt.
    first: u64,
    open: VecDeque<Receipt>,
    /// The memory of all frames, in bytes.
    memory: u64,
}

/// The frames of one shipment, and the state of each.
///
/// The records of a shipment can be in several partitions, so the brokers confirm them in any order. The ledger counts a
/// frame as delivered when all earlier frames of its shipment are done, too.
#[derive(Debug)]
struct Receipt {
    written: Written,
    /// The chunks of the frames that are not done yet. The first chunk may be partial.
    chunks: VecDeque<Chunk>,
    fates: Vec<Fate>,
    /// The number of frames that the ledger no longer counts as unconfirmed.
    done: usize,
    memory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Stored,
    Refused,
}

// === impl Receipts ===

impl Receipts {
    /// Adds the frames of a shipment. Returns their ticket.
    pub(super) fn add(&mut self, written: Written, chunks: &[Chunk]) -> u64 {
        let frames = chunks.iter().map(Chunk::len).sum();
        // Each frame has a fate.
        let memory = written.memory() + (frames * size_of::<Fate>()) as u64;
        self.memory += memory;
        self.open.push_back(Receipt {
            written,
            chunks: chunks.iter().cloned().collect(),
            fates: vec![Fate::Unknown; frames],
            done: 0,
            memory,
        });
        self.first + self.open.len() as u64 - 1
    }

    /// Returns the memory of all frames, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Applies the outcome of some records to the ledger.
    pub(super) fn apply(&mut self, outcome: Outcome) {
        let (span, fate) = match outcome {
            Outcome::Stored(span) => (span, Fate::Stored),
            Outcome::Refused(span) => (span, Fate::Refused),
            Outcome::Resent(span) => {
                if let Some(receipt) = self.receipt(span) {
                    receipt.written.count_resent(span.count.into());
                }
                return;
            }
        };
        if let Some(receipt) = self.receipt(span) {
            receipt.settle(span, fate);
        }
        while self.open.front().is_some_and(Receipt::is_done) {
            let first = self.open.pop_front();
            self.memory -= first.map_or(0, |it| it.memory);
            self.first += 1;
        }
    }

    fn receipt(&mut self, span: Span) -> Option<&mut Receipt> {
        let index = span.ticket.checked_sub(self.first)?;
        self.open.get_mut(usize::try_from(index).ok()?)
    }

    /// Returns whether the queue of the frames is closed, so that no more frames will come.
    pub(super) fn is_closing(&self) -> bool {
        let first = self.open.front();
        first.is_some_and(|first| first.written.is_closing())
    }

    /// Puts all unconfirmed frames back into the queue.
    pub(super) fn give_up(&mut self) {
        self.first += self.open.len() as u64;
        self.memory = 0;
        self.open.clear();
    }
}

// === impl Receipt ===

impl Receipt {
    fn is_done(&self) -> bool {
        self.done == self.fates.len()
    }

    fn settle(&mut self, span: Span, fate: Fate) {
        let first = span.first as usize;
        let last = first + span.count as usize;
        if let Some(fates) = self.fates.get_mut(first..last) {
            fates.fill(fate);
        }
        // Most outcomes leave the first open frame unknown. Check that frame alone first, because `run` scans all
        // frames with the same fate.
        while self
            .fates
            .get(self.done)
            .is_some_and(|it| *it != Fate::Unknown)
            && let Some(run) = self.run()
        {
            self.finish(run);
        }
    }

    /// Returns the fate of the first frame that is not done, and the number of frames from there on that have this fate.
    fn run(&self) -> Option<(Fate, usize)> {
        let rest = self.fates.get(self.done..)?;
        let fate = *rest.first()?;
        let alike = rest.iter().take_while(|it| **it == fate);
        Some((fate, alike.count()))
    }

    fn finish(&mut self, (fate, frames): (Fate, usize)) {
        let bytes = self.take(frames);
        match fate {
            Fate::Stored => self.written.confirm(frames, bytes),
            Fate::Refused => self.written.drop_first(frames, DropReason::Refused),
            Fate::Unknown => self.written.give_back(frames),
        }
        self.done += frames;
    }

    /// Removes the first `frames` frames from the chunks. Returns their size on the wire.
    fn take(&mut self, mut frames: usize) -> u64 {
        let mut bytes = 0;
        while let Some(first) = self.chunks.front_mut().filter(|_| frames > 0) {
            let taken = first.split_to(frames);
            bytes += taken.wire().len() as u64;
            frames -= taken.len();
            if first.is_empty() {
                self.chunks.pop_front();
            }
        }
        bytes
    }
}

impl Drop for Receipt {
    /// Puts the unconfirmed frames back into the queue. The others are delivered or dropped.
    fn drop(&mut self) {
        while let Some(run) = self.run() {
            self.finish(run);
        }
    }
}
