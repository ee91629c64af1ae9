//! A batch of records, and the tickets of its records.

use tokio::time::Instant;

use super::{
    super::{
        Headers, Record,
        batch::{Records, Stamp},
    },
    BATCH_BYTES,
};

/// Records of one ticket: `count` records, starting at index `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) ticket: u64,
    pub(crate) first: u32,
    pub(crate) count: u32,
}

#[derive(Debug)]
pub(in crate::kafka) struct Batch {
    pub(in crate::kafka) records: Records,
    /// The tickets of the records, in order.
    pub(super) spans: Vec<Span>,
    /// `None` until the batch is sent for the first time.
    pub(in crate::kafka) stamp: Option<Stamp>,
    /// The size at which the batch is full.
    limit: usize,
    /// The time of the first record.
    pub(super) begun: Instant,
    /// The number of times that the broker answered that it cannot store the batch.
    pub(super) failures: u32,
    /// True if the batch was sent and the answer, if one came, does not say that the broker has not stored it.
    pub(super) is_in_doubt: bool,
    /// True if no more records can be added, because this is one part of a refused batch.
    pub(super) is_closed: bool,
}

// === impl Batch ===

impl Batch {
    pub(super) fn new(records: Records, limit: usize, begun: Instant) -> Self {
        Self {
            records,
            spans: Vec::new(),
            stamp: None,
            limit,
            begun,
            failures: 0,
            is_in_doubt: false,
            is_closed: false,
        }
    }

    pub(super) fn append(
        &mut self,
        record: &Record<'_>,
        headers: &Headers,
        ticket: u64,
        place: u32,
    ) {
        self.records.append(record, headers);
        match self.spans.last_mut() {
            Some(last) if last.ticket == ticket && last.first + last.count == place => {
                last.count += 1;
            }
            _ => self.spans.push(Span {
                ticket,
                first: place,
                count: 1,
            }),
        }
    }

    /// Returns the memory of the batch.
    pub(super) fn memory(&self) -> usize {
        self.records.memory() + self.spans.capacity() * size_of::<Span>()
    }

    /// Returns whether a record of this size can be added.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let is_open = self.stamp.is_none() && !self.is_closed && self.failures == 0;
        is_open && (self.records.count() == 0 || self.records.size() + size <= self.limit)
    }

    /// Returns whether the batch is so full that it need not wait for more records.
    pub(super) fn is_full(&self) -> bool {
        self.is_closed || self.records.size() >= self.limit / 8 * 7
    }

    /// Calls `each` for every record, with its ticket and its index.
    pub(super) fn each(&self, mut each: impl FnMut(Record<'_>, u64, u32)) {
        let spans = self.spans.iter();
        let mut tickets = spans.flat_map(|span| {
            (span.first..span.first + span.count).map(|place| (span.ticket, place))
        });
        self.records.each(|record| {
            // Each record has a ticket.
            if let Some((ticket, place)) = tickets.next() {
                each(record, ticket, place);
            }
        });
    }

    /// Divides the batch into at most `parts` batches. `part` maps the index of a record to the number of its part, or
    /// to `None`. A record without a part is left out, and `left_out` gets its span.
    pub(super) fn divide(
        &self,
        headers: &Headers,
        parts: usize,
        mut part: impl FnMut(usize) -> Option<usize>,
        mut left_out: impl FnMut(Span),
    ) -> Vec<Self> {
        let capacity = self.records.size().div_ceil(parts.max(1));
        let mut divided: Vec<_> = (0..parts)
            .map(|_| Self {
                is_closed: true,
                ..Self::new(Records::new(capacity), self.limit, self.begun)
            })
            .collect();
        let mut place = 0;
        self.each(|record, ticket, first| {
            match part(place).and_then(|part| divided.get_mut(part)) {
                Some(part) => part.append(&record, headers, ticket, first),
                None => left_out(Span {
                    ticket,
                    first,
                    count: 1,
                }),
            }
            place += 1;
        });
        divided.retain(|part| part.records.count() > 0);
        divided
    }
}

/// Returns the memory of a new batch whose first record needs `least` bytes, and which is expected to get `expected`
/// bytes. The memory doubles whenever the batch needs more, and reaches exactly the size of a full batch.
pub(super) fn capacity_for(least: usize, expected: usize) -> usize {
    /// The size of the smallest buffer. It holds some records of usual length.
    const SMALLEST: usize = 1 << 10;
    if least > BATCH_BYTES {
        return least;
    }
    let wanted = least.max(expected).max(SMALLEST);
    wanted.next_power_of_two().min(BATCH_BYTES)
}
