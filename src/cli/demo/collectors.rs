//! The demo's three collectors, with the names and settings of their sinks.

use std::{io, path::Path, sync::Arc};

use super::{
    collector::{Collector, Expects},
    traffic::Traffic,
};
use crate::net::BindError;

/// The collectors, in the order of the sinks in the configuration.
pub(super) struct Collectors {
    pub(super) archive: Collector,
    pub(super) analytics: Collector,
    pub(super) siem: Collector,
}

pub(super) const ARCHIVE: &str = "archive";
pub(super) const ANALYTICS: &str = "analytics";
pub(super) const SIEM: &str = "siem";
pub(super) const IDENTITY: &str = "edge-1";

/// The value of the `queue` option of the sink `siem`. With this value, the queue holds 8 times 10,000 frames and 8
/// times 32 MiB, which is enough for the longest outage in the demo.
pub(super) const SIEM_QUEUE: usize = 8;

// === impl Collectors ===

impl Collectors {
    pub(super) fn new(folder: &Path, traffic: &Arc<Traffic>) -> io::Result<Self> {
        Ok(Self {
            archive: Collector::unix(folder.join("archive.sock"), Expects::SendersBytes, traffic),
            analytics: Collector::tcp(Expects::NoMessages, traffic)?,
            siem: Collector::tcp(Expects::Identity(IDENTITY), traffic)?,
        })
    }

    pub(super) fn open_all(&mut self) -> Result<(), BindError> {
        self.archive.open()?;
        self.analytics.open()?;
        self.siem.open()
    }

    pub(super) fn each(&self) -> [&Collector; 3] {
        [&self.archive, &self.analytics, &self.siem]
    }
}
