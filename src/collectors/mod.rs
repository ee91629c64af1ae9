//! The collectors of a `dnstap listen` line. They connect to the sink, and the sink writes to them.
//!
//! ```text
//! socket ─► server ─┬─► opening: TLS, READY, ACCEPT
//!                   ├─► collector: START, queue ─► driver ─► rewrite ─► connection
//!                   └─► collector: …                one task per connection
//! ```
//!
//! Although the collectors connect, tapfan speaks the part of the sender: it sends READY and START. Each collector
//! gets the frames that arrive while it is connected. Its queue ends with its connection. A collector that reads too
//! slowly loses frames in its own queue, and affects no other collector.
//!
//! `collectors` takes the socket and its accept loop from `listener`, and the driver and the connection from `sink`.
//! Only `supervisor` calls `collectors`.

mod collector;
mod lines;
mod opening;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use self::server::{Survivors, serve};
pub(crate) use self::{server::Server, settings::Settings};
use crate::{
    router::Queues,
    sink::{Ends, keep_going},
};

/// Serves the collectors of a sink until its `queues` are closed and empty, or until `ends` cancels it. Continues
/// after a panic, with the collectors that are connected.
pub(crate) async fn run(server: &Arc<Server>, queues: &Arc<Queues>, ends: &Ends) {
    let survivors = Survivors::of(server);
    let begin = || {
        let (server, queues) = (Arc::clone(server), Arc::clone(queues));
        serve(server, queues, ends.clone(), survivors.clone())
    };
    keep_going(&server.reporter, &ends.retire, &ends.abort, begin).await;
    // A reload can end the sink after a panic, before the restart. The collectors that are connected must still get the
    // frames in their queues.
    if survivors.have_collectors() {
        let _ = AbortOnDropHandle::new(tokio::spawn(begin())).await;
    }
}
