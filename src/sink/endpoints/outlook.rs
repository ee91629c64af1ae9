//! The addresses of a name when the sink uses several of them, and the health of their endpoints.

use std::sync::Arc;

use tokio::{select, sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    health::{Event, Reporter, SinkHealth, Stage},
    net::Addresses,
    sink::{Backoff, ConnectCause, ConnectError, Resolution},
};

/// The addresses of a name, and the health of the endpoints at these addresses.
#[derive(Debug)]
pub(crate) struct Outlook {
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
    pub(crate) fn new(reporter: Reporter, resolution: &Resolution) -> Self {
        reporter.report(&Event::Divided);
        let status = reporter.watch();
        let troubles = troubles(&status.borrow());
        Self {
            resolution: resolution.clone(),
            addresses: resolution.addresses(),
            _resolving: resolution.start(reporter.clone()),
            status,
            troubles,
            left_out: 0,
            reporter,
        }
    }

    pub(crate) async fn first(&mut self) {
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

    pub(crate) fn addresses(&self) -> Arc<Addresses> {
        Arc::clone(&self.addresses.borrow())
    }

    /// Waits until the addresses of the name change, or the health of an endpoint changes. If an attempt has
    /// failed or a connection has ended, requests an immediate lookup. Cancel safe.
    pub(crate) async fn changed(&mut self) {
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

    /// Reports that the name has more than `used` addresses, so some are not used. Reports it only once, until all
    /// addresses are used again.
    pub(crate) fn leave_out(&mut self, left_out: usize, used: usize) {
        if left_out > 0 && self.left_out == 0 {
            self.reporter.report(&Event::LeftOut { used, left_out });
        }
        self.left_out = left_out;
    }
}

fn troubles(status: &SinkHealth) -> u64 {
    let ended: u64 = status.disconnects.values().sum();
    ended + status.failed_connects
}
