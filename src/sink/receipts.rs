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

/// The frames that one connection has written and that are not confirmed yet.
///
/// If the connection ends, the frames that are not confirmed return to their queue.
#[derive(Debug)]
pub(super) struct Receipts {
    confirm: Confirm,
    pending: VecDeque<Receipt>,
    /// The limits of a connection whose frames are confirmed by FINISH. `None` for other connections.
    finish: Option<AwaitsFinish>,
}

/// The limits on the age and on the memory of frames that wait for FINISH.
#[derive(Debug)]
struct AwaitsFinish {
    checkpoint: Checkpoint,
    confirmation: Confirmation,
}

/// The position at which a flush ended, both in the batch and in the bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of bytes of the batch that were flushed.
    pub(super) flushed: u64,
    /// The number of bytes that the connection had handed to the kernel at the end of the flush.
    pub(super) sent: u64,
}

/// A batch that was written, and the part of it that is confirmed.
#[derive(Debug)]
struct Receipt {
    written: Written,
    chunks: Batch,
    /// The positions at which the flushes of the batch ended, in order. In addition, the first mark is the beginning of
    /// the batch.
    marks: Vec<Mark>,
    /// The number of frames and bytes that were written.
    total: (usize, u64),
    /// The number of frames and bytes that are confirmed.
    confirmed: (usize, u64),
    /// The memory of the frames. `None` if the frames do not wait for FINISH.
    _memory: Option<HeldMemory>,
}

// === impl Receipts ===

impl Receipts {
    /// Creates the value for a connection whose frames count as delivered when they are written.
    pub(super) fn none() -> Self {
        Self {
            confirm: Confirm::Written,
            pending: VecDeque::new(),
            finish: None,
        }
    }

    /// Creates the value for a connection whose frames are confirmed as `confirm` requires.
    pub(super) fn new(confirm: Confirm, confirmation: &Confirmation) -> Self {
        Self {
            confirm,
            finish: (confirm == Confirm::Finish).then(|| AwaitsFinish {
                checkpoint: Checkpoint::new(confirmation.bounds()),
                confirmation: confirmation.clone(),
            }),
            ..Self::none()
        }
    }

    /// Returns the checkpoint, which says when the connection must end so that the collector sends FINISH. Returns
    /// `None` if the frames of the connection are not confirmed by FINISH.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.finish.as_ref().map(|it| it.checkpoint.clone())
    }

    /// Handles the request of the collector to end the connection. If the frames of this connection wait for FINISH,
    /// the checkpoint is due now. Otherwise, the collector closes the connection soon, and the sink has nothing to do.
    pub(super) fn ask_to_end(&self) {
        if let Some(finish) = &self.finish {
            finish.checkpoint.ask();
        }
    }

    /// Returns whether another frame can be written. It cannot if the frames that wait for FINISH, on all connections
    /// of the sink, use too much memory.
    pub(super) fn has_room(&self) -> bool {
        let finish = self.finish.as_ref();
        finish.is_none_or(|it| it.confirmation.has_room(it.checkpoint.hard_bound()))
    }

    /// Returns whether the positions of flushes on the wire must be recorded.
    pub(super) fn needs_marks(&self) -> bool {
        self.confirm == Confirm::Kernel
    }

    /// Settles the frames of a batch with the queue. The frames that `progress` covers were written. They are kept here
    /// until they are confirmed.
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
            // The chunks are needed to find out how many frames the kernel has acknowledged. FINISH confirms all
            // frames, so it does not need the chunks.
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

    /// Returns whether any frame waits for a confirmation.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Confirms the frames that the collector's kernel has acknowledged. `acknowledged` is the number of acknowledged
    /// bytes since the connection began.
    pub(super) fn acknowledge(&mut self, acknowledged: u64) {
        while let Some(first) = self.pending.front_mut() {
            first.confirm(first.frames_within(acknowledged));
            if first.confirmed.0 < first.total.0 {
                return;
            }
            self.pending.pop_front();
        }
    }

    /// Confirms all frames that were written.
    pub(super) fn confirm_all(&mut self) {
        for mut receipt in self.pending.drain(..) {
            receipt.confirm(receipt.total);
        }
    }

    /// Returns unconfirmed frames to their queue.
    pub(super) fn give_up(&mut self) {
        self.pending.clear();
    }
}

// === impl Receipt ===

impl Receipt {
    /// Returns the number of frames of the batch that end within the first `acknowledged` bytes of the connection, and
    /// the number of bytes of these frames.
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

/// Converts the number of `acknowledged` bytes on the wire to a number of bytes of the batch.
fn position(marks: &[Mark], acknowledged: u64) -> u64 {
    let mut reached = 0;
    for pair in marks.windows(2) {
        let (begin, end) = (pair[0], pair[1]);
        if acknowledged >= end.sent {
            reached = end.flushed;
            continue;
        }
        // A TLS record is longer than its content. So if only a part of an encrypted flush is acknowledged, it is
        // unknown how much of the batch this part contains. The flush counts only when it is acknowledged completely.
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
