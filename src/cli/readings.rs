//! Reads the Tapfile while the router runs. A read runs in the background, so that tapfan still handles signals while a
//! slow read is in progress.

use std::{
    future::{Future, pending},
    pin::Pin,
};

use tokio::select;

use super::tapfile::{Read, Tapfile};
use crate::files::{Reader, Unanswered};

/// The read of the Tapfile that is in progress, and the request for another read after it.
pub(super) struct Readings {
    tapfile: Tapfile,
    reader: Reader,
    under_way: Option<(Wanted, Reading)>,
    next: Option<Wanted>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Read, Unanswered>> + Send>>;

/// The reason to read the Tapfile again. A later variant takes precedence over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// A file may have changed.
    IfChanged,
    /// A signal requested a reload.
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

    /// Starts a read. If a read is already in progress, returns `false`, and another read starts when the current read
    /// is done. Several calls during one read cause only one additional read.
    pub(super) fn ask(&mut self, wanted: Wanted) -> bool {
        if self.under_way.is_some() {
            self.next = self.next.max(Some(wanted));
            return false;
        }
        let reading = self.tapfile.clone().read(self.reader.clone());
        self.under_way = Some((wanted, Box::pin(reading)));
        true
    }

    /// Waits for the result of the read in progress. If no read is in progress, waits until one is started and has
    /// ended. Cancel safe.
    pub(super) async fn done(&mut self) -> (Wanted, Result<Read, Unanswered>) {
        loop {
            let (wanted, read) = select! {
                read = end(&mut self.under_way) => read,
                // An earlier read timed out while it waited for a file. The file can be read now, so the Tapfile is
                // read again.
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
