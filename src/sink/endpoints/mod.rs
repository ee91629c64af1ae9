//! The endpoints of a sink, that is, the addresses of its name to which it sends frames. Depending on the option
//! `endpoints`, a sink uses one address at a time, or it has connections to several addresses at the same time.
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

pub(crate) use self::outlook::Outlook;
pub(super) use self::wanted::ENDPOINTS_AT_MOST;
use super::{SinkError, Stack, driver::drive, restart};
use crate::{config::Endpoints, router::Queues};

/// The signals that end a sink.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// Ends the streams of the sink cleanly, and keeps its queues.
    pub retire: CancellationToken,
    /// Ends every wait immediately.
    pub abort: CancellationToken,
    /// The time in which an endpoint must drain its queue after its address has disappeared from the name. A reload can
    /// change this time.
    pub drain: watch::Receiver<Duration>,
}

/// Runs the sink until all its `queues` are closed and empty, or until `ends` cancels it. Restarts the sink after a
/// panic.
pub(crate) async fn run(stack: &Stack, queues: &Arc<Queues>, ends: &Ends) {
    let begin = || begin(stack.clone(), Arc::clone(queues), ends.clone());
    restart::keep_going(&stack.reporter, &ends.retire, &ends.abort, begin).await;
}

async fn begin(stack: Stack, queues: Arc<Queues>, ends: Ends) -> Result<(), SinkError> {
    match (stack.endpoints, stack.resolution()) {
        (Endpoints::Failover, _) | (_, None) => {
            let queue = queues.one();
            let service = stack.build(ends.abort.clone());
            let ended = restart::until_aborted(ends.abort, async {
                drive(service, &queue, &ends.retire).await
            })
            .await;
            stack.give_up();
            ended
        }
        (Endpoints::Balance, Some(resolution)) => {
            balance::run(&stack, resolution, queues.one(), ends).await
        }
        (Endpoints::All, Some(resolution)) => all::run(&stack, resolution, &queues, ends).await,
    }
}
