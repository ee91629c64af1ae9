//! One address of a sink that uses several at a time.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::sink::{Reporter, SinkError, SinkStack, Stack, restart};

/// An address, and all that is needed for a connection to it. The sink's status shows it until it is dropped.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    stack: Stack,
    reporter: Reporter,
}

// === impl Endpoint ===

impl Endpoint {
    /// One of the endpoints of the sink with this `stack`.
    pub(super) fn new(stack: &Stack, address: SocketAddr) -> Self {
        let reporter = stack.reporter().endpoint(&stack.label(address));
        Self {
            address,
            stack: stack.clone(),
            reporter,
        }
    }

    /// Where it tells what it does.
    pub(super) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// A new stack to it.
    pub(super) fn build(&self, abort: CancellationToken) -> SinkStack {
        self.stack.build_to(self.address, &self.reporter, abort)
    }

    /// See [`restart::keep_going`].
    pub(super) async fn keep_going<F>(
        &self,
        retire: &CancellationToken,
        abort: &CancellationToken,
        begin: impl FnMut() -> F,
    ) where
        F: Future<Output = Result<(), SinkError>> + Send + 'static,
    {
        restart::keep_going(&self.reporter, retire, abort, begin).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.reporter.gone();
    }
}
