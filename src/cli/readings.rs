//! Readings of the Tapfile while the router runs: none of them holds up signals, however long it takes.

use std::{
    future::{Future, pending},
    pin::Pin,
};

use tokio::select;

use super::tapfile::{Read, Tapfile};
use crate::files::{Reader, Unanswered};

/// The reading under way, and the one that is to follow it.
pub(super) struct Readings {
    tapfile: Tapfile,
    reader: Reader,
    under_way: Option<(Wanted, Reading)>,
    next: Option<Wanted>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Read, Unanswered>> + Send>>;

/// The reason to read the Tapfile again; the one that asks for more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// A file may have changed.
    IfChanged,
    /// A signal asked for it.
    Always,
}

// === impl Readings ===

impl Readings {
    pub(super) fn new(tapfile: Tapfile) -> Self {
        Self {
            tapfile,
            reader: Reader::new(),
            under_way: None,
            next: None,
        }
    }

    /// Begins a reading, or has one follow the one that is under way; `false` then. Several that are asked for meanwhile
    /// are one.
    pub(super) fn ask(&mut self, wanted: Wanted) -> bool {
        if self.under_way.is_some() {
            self.next = self.next.max(Some(wanted));
            return false;
        }
        let reading = self.tapfile.clone().read(self.reader.clone());
        self.under_way = Some((wanted, Box::pin(reading)));
        true
    }

    /// Waits for the end of the reading under way, for ever if there is none. Cancel safe.
    pub(super) async fn done(&mut self) -> (Wanted, Result<Read, Unanswered>) {
        loop {
            let (wanted, read) = select! {
                read = end(&mut self.under_way) => read,
                // What could not be read in time may be read now.
                () = self.reader.answered_late() => {
                    self.ask(Wanted::IfChanged);
                    continue;
                }
            };
            self.under_way = None;
            if let Some(next) = self.next.take() {
                self.ask(next);
            }
            return (wanted, read);
        }
    }
}

async fn end(reading: &mut Option<(Wanted, Reading)>) -> (Wanted, Result<Read, Unanswered>) {
    match reading {
        Some((wanted, reading)) => (*wanted, reading.as_mut().await),
        None => pending().await,
    }
}
