//! The frames that a connection has written and that are not confirmed yet.

use std::collections::VecDeque;

use super::{
    Checkpoint, Shipment,
    confirmation::{Confirmation, HeldMemory},
    cursor::whole_frames,
};
use crate::{
    config::Confirm,
    frame_stream::Batch,
    router::{Progress, Written},
};

/// The frames that one connection has written, until they are confirmed.
///
/// If the connection ends, the frames without a confirmation return to their queue.
#[derive(Debug)]
pub(super) struct Receipts {
    confirm: Confirm,
    pending: VecDeque<Receipt>,
    /// For a connection whose frames FINISH confirms.
    finish: Option<AwaitsFinish>,
}

/// The limits on the time and the memory of frames that await FINISH.
#[derive(Debug)]
struct AwaitsFinish {
    checkpoint: Checkpoint,
    confirmation: Confirmation,
}

/// The end of a flush, as a position in a batch and as a position on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The bytes of the batch that were flushed.
    pub(super) flushed: u64,
    /// The bytes that this connection had handed to the kernel by then.
    pub(super) sent: u64,
}

/// A batch that was written.
#[derive(Debug)]
struct Receipt {
    written: Written,
    chunks: Batch,
    /// The flushes of the batch, in order. The first mark is the beginning of the batch.
    marks: Vec<Mark>,
    /// The frames and bytes that were written.
    total: (usize, u64),
    /// The frames and bytes that are confirmed.
    confirmed: (usize, u64),
    /// With FINISH, the memory of the frames.
    _memory: Option<HeldMemory>,
}

// === impl Receipts ===

impl Receipts {
    /// The receipts of a connection whose frames count as delivered when they are written.
    pub(super) fn none() -> Self {
        Self {
            confirm: Confirm::Written,
            pending: VecDeque::new(),
            finish: None,
        }
    }

    /// The receipts of a connection with this `confirm`.
    pub(super) fn new(confirm: Confirm, confirmation: &Confirmation) -> Self {
        Self {
            confirm,
            finish: (confirm == Confirm::Finish).then(|| AwaitsFinish {
                checkpoint: Checkpoint::new(),
                confirmation: confirmation.clone(),
            }),
            ..Self::none()
        }
    }

    /// The checkpoint at which the connection must end, if FINISH confirms its frames.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.finish.as_ref().map(|it| it.checkpoint.clone())
    }

    /// Returns whether the frames that await FINISH, on all connections of the stack, leave room for more.
    pub(super) fn has_room(&self) -> bool {
        let finish = self.finish.as_ref();
        finish.is_none_or(|it| it.confirmation.has_room(it.checkpoint.hard_bound()))
    }

    /// Returns whether the positions of flushes on the wire are needed.
    pub(super) fn needs_marks(&self) -> bool {
        self.confirm == Confirm::Kernel
    }

    /// Settles the frames of a batch. The frames that `progress` covers were written, and wait here for their
    /// confirmation.
    pub(super) fn add(&mut self, shipment: Shipment, progress: Progress, marks: Vec<Mark>) {
        if self.confirm == Confirm::Written {
            return shipment.settle(progress);
        }
        let limit = shipment.memory_limit();
        let (written, chunks) = shipment.settle_unconfirmed(progress);
        if progress.frames == 0 {
            return;
        }
        let memory = self.finish.as_ref().map(|it| {
            let memory = it.confirmation.hold(written.memory());
            it.checkpoint.wrote(memory.bytes(), limit);
            memory
        });
        self.pending.push_back(Receipt {
            written,
            // FINISH confirms everything, so only the acknowledgements of `kernel` need the ends of the frames.
            chunks: if self.needs_marks() {
                chunks
            } else {
                Batch::new()
            },
            marks,
            total: (progress.frames, progress.bytes),
            confirmed: (0, 0),
            _memory: memory,
        });
    }

    /// Returns whether frames wait for a confirmation.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Confirms the frames that the peer's kernel has acknowledged. `acknowledged` is the number of acknowledged bytes
    /// since the connection began.
    pub(super) fn acknowledge(&mut self, acknowledged: u64) {
        while let Some(first) = self.pending.front_mut() {
            first.confirm(first.frames_within(acknowledged));
            if first.confirmed.0 < first.total.0 {
                return;
            }
            self.pending.pop_front();
        }
    }

    /// Confirms everything that was written.
    pub(super) fn confirm_all(&mut self) {
        for mut receipt in self.pending.drain(..) {
            receipt.confirm(receipt.total);
        }
    }

    /// Returns the frames without a confirmation to their queue.
    pub(super) fn give_up(&mut self) {
        self.pending.clear();
    }
}

// === impl Receipt ===

impl Receipt {
    /// The frames of the batch that end within the first `acknowledged` bytes on the wire, and their bytes.
    fn frames_within(&self, acknowledged: u64) -> (usize, u64) {
        let bytes = position(&self.marks, acknowledged);
        let (frames, bytes) = whole_frames(&self.chunks, bytes);
        if frames < self.total.0 {
            (frames, bytes)
        } else {
            self.total
        }
    }

    fn confirm(&mut self, so_far: (usize, u64)) {
        let (frames, bytes) = self.confirmed;
        if so_far.0 > frames {
            self.written.confirm(so_far.0 - frames, so_far.1 - bytes);
            self.confirmed = so_far;
        }
    }
}

/// Maps the position `acknowledged` on the wire to a position in a batch.
fn position(marks: &[Mark], acknowledged: u64) -> u64 {
    let mut reached = 0;
    for pair in marks.windows(2) {
        let (begin, end) = (pair[0], pair[1]);
        if acknowledged >= end.sent {
            reached = end.flushed;
            continue;
        }
        // Encrypted records are longer than their content, so a part of such a flush has no position in the batch. It
        // counts only as a whole.
        let is_plain = end.sent - begin.sent == end.flushed - begin.flushed;
        if is_plain && acknowledged > begin.sent {
            reached = begin.flushed + (acknowledged - begin.sent);
        }
        break;
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(flushed: u64, sent: u64) -> Mark {
        Mark { flushed, sent }
    }

    #[test]
    fn a_plain_stream_is_confirmed_to_the_byte() {
        let marks = [mark(0, 40), mark(10, 50), mark(30, 70)];
        for (acknowledged, expected) in [(0, 0), (40, 0), (41, 1), (50, 10), (69, 29), (99, 30)] {
            assert_eq!(position(&marks, acknowledged), expected, "{acknowledged}");
        }
    }

    #[test]
    fn an_encrypted_flush_is_confirmed_as_a_whole() {
        let marks = [mark(0, 400), mark(10, 432), mark(30, 474)];
        for (acknowledged, expected) in [(431, 0), (432, 10), (473, 10), (474, 30), (999, 30)] {
            assert_eq!(position(&marks, acknowledged), expected, "{acknowledged}");
        }
    }

    #[test]
    fn a_batch_without_marks_has_no_position() {
        assert_eq!(position(&[], u64::MAX), 0);
        assert_eq!(position(&[mark(0, 5)], u64::MAX), 0);
    }
}
