//! The frames of a chunk that one sink gets.

use std::time::Instant;

use bytes::{BufMut as _, BytesMut};

use super::{Facts, Filter, Privacy, RateLimit, Sample};
use crate::{
    dnstap::{self, Malformed, Outline},
    frame_stream::{Chunk, IndexEntry},
};

/// The choice of frames for one sink, and the edits for the privacy of clients.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Screen {
    /// The rules that frames must pass.
    pub filter: Filter,
    /// The sample of these frames.
    pub sample: Option<Sample>,
    /// The limit on the frames that are in the sample.
    pub limit: Option<RateLimit>,
    /// The edits of the frames that are left.
    pub privacy: Privacy,
}

/// The result of a [`Screen`] for one chunk. All frames that are missing in the new chunk are counted once.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Screened {
    /// The frames for the sink. It is the same chunk if all frames pass unchanged, and `None` if no frame passes.
    pub chunk: Option<Chunk>,
    /// Frames that the filter left out.
    pub filtered: u64,
    /// Frames that are not in the sample.
    pub sampled: u64,
    /// Frames above the limit.
    pub rate_limited: u64,
    /// Frames that are not dnstap messages, so that the privacy options cannot be applied.
    pub malformed: u64,
}

/// The places of frames in a chunk, in ascending order.
#[derive(Debug, Default)]
struct Places {
    /// The places. Empty as long as the places are 0, 1, 2 and so on, without a gap.
    list: Vec<u32>,
    count: u32,
    has_gap: bool,
}

/// The size of the length before each frame, in bytes.
const LENGTH: usize = 4;

// === impl Screen ===

impl Screen {
    /// Returns whether every frame passes unchanged.
    pub fn is_noop(&self) -> bool {
        self.filter.is_empty()
            && self.sample.is_none()
            && self.limit.is_none()
            && self.privacy.is_noop()
    }

    /// Returns the frames of a chunk that the sink gets. Memory is allocated only for a whole chunk, and not for each
    /// frame.
    pub fn screen(&self, chunk: &Chunk, now: Instant) -> Screened {
        let mut screened = Screened::default();
        let mut places = Places::default();
        if self.filter.is_only_types() && self.sample.is_none() {
            // The index of the chunk has the types, so the frames need not be read.
            for (place, message_type) in (0..).zip(chunk.message_types()) {
                if self.filter.wants(message_type) {
                    places.push(place);
                } else {
                    screened.filtered += 1;
                }
            }
        } else {
            for (place, (frame, outline)) in (0..).zip(chunk.frames().zip(chunk.outlines())) {
                let facts = Facts::new(frame, outline);
                if !self.filter.passes(&facts) {
                    screened.filtered += 1;
                } else if self.sample.as_ref().is_some_and(|it| !it.has(&facts)) {
                    screened.sampled += 1;
                } else {
                    places.push(place);
                }
            }
        }
        if let Some(limit) = &self.limit {
            let wanted = places.len();
            let granted = limit.take(wanted.into(), now);
            screened.rate_limited = u64::from(wanted) - granted;
            places.truncate(u32::try_from(granted).unwrap_or(wanted));
        }
        screened.chunk = match places.len() {
            0 => None,
            _ if !self.privacy.is_noop() => {
                let edited = self.edit(chunk, &places.into_list());
                screened.malformed = edited.malformed;
                edited.chunk
            }
            all if all as usize == chunk.len() => Some(chunk.clone()),
            _ => Some(chunk.pick(&places.into_list())),
        };
        screened
    }

    /// Edits the frames at some places of a chunk.
    fn edit(&self, chunk: &Chunk, places: &[u32]) -> Screened {
        let mut wire = BytesMut::with_capacity(chunk.length_of(places));
        let mut index = Vec::with_capacity(places.len());
        let mut edited = Vec::with_capacity(places.len());
        let mut has_changed = false;
        let mut wanted = places.iter().copied().peekable();
        for (place, (frame, outline)) in (0..).zip(chunk.frames().zip(chunk.outlines())) {
            if wanted.next_if_eq(&place).is_none() {
                continue;
            }
            let start = wire.len();
            if let Ok(entry) = self.append(frame, outline, &mut wire) {
                index.push(entry);
                edited.push(place);
                has_changed |= wire[start + LENGTH..] != *frame;
            }
        }
        // At most the number of places, which is a `u32`.
        let malformed = (places.len() - edited.len()) as u64;
        let chunk = match edited.len() {
            0 => None,
            all if all == chunk.len() && !has_changed => Some(chunk.clone()),
            _ => Some(chunk.edited(wire, index.into(), &edited)),
        };
        Screened {
            chunk,
            malformed,
            ..Screened::default()
        }
    }

    /// Appends an edited frame with its length. Appends nothing on an error.
    fn append(
        &self,
        frame: &[u8],
        outline: Outline,
        wire: &mut BytesMut,
    ) -> Result<IndexEntry, Malformed> {
        let start = wire.len();
        wire.put_u32(0);
        if let Err(error) = self.privacy.append(frame, outline.message_type, wire) {
            wire.truncate(start);
            return Err(error);
        }
        let payload = &wire[start + LENGTH..];
        let outline = if payload.len() == frame.len() {
            outline
        } else {
            dnstap::outline(payload).unwrap_or_else(|_| Outline::of(outline.message_type))
        };
        // An edited frame is not longer than the original, so all of them fit in 32 bits.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        wire[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
        let end = u32::try_from(wire.len()).unwrap_or(u32::MAX);
        Ok(IndexEntry::new(end, outline))
    }
}

// === impl Places ===

impl Places {
    /// Adds a place after all others.
    #[inline]
    fn push(&mut self, place: u32) {
        if !self.has_gap && place != self.count {
            self.has_gap = true;
            self.list.extend(0..self.count);
        }
        if self.has_gap {
            self.list.push(place);
        }
        self.count += 1;
    }

    fn len(&self) -> u32 {
        self.count
    }

    /// Keeps only the first `count` places.
    fn truncate(&mut self, count: u32) {
        self.count = self.count.min(count);
        self.list.truncate(self.count as usize);
    }

    /// Returns all places.
    fn into_list(self) -> Vec<u32> {
        if self.has_gap {
            self.list
        } else {
            (0..self.count).collect()
        }
    }
}
