//! The addresses of a sink that uses several endpoints, and the health of the endpoints.

use std::sync::Arc;

use tokio::{select, sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    health::{Event, Reporter, SinkHealth, Stage},
    net::Addresses,
    sink::{
        Backoff, ConnectCause, ConnectError, Resolution, Stack,
        endpoints::wanted::ENDPOINTS_AT_MOST,
    },
};

/// The addresses of the sink's name, and the health of its endpoints.
#[derive(Debug)]
pub(super) struct Outlook {
    resolution: Resolution,
    reporter: Reporter,
    addresses: watch::Receiver<Arc<Addresses>>,
    status: watch::Receiver<SinkHealth>,
    /// The last known number of ended connections and failed attempts. When this number changes, a lookup is requested.
    troubles: u64,
    /// The number of addresses that were not used at the last update, because the name had too many addresses.
    left_out: usize,
    _resolving: AbortOnDropHandle<()>,
}

// === impl Outlook ===

impl Outlook {
    /// Starts the lookups of the name.
    pub(super) fn new(stack: &Stack, resolution: &Resolution) -> Self {
        let reporter = stack.reporter.clone();
        reporter.report(&Event::Divided);
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

    pub(super) async fn first(&mut self) {
        let mut backoff = Backoff::new();
        loop {
            self.reporter.report(&Event::Resolving);
            let answer = self.resolution.for_attempt().await;
            if !self.addresses().is_empty() {
                return;
            }
            let delay = backoff.next_delay();
            if let Err(error) = answer {
                let name = self.resolution.destination.to_string();
                let cause = ConnectCause::Resolve(error);
                let error = ConnectError::new(Stage::Resolve, &name, cause);
                let attempt = &error.as_failed();
                self.reporter.report(&Event::Failed { attempt, delay });
            }
            select! {
                () = sleep(delay) => {}
                // A lookup that ends during the delay can also find addresses.
                _ = self.addresses.changed() => {}
            }
        }
    }

    pub(super) fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses.borrow())
    }

    /// Waits until the addresses of the sink's name change, or the health of an endpoint changes. If an attempt has
    /// failed or a connection has ended, requests an immediate lookup. Cancel safe.
    pub(super) async fn changed(&mut self) {
        select! {
            // `changed` fails only if the sender is dropped, and `self` owns both senders.
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

    /// Reports that the sink does not use some of the addresses, because there are too many. Reports it only once, as
    /// long as there are too many.
    pub(super) fn leave_out(&mut self, left_out: usize) {
        if left_out > 0 && self.left_out == 0 {
            let used = ENDPOINTS_AT_MOST;
            self.reporter.report(&Event::LeftOut { used, left_out });
        }
        self.left_out = left_out;
    }
}

fn troubles(status: &SinkHealth) -> u64 {
    let ended: u64 = status.disconnects.values().sum();
    ended + status.failed_connects
}
