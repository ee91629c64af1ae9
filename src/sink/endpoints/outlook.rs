//! What a sink that uses several endpoints keeps its eyes on: where its name leads, and how the endpoints do.

use std::sync::Arc;

use tokio::{select, sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::{
    net::Addresses,
    sink::{
        Backoff, ConnectCause, ConnectError, Reporter, Resolution, Stack, Stage, Status,
        endpoints::wanted::ENDPOINTS_AT_MOST,
    },
};

/// Where the sink's name leads, and how its endpoints do.
#[derive(Debug)]
pub(super) struct Outlook {
    resolution: Resolution,
    reporter: Reporter,
    addresses: watch::Receiver<Arc<Addresses>>,
    status: watch::Receiver<Status>,
    /// Connections that ended and attempts that failed, as far as a look-up was asked for.
    troubles: u64,
    /// Addresses beyond the bound, as far as the log knows.
    left_out: usize,
    _resolving: AbortOnDropHandle<()>,
}

// === impl Outlook ===

impl Outlook {
    /// Begins to look the name up.
    pub(super) fn new(stack: &Stack, resolution: &Resolution) -> Self {
        let reporter = stack.reporter().clone();
        reporter.divides();
        let status = reporter.watch();
        let troubles = troubles(&status.borrow());
        Self {
            resolution: resolution.clone(),
            addresses: resolution.addresses(),
            _resolving: stack.resolve(resolution),
            status,
            troubles,
            left_out: 0,
            reporter,
        }
    }

    /// Waits until it is known where the name leads.
    pub(super) async fn first(&mut self) {
        let mut backoff = Backoff::new();
        loop {
            self.reporter.resolving();
            let answer = self.resolution.for_attempt().await;
            if !self.addresses().is_empty() {
                return;
            }
            let delay = backoff.next_delay();
            if let Err(error) = answer {
                let name = self.resolution.destination().to_string();
                let cause = ConnectCause::Resolve(error);
                let error = ConnectError::new(Stage::Resolve, &name, cause);
                self.reporter.failed(&error, delay);
            }
            select! {
                () = sleep(delay) => {}
                // A look-up between two attempts may bring what this waits for.
                _ = self.addresses.changed() => {}
            }
        }
    }

    /// The last good addresses.
    pub(super) fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses.borrow())
    }

    /// Waits until something has changed. Has the name looked up at once when an endpoint is in trouble. Cancel safe.
    pub(super) async fn changed(&mut self) {
        select! {
            // Neither fails: both senders are here.
            _ = self.addresses.changed() => {}
            _ = self.status.changed() => {
                let troubles = troubles(&self.status.borrow_and_update());
                if troubles != self.troubles {
                    self.troubles = troubles;
                    self.resolution.want();
                }
            }
        }
    }

    /// Tells the log of addresses that are not used, if it does not know.
    pub(super) fn leave_out(&mut self, left_out: usize) {
        if left_out > 0 && self.left_out == 0 {
            let sink = self.reporter.sink();
            let used = ENDPOINTS_AT_MOST;
            warn!(%sink, used, left_out, "the name has more addresses than a sink uses; the others get nothing");
        }
        self.left_out = left_out;
    }
}

fn troubles(status: &Status) -> u64 {
    let ended: u64 = status.disconnects().map(|(_, count)| count).sum();
    ended + status.failed_connects
}
