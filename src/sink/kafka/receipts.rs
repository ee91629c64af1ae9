//! The frames that were made into records and are not confirmed yet.

use std::collections::BTreeMap;

use crate::{
    frame_stream::Chunk,
    kafka::{Outcome, Span},
    router::{DropReason, Run, Settlement, Written},
};

/// The frames of a sink that the brokers have not confirmed yet. Each shipment has a receipt, and the number of the receipt
/// is the ticket of its records.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    next_ticket: u64,
    /// The receipts with frames that are not done, by ticket. The broker of one partition can be away for long, while
    /// others confirm all later receipts.
    open: BTreeMap<u64, Receipt>,
    /// The memory of all frames, in bytes.
    memory: u64,
    /// The tickets of the receipts that have new fates. The buffer is used again.
    touched: Vec<u64>,
}

/// The frames of one shipment, and the state of each.
///
/// The records of a shipment can be in several partitions, so the brokers confirm them in any order. The ledger counts a
/// frame as delivered when all earlier frames of its shipment are done, too.
#[derive(Debug)]
struct Receipt {
    written: Written,
    /// The size of each frame on the wire.
    sizes: Vec<u32>,
    fates: Vec<Fate>,
    /// The number of records that are sent again and are not counted yet.
    resent: u64,
    /// The number of frames that the ledger no longer counts as unconfirmed.
    done: usize,
    memory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    /// The brokers may have stored the record, and it is sent again under another sequence number.
    Resent,
    /// The record was never sent, and the sink ends.
    Unsent,
    Stored,
    Refused,
}

/// The memory that a receipt has for each frame.
const MEMORY_OF_FRAME: usize = size_of::<Fate>() + size_of::<u32>();

// === impl Receipts ===

impl Receipts {
    /// Returns the ticket of the next shipment.
    pub(super) fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// Adds the frames of a shipment under the [next ticket](Self::next_ticket). `chunks` begins with these frames.
    pub(super) fn add(&mut self, written: Written, chunks: &[Chunk]) {
        let frames = written.frames();
        if frames == 0 {
            return;
        }
        let each = chunks.iter().flat_map(Chunk::frames).take(frames);
        let sizes: Vec<_> = each.map(size_on_wire).collect();
        let memory = written.memory() + (frames * MEMORY_OF_FRAME) as u64;
        self.memory += memory;
        let receipt = Receipt {
            written,
            fates: vec![Fate::Unknown; sizes.len()],
            sizes,
            resent: 0,
            done: 0,
            memory,
        };
        self.open.insert(self.next_ticket, receipt);
        self.next_ticket += 1;
    }

    /// Returns the memory of all frames, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// Changes the ledger as the outcomes of some records require. With keys, an answer has outcomes of many short spans.
    /// The ledger changes only once for each receipt.
    pub(super) fn apply(&mut self, outcomes: impl IntoIterator<Item = Outcome>) {
        for outcome in outcomes {
            let (span, fate) = match outcome {
                Outcome::Stored(span) => (span, Fate::Stored),
                Outcome::Refused(span) => (span, Fate::Refused),
                Outcome::Resent(span) => (span, Fate::Resent),
            };
            let Some(receipt) = self.open.get_mut(&span.ticket) else {
                continue;
            };
            receipt.mark(span, fate);
            if self.touched.last() != Some(&span.ticket) {
                self.touched.push(span.ticket);
            }
        }
        let mut touched = std::mem::take(&mut self.touched);
        for ticket in touched.drain(..) {
            let Some(receipt) = self.open.get_mut(&ticket) else {
                continue;
            };
            receipt.settle();
            if receipt.is_done() {
                self.memory -= receipt.memory;
                self.open.remove(&ticket);
            }
        }
        self.touched = touched;
    }

    /// Records that these records were never sent, and the sink ends.
    pub(super) fn mark_unsent(&mut self, span: Span) {
        if let Some(receipt) = self.open.get_mut(&span.ticket) {
            receipt.mark(span, Fate::Unsent);
        }
    }

    /// Returns whether the queue of the frames is closed, so that no more frames will come.
    pub(super) fn is_closing(&self) -> bool {
        let first = self.open.values().next();
        first.is_some_and(|first| first.written.is_closing())
    }

    /// Puts all unconfirmed frames back into the queue.
    pub(super) fn give_up(&mut self) {
        self.memory = 0;
        self.open.clear();
    }
}

// === impl Receipt ===

impl Receipt {
    fn is_done(&self) -> bool {
        self.done == self.fates.len()
    }

    fn mark(&mut self, span: Span, fate: Fate) {
        let first = span.first as usize;
        let last = first + span.count as usize;
        let last = last.min(self.fates.len());
        let Some(fates) = self.fates.get_mut(first..last) else {
            return;
        };
        if fate == Fate::Unsent {
            // Some of the records may have been sent in another batch before.
            let unknown = fates.iter_mut().filter(|it| **it == Fate::Unknown);
            unknown.for_each(|it| *it = fate);
            return;
        }
        fates.fill(fate);
        if fate == Fate::Resent {
            self.resent += u64::from(span.count);
        }
    }

    /// Changes the ledger for the first frames that are not done, up to the first frame without a final fate.
    fn settle(&mut self) {
        if self.resent > 0 {
            self.written.count_resent(std::mem::take(&mut self.resent));
        }
        let rest = self.fates.iter().skip(self.done);
        let frames = rest.take_while(|it| it.is_final()).count();
        if frames > 0 {
            self.finish(frames);
        }
    }

    /// Changes the ledger for the first `frames` frames that are not done.
    fn finish(&mut self, frames: usize) {
        let range = self.done..self.done + frames;
        self.done = range.end;
        let (Some(fates), Some(mut sizes)) = (self.fates.get(range.clone()), self.sizes.get(range))
        else {
            return;
        };
        let runs = fates.chunk_by(|one, other| one == other).map(|run| {
            let (run_sizes, rest) = sizes.split_at(run.len());
            sizes = rest;
            Run {
                frames: run.len(),
                bytes: run_sizes.iter().copied().map(u64::from).sum(),
                settlement: run[0].settlement(),
            }
        });
        self.written.settle(runs);
    }
}

impl Drop for Receipt {
    /// Puts the unconfirmed frames back into the queue. The others are delivered or dropped.
    fn drop(&mut self) {
        let rest = self.fates.len() - self.done;
        if rest > 0 {
            self.finish(rest);
        }
    }
}

// === impl Fate ===

impl Fate {
    fn is_final(self) -> bool {
        matches!(self, Self::Stored | Self::Refused)
    }

    fn settlement(self) -> Settlement {
        match self {
            Self::Unknown | Self::Resent => Settlement::Returned,
            Self::Unsent => Settlement::Unsent,
            Self::Stored => Settlement::Delivered,
            Self::Refused => Settlement::Dropped(DropReason::Refused),
        }
    }
}

/// Returns the size of a frame with its length, in bytes.
fn size_on_wire(frame: &[u8]) -> u32 {
    u32::try_from(size_of::<u32>() + frame.len()).unwrap_or(u32::MAX)
}
