//! The frames of a chunk that one sink gets, and the frames that it does not get.

use std::borrow::Cow;

use super::{Exclusion, Exclusions, queue::Queue};
use crate::{
    filter::{Screen, Screened},
    frame_stream::Chunk,
};

/// A chunk as one sink gets it.
#[derive(Debug, Clone)]
pub(super) struct Offer<'a> {
    /// The frames for the sink; `None` if it gets none of them.
    chunk: Option<Cow<'a, Chunk>>,
    excluded: Exclusions,
    /// Frames that are lost, because the edits of the filter cannot be made in them.
    malformed: u64,
}

// === impl Offer ===

impl<'a> Offer<'a> {
    /// Creates an offer of all frames of a chunk.
    pub(super) fn whole(chunk: &'a Chunk) -> Self {
        Self {
            chunk: Some(Cow::Borrowed(chunk)),
            excluded: Exclusions::default(),
            malformed: 0,
        }
    }

    /// Creates an offer of the frames that pass a filter.
    ///
    /// The limit of the filter uses the time at which the chunk was read, so the clock need not be read again.
    pub(super) fn screened(screen: &Screen, chunk: &Chunk) -> Self {
        let Screened {
            chunk,
            filtered,
            sampled,
            rate_limited,
            malformed,
            ..
        } = screen.screen(chunk, chunk.received());
        let mut excluded = Exclusions::default();
        excluded.count(Exclusion::Filtered, filtered);
        excluded.count(Exclusion::Sampled, sampled);
        excluded.count(Exclusion::RateLimited, rate_limited);
        Self {
            chunk: chunk.map(Cow::Owned),
            excluded,
            malformed,
        }
    }

    /// Counts the frames that the sink does not get, and passes the others to `push`.
    pub(super) fn put_into(&self, queue: &Queue, push: impl FnOnce(&Queue, &Chunk)) {
        if self.malformed > 0 || self.excluded.total() > 0 {
            queue.exclude(&self.excluded, self.malformed);
        }
        if let Some(chunk) = &self.chunk {
            push(queue, chunk);
        }
    }
}
