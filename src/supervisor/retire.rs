//! Drains the listeners and sinks that a reload removed, while the rest of the router keeps running.

use std::sync::Arc;

use tokio::{select, time::sleep};
use tracing::{info, warn};

use super::{ListenerHandle, SinkHandle, Supervisor};
use crate::health::Event;

impl Supervisor {
    /// Drains a removed sink: empties its queue and ends its stream within the drain's deadline. The queue takes no new
    /// frames: the router closed it when it removed the sink from its set.
    pub(super) fn retire_sink(&mut self, mut sink: SinkHandle) {
        let (drain, abort) = (*self.drain.borrow(), self.abort.child_token());
        let spool = sink.config.spool.as_ref();
        let in_use = spool.map(|spool| self.leaving_spools.add(&spool.folder, &abort));
        sink.work.reporter.report(&Event::Draining);
        let lost_before = sink.ledger().dropped_total();
        self.view.sink_leaves(&sink);
        let view = self.view.clone();
        self.retiring_sinks.spawn(async move {
            select! {
                () = sink.task.ended() => {}
                () = sleep(drain) => sink.task.abort().await,
                () = abort.cancelled() => sink.task.abort().await,
            }
            sink.end().await;
            let report = sink.report();
            match report.ledger.dropped_total().saturating_sub(lost_before) {
                0 => info!(sink = %sink.name(), "a removed sink has stopped"),
                lost => {
                    warn!(sink = %sink.name(), lost, "a removed sink has stopped; frames were lost");
                }
            }
            report.log();
            view.sink_left(&sink);
            drop(in_use);
        });
    }

    /// Drains a removed listener: asks its senders to finish and reads the frames that they still send.
    pub(super) fn retire_listener(&mut self, mut listener: ListenerHandle) {
        let drain = *self.drain.borrow();
        listener.signals.drain.cancel();
        self.view.listener_leaves(&listener);
        let view = self.view.clone();
        self.retiring_listeners.spawn(async move {
            select! {
                _ = &mut listener.task => {}
                () = sleep(drain) => {
                    listener.signals.deadline.cancel();
                    // The listener now closes its connections, and stops soon.
                    let _ = (&mut listener.task).await;
                }
            }
            let name = Arc::clone(listener.name());
            info!(listener = %name, "a removed listener has stopped");
            listener.report().log();
            view.listener_left(&listener);
        });
    }
}
