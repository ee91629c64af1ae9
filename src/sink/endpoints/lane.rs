//! A lane, that is, a connection to one of a sink's addresses, as a service that takes batches.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{Service, load::Load};

use super::{endpoint::Endpoint, mailbox::Mailbox};
use crate::{
    router::Taken,
    sink::{
        SinkError,
        driver::drive,
        restart::{keep_going, until_aborted},
    },
};

/// The sending end of a lane, that is, of a connection to one address.
///
/// The sending end is ready while the connection is up and the lane can take another batch. Its [load](Load) is the
/// number of bytes that were passed to the lane and are not written yet.
///
/// Dropping the sending end ends the lane: the lane's driver finishes the batch that is being written, the batch that
/// waits returns to its queue, and the stream ends with STOP and FINISH.
#[derive(Debug)]
pub(super) struct Lane {
    mailbox: Arc<Mailbox>,
    _retire: DropGuard,
}

/// A guard that closes the mailbox of a lane when the lane's driver ends, and also when the driver panics.
struct ShutOnDrop(Arc<Mailbox>);

// === impl Lane ===

impl Lane {
    /// Creates the sending end of a lane to `endpoint`, and the task that runs the connection. The task runs until the
    /// sending end is dropped or `abort` is cancelled.
    pub(super) fn new(
        endpoint: Endpoint,
        abort: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let mailbox = Arc::<Mailbox>::default();
        let retire = CancellationToken::new();
        let lane = Self {
            mailbox: Arc::clone(&mailbox),
            _retire: retire.clone().drop_guard(),
        };
        let task = async move {
            let begin = || lane_of(&endpoint, &mailbox, &retire, &abort);
            keep_going(&endpoint.reporter, &retire, &abort, begin).await;
        };
        (lane, task)
    }
}

fn lane_of(
    endpoint: &Endpoint,
    mailbox: &Arc<Mailbox>,
    retire: &CancellationToken,
    abort: &CancellationToken,
) -> impl Future<Output = Result<(), SinkError>> + Send + use<> {
    let service = endpoint.build(abort.clone());
    let mailbox = ShutOnDrop(Arc::clone(mailbox));
    let retire = retire.clone();
    until_aborted(abort.clone(), async move {
        drive(service, &*mailbox.0, &retire).await
    })
}

impl Service<Taken> for Lane {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.mailbox.poll_room(cx).map(Ok)
    }

    fn call(&mut self, taken: Taken) -> Self::Future {
        self.mailbox.put(taken);
        ready(Ok(()))
    }
}

impl Load for Lane {
    type Metric = u64;

    fn load(&self) -> u64 {
        self.mailbox.load()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Only the batch that waits returns to the queue. The driver still writes the other batch.
        self.mailbox.shut();
    }
}

// === impl ShutOnDrop ===

impl Drop for ShutOnDrop {
    fn drop(&mut self) {
        self.0.shut();
    }
}
