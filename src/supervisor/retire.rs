//! The end of what a new configuration no longer has, while the rest goes on.

use std::sync::Arc;

use tokio::{select, time::sleep};
use tracing::info;

use super::{ListenerHandle, SinkHandle, Supervisor};

impl Supervisor {
    /// Empties the sink's queue, ends its stream and lets it go, all within the drain's time. The router, that has it no
    /// more, closes the queue.
    pub(super) fn retire_sink(&mut self, mut sink: SinkHandle) {
        let (drain, abort) = (*self.drain.borrow(), self.abort.clone());
        sink.work.reporter.draining();
        self.view.sink_leaves(&sink);
        let view = self.view.clone();
        self.retiring_sinks.spawn(async move {
            select! {
                () = sink.task.ended() => {}
                () = sleep(drain) => sink.task.abort().await,
                () = abort.cancelled() => sink.task.abort().await,
            }
            sink.work.queues.abandon();
            sink.work.reporter.stopped();
            info!(sink = %sink.name(), "a sink that the configuration no longer has is at its end");
            sink.report().log();
            view.sink_left(&sink);
        });
    }

    /// Asks the listener's senders to end, reads what they still write, and lets it go.
    pub(super) fn retire_listener(&mut self, mut listener: ListenerHandle) {
        let drain = *self.drain.borrow();
        listener.signals.drain.cancel();
        self.view.listener_leaves(&listener);
        let view = self.view.clone();
        self.retiring_listeners.spawn(async move {
            select! {
                _ = &mut listener.task.0 => {}
                () = sleep(drain) => {
                    listener.signals.deadline.cancel();
                    // It ends soon now, by itself.
                    let _ = (&mut listener.task.0).await;
                }
            }
            let name = Arc::clone(listener.name());
            info!(listener = %name, "a listener that the configuration no longer has is at its end");
            listener.report().log();
            view.listener_left(&listener);
        });
    }
}
