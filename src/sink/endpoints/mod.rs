//! The addresses that a sink uses at a time: one, or several, each with a connection of its own.
//!
//! ```text
//! failover   queue ─► driver ─► stack
//! balance    queue ─► dispatcher ─┬─► lane: mailbox ─► driver ─► stack to one address
//!                                 └─► lane: …
//! all        queue ─► driver ─► stack to one address
//!            queue ─► …
//! ```

mod all;
mod balance;
mod endpoint;
mod lane;
mod mailbox;
mod outlook;
mod wanted;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) use self::wanted::ENDPOINTS_AT_MOST;
use super::{SinkError, Stack, driver::drive, restart, stack::Mode};
use crate::router::Queues;

/// The ways to end a sink.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Ends its streams in order, and leaves what is queued.
    pub retire: CancellationToken,
    /// Ends whatever it waits for.
    pub abort: CancellationToken,
    /// The time, which a reload may change, for emptying the queue of an endpoint whose address has left the name.
    pub drain: watch::Receiver<Duration>,
}

/// Takes from the sink's `queues` until they are closed and empty, or until an [end](Ends) is requested, and starts again
/// after a panic.
pub async fn run(stack: &Stack, queues: &Arc<Queues>, ends: &Ends) {
    let begin = || begin(stack.clone(), Arc::clone(queues), ends.clone());
    restart::keep_going(stack.reporter(), &ends.retire, &ends.abort, begin).await;
}

async fn begin(stack: Stack, queues: Arc<Queues>, ends: Ends) -> Result<(), SinkError> {
    match stack.mode() {
        Mode::Failover => {
            let queue = queues.one();
            let service = stack.build(ends.abort.clone());
            restart::until_aborted(ends.abort, async {
                drive(service, &queue, &ends.retire).await
            })
            .await
        }
        Mode::Balance(resolution) => balance::run(&stack, resolution, queues.one(), ends).await,
        Mode::All(resolution) => all::run(&stack, resolution, &queues, ends).await,
    }
}
