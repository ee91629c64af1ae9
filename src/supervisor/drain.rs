//! The end in order: senders first, then queues, then streams.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{ListenerHandle, RouterPhase, SinkHandle, Supervisor, drops};
use crate::{listener::Snapshot, router::Ledger};

/// What the router has done from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One for each listener.
    pub listeners: Vec<ListenerReport>,
    /// One for each sink.
    pub sinks: Vec<SinkReport>,
}

/// What one listener has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerReport {
    /// Its name.
    pub name: Arc<str>,
    /// Its counters at the end.
    pub counts: Snapshot,
}

/// What one sink has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkReport {
    /// Its name.
    pub name: Arc<str>,
    /// Its account at the end: nothing is queued or in flight.
    pub ledger: Ledger,
}

/// For listeners after the deadline. Each cuts its own connections after half a second; on a machine that is very busy
/// that takes longer, and a connection that is cut here instead may still be offering frames while the queues close.
const LISTENERS_END: Duration = Duration::from_secs(4);

/// For tasks that were told that their time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Ends the router: stops accepting, asks senders to end and reads what they still write, then empties the
    /// queues, ends the collectors' streams with STOP and awaits FINISH.
    ///
    /// It takes no longer than the configured `drain`, and no longer than until `hurry` is cancelled. Senders get
    /// three quarters of that, since a sender that does not read its back channel goes on until the end of it; the
    /// last quarter is for the sinks alone. What cannot be delivered by then is counted as lost to the shutdown.
    pub async fn drain(mut self, hurry: CancellationToken) -> Report {
        let begun = Instant::now();
        let drain = *self.drain.borrow();
        let (intake_ends, ends) = (begun + drain * 3 / 4, begun + drain);
        info!(at_most = ?drain, "draining: no new senders, and those there are asked to end");
        self.view.enter(RouterPhase::Draining);
        self.signals.drain.cancel();
        self.end_intake(intake_ends, &hurry).await;
        for sink in &self.sinks {
            sink.work.reporter.draining();
            sink.work.queues.close();
        }
        self.end_sinks(ends, &hurry).await;
        let report = Report {
            listeners: self.listeners.iter().map(ListenerHandle::report).collect(),
            sinks: self.sinks.iter().map(SinkHandle::report).collect(),
        };
        report.listeners.iter().for_each(ListenerReport::log);
        report.sinks.iter().for_each(SinkReport::log);
        report
    }

    async fn end_intake(&mut self, ends: Instant, hurry: &CancellationToken) {
        let deadline = self.signals.deadline.clone();
        let retiring = &mut self.retiring_listeners;
        let all = async {
            for listener in &mut self.listeners {
                // A panic in there is told where it is reaped; what matters here is that it has ended.
                let _ = (&mut listener.task.0).await;
            }
            // They still take frames for the sinks, too.
            while retiring.join_next().await.is_some() {}
        };
        let mut all = Box::pin(all);
        select! {
            () = &mut all => return,
            () = sleep_until(ends) => {}
            () = hurry.cancelled() => {}
        }
        deadline.cancel();
        if timeout_at(Instant::now() + LISTENERS_END, all)
            .await
            .is_err()
        {
            warn!("a listener did not end in time and is cut");
        }
        for listener in &self.listeners {
            listener.task.0.abort();
        }
        self.retiring_listeners.abort_all();
    }

    async fn end_sinks(&mut self, ends: Instant, hurry: &CancellationToken) {
        let (sinks, retiring) = (&mut self.sinks, &mut self.retiring_sinks);
        let all = async {
            for sink in sinks {
                sink.task.ended().await;
                sink.work.queues.abandon();
                sink.work.reporter.stopped();
            }
            while retiring.join_next().await.is_some() {}
        };
        let mut all = Box::pin(all);
        select! {
            () = &mut all => return,
            () = sleep_until(ends) => {}
            () = hurry.cancelled() => {}
        }
        self.abort.cancel();
        let in_time = timeout_at(Instant::now() + LAST_WORDS, all).await.is_ok();
        if !in_time {
            for sink in &self.sinks {
                sink.task.cut();
                sink.work.queues.abandon();
                sink.work.reporter.stopped();
            }
        }
    }
}

// === impl ListenerHandle ===

impl ListenerHandle {
    pub(super) fn report(&self) -> ListenerReport {
        ListenerReport {
            name: Arc::clone(self.name()),
            counts: self.counters().snapshot(),
        }
    }
}

// === impl SinkHandle ===

impl SinkHandle {
    pub(super) fn report(&self) -> SinkReport {
        SinkReport {
            name: Arc::clone(self.name()),
            ledger: self.ledger(),
        }
    }
}

// === impl ListenerReport ===

impl ListenerReport {
    pub(super) fn log(&self) {
        let Self { name, counts } = self;
        let Snapshot {
            accepted,
            frames,
            bytes,
            ..
        } = counts;
        let refused = counts.described_errors();
        info!(listener = %name, connections = accepted, frames, bytes, %refused, "listener's ledger");
    }
}

// === impl SinkReport ===

impl SinkReport {
    pub(super) fn log(&self) {
        let Self { name, ledger } = self;
        let Ledger {
            offered,
            delivered,
            delivered_bytes,
            ..
        } = ledger;
        let dropped = ledger.dropped_total();
        let reasons = drops::describe(ledger, &Ledger::default());
        info!(sink = %name, offered, delivered, delivered_bytes, dropped, %reasons, "sink's ledger");
    }
}
