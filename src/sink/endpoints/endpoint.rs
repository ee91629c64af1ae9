//! One endpoint of a sink that uses several endpoints at the same time.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::{
    health::{Event, Reporter},
    sink::{SinkStack, Stack},
};

/// An address of the sink's name, and everything that is needed to connect to it. The status of the sink shows the
/// endpoint until this value is dropped.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    stack: Stack,
    pub(super) reporter: Reporter,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(stack: &Stack, address: SocketAddr) -> Self {
        let reporter = stack.reporter.endpoint(&stack.label(address));
        Self {
            address,
            stack: stack.clone(),
            reporter,
        }
    }

    pub(super) fn build(&self, abort: CancellationToken) -> SinkStack {
        self.stack.build_to(self.address, &self.reporter, abort)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.reporter.report(&Event::Removed);
    }
}
