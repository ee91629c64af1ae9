//! The spool of a program that was built without the feature `spool`. The types have no values.

use std::{convert::Infallible, future::Ready, ops::Range, sync::Arc};

use super::state::{SpoolSetupError, SpoolState};
use crate::{config, memory::Budget, router::Queue};

pub(crate) struct Opened(Infallible);

#[derive(Debug)]
pub(crate) struct Spooler(Infallible);

// === impl Opened ===

impl Opened {
    pub(crate) fn new(_: &str, _: &config::Spool, _: &Budget) -> Result<Self, SpoolSetupError> {
        Err(SpoolSetupError::NotBuilt)
    }

    pub(crate) fn frames(&self) -> Range<u64> {
        match self.0 {}
    }

    pub(crate) fn start(self, _: Arc<Queue>) -> Spooler {
        match self.0 {}
    }
}

// === impl Spooler ===

impl Spooler {
    pub(crate) fn change(&self, _: &str, _: &config::Spool) {
        match self.0 {}
    }

    pub(crate) fn end(&self) -> Ready<bool> {
        match self.0 {}
    }

    pub(crate) fn state(&self) -> &Arc<SpoolState> {
        match self.0 {}
    }
}
