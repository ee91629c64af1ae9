//! The end of a link, and its reason.

use std::sync::{Arc, OnceLock};

use super::Session;
use crate::health::Disconnect;

/// The reason why a link has ended. Empty as long as it works.
#[derive(Debug, Default)]
pub(super) struct Life(OnceLock<Arc<Disconnect>>);

/// A guard that ends the link when its task ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) life: Arc<Life>,
    pub(super) session: Session,
}

// === impl End ===

impl Drop for End {
    fn drop(&mut self) {
        self.life.end(Disconnect::Aborted);
        self.session.wake();
    }
}

// === impl Life ===

impl Life {
    /// Returns the reason why the link has ended.
    pub(super) fn ended(&self) -> Option<Arc<Disconnect>> {
        self.0.get().cloned()
    }

    /// Ends the link for `cause`, unless it has already ended. Returns the first cause.
    pub(super) fn end(&self, cause: Disconnect) -> Arc<Disconnect> {
        Arc::clone(self.0.get_or_init(|| Arc::new(cause)))
    }
}
