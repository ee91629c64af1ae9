//! The spool of a program that was built without the feature `spool`. The types have no values.

use std::{ops::Range, sync::Arc};

use super::state::{SpoolSetupError, SpoolState};
use crate::{config, memory::Budget, router::Queue};

pub(crate) enum Opened {}

#[derive(Debug)]
pub(crate) enum Spooler {}

// === impl Opened ===

impl Opened {
    pub(crate) fn new(_: &str, _: &config::Spool, _: &Budget) -> Result<Self, SpoolSetupError> {
        Err(SpoolSetupError::NotBuilt)
    }

    pub(crate) fn frames(&self) -> Range<u64> {
        match *self {}
    }

    pub(crate) fn start(self, _: Arc<Queue>) -> Spooler {
        match self {}
    }
}

// === impl Spooler ===

impl Spooler {
    pub(crate) fn change(&self, _: &str, _: &config::Spool) {
        match *self {}
    }

    pub(crate) async fn end(&self) -> bool {
        match *self {}
    }

    pub(crate) fn state(&self) -> &Arc<SpoolState> {
        match *self {}
    }
}
