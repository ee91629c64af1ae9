//! Chunks that were made from other chunks, and that live as long as the buffer of the original.

use std::{
    ops::Range,
    sync::{Arc, OnceLock, Weak},
};

use super::Chunk;
use crate::lock::Mutex;

/// A user of [`Chunk::derived`]. Each maker has a place of its own at each view.
#[derive(Debug, Default)]
pub(crate) struct Maker(Arc<()>);

/// The place of the chunk that one maker makes from one view of a buffer. Clones of the view have the same place.
///
/// The chunk is made at most once. It leaves memory when the last view of the original buffer is dropped, when the last
/// reader has taken it, or when its maker removes it.
#[derive(Debug, Default)]
pub(crate) struct Derived(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    NotMade,
    Kept {
        chunk: Chunk,
        /// The number of readers that are expected to take the chunk. The number is an estimate, because a reader may
        /// never get the original chunk.
        awaited: usize,
    },
    Gone,
}

/// The places at a buffer. Nearly all buffers have none.
#[derive(Debug, Default)]
pub(super) struct Places(OnceLock<Box<Mutex<Vec<Place>>>>);

#[derive(Debug)]
struct Place {
    /// The maker. Its address is not used again as long as this reference exists.
    maker: Weak<()>,
    /// The frames of the view.
    range: Range<u32>,
    derived: Arc<Derived>,
}

// === impl Places ===

impl Places {
    /// Returns the place of `maker` at the view with the frames `range`.
    pub(super) fn of(&self, maker: &Maker, range: &Range<u32>) -> Arc<Derived> {
        let mut places = self.0.get_or_init(Box::default).lock();
        let mut known = places.iter();
        let is_same = |place: &&Place| {
            std::ptr::eq(place.maker.as_ptr(), Arc::as_ptr(&maker.0)) && place.range == *range
        };
        if let Some(place) = known.find(is_same) {
            return Arc::clone(&place.derived);
        }
        // Places of makers that are gone are of no use. There are few, because makers are gone only after a reload.
        places.retain(|place| place.maker.strong_count() > 0);
        let derived = Arc::<Derived>::default();
        places.push(Place {
            maker: Arc::downgrade(&maker.0),
            range: range.clone(),
            derived: Arc::clone(&derived),
        });
        derived
    }
}

// === impl Derived ===

impl Derived {
    /// Returns the chunk of this place. The first call calls `make`, and the place keeps the result for `readers` more
    /// calls. Returns `None` if `make` returned `None`, or if the chunk is no longer kept.
    ///
    /// If another thread makes the chunk at the same time, this function waits for that thread, as long as `make`
    /// takes. Without the wait, threads that take the same chunks at the same time would make each of them twice.
    pub(crate) fn take_or_make(
        &self,
        readers: usize,
        make: impl FnOnce() -> Option<Chunk>,
    ) -> Option<Chunk> {
        let mut state = self.0.lock();
        let (chunk, awaited) = match &*state {
            State::NotMade => {
                // If `make` panics, the next reader calls its own `make`.
                let result = make();
                *state = match &result {
                    Some(chunk) => State::Kept {
                        chunk: chunk.clone(),
                        awaited: readers,
                    },
                    None => State::Gone,
                };
                return result;
            }
            State::Kept { chunk, awaited } => (chunk.clone(), awaited.saturating_sub(1)),
            State::Gone => return None,
        };
        *state = match awaited {
            0 => State::Gone,
            awaited => State::Kept {
                chunk: chunk.clone(),
                awaited,
            },
        };
        Some(chunk)
    }

    /// Removes the chunk from memory.
    pub(crate) fn clear(&self) {
        *self.0.lock() = State::Gone;
    }

    /// Returns the size in bytes of the buffer that is kept here, or 0 if there is none.
    #[cfg(test)]
    pub(crate) fn buffer(&self) -> usize {
        match &*self.0.lock() {
            State::Kept { chunk, .. } => chunk.buffer(),
            State::NotMade | State::Gone => 0,
        }
    }
}
