//! The frames that a sink gets.

use std::sync::Arc;

use super::{Sources, offer::Offer};
use crate::{filter::Screen, frame_stream::Chunk};

/// The frames that a sink gets: the frames of some listeners, if they pass the filter of the sink. Clones are cheap.
///
/// The router replaces both parts at the same time. So if a reload takes a listener from a sink, no frame of this
/// listener meets the new filter of the sink.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) sources: Sources,
    /// The filter; `None` if the sink gets all frames of its listeners as they are.
    pub(super) screen: Option<Arc<Screen>>,
}

// === impl Selection ===

impl Selection {
    /// Returns the frames of the same listeners that pass another filter. If the limit on the rate stays the same, it
    /// also counts the frames that passed before.
    pub(crate) fn with_screen(&self, mut screen: Screen) -> Self {
        let replaced = self.screen.as_ref();
        let replaced = replaced.and_then(|screen| screen.limit.as_ref());
        if let (Some(limit), Some(replaced)) = (&mut screen.limit, replaced) {
            limit.continue_from(replaced);
        }
        Self {
            sources: self.sources.clone(),
            screen: (!screen.is_noop()).then(|| Arc::new(screen)),
        }
    }

    /// Returns the frames of a chunk that the sink gets. Returns `None` if the sink does not get the frames of the
    /// chunk's listener.
    pub(super) fn of<'a>(&self, chunk: &'a Chunk) -> Option<Offer<'a>> {
        self.includes(chunk).then(|| match &self.screen {
            None => Offer::whole(chunk),
            Some(screen) => Offer::screened(screen, chunk),
        })
    }

    /// Returns whether the sink gets the frames of the chunk's listener.
    #[inline]
    pub(super) fn includes(&self, chunk: &Chunk) -> bool {
        self.sources.include_source(chunk.source())
    }
}

impl From<Sources> for Selection {
    /// Creates the selection of all frames of these listeners.
    fn from(sources: Sources) -> Self {
        Self {
            sources,
            screen: None,
        }
    }
}
