//! The drain: ends the senders' streams first, then empties the queues, then ends the streams to the collectors.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{ListenerHandle, SinkHandle, Supervisor, drops};
use crate::{
    config::quantity::Time,
    health::{Event, RouterPhase},
    listener::Snapshot,
    router::Ledger,
};

/// The final counts of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The report of each listener.
    pub listeners: Vec<ListenerReport>,
    /// The report of each sink.
    pub sinks: Vec<SinkReport>,
}

/// The final counts of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerReport {
    /// Its name.
    pub name: Arc<str>,
    /// Its final counters.
    pub counts: Snapshot,
}

/// The final ledger of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkReport {
    /// Its name.
    pub name: Arc<str>,
    /// The final ledger of the sink, with nothing in flight. With a spool, the frames that are still queued are on the
    /// disk.
    pub ledger: Ledger,
}

/// The time that listeners have to stop after their deadline. A listener closes its connections within half a second,
/// or later on a busy machine. After this time the listener's task is aborted, and its connections may then still offer
/// frames while the queues close.
const LISTENERS_END: Duration = Duration::from_secs(4);

/// The longest drain. A program that wants no time limit may pass `Duration::MAX`, which cannot be added to the current
/// time. So longer times are shortened to this constant.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that sinks have to stop after the deadline.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Stops the router cleanly. The router stops accepting connections, asks senders to finish, and reads the frames
    /// that they still send. Then the router empties the queues, ends the streams to the collectors with STOP, and
    /// waits for FINISH.
    ///
    /// The drain takes at most the configured time `drain`, and ends early when `hurry` is cancelled. Senders get at
    /// most three quarters of the time, so that sinks have at least a quarter: a sender that does not read its back
    /// channel never finishes by itself. Frames that are not delivered at the end are counted as dropped with reason
    /// `shutdown`. If the sink has a spool, these frames stay in the spool and count as queued.
    pub async fn drain(self, hurry: CancellationToken) -> Report {
        let drain = *self.drain.borrow();
        self.drain_within(drain, hurry).await
    }

    /// Stops the router like [`drain`](Self::drain), within the time `drain` instead of the configured one. A time of
    /// more than a day is shortened to a day.
    pub async fn drain_within(mut self, drain: Duration, hurry: CancellationToken) -> Report {
        let (begun, before) = (Instant::now(), self.ledger());
        let drain = drain.min(LONGEST);
        self.drain.send_replace(drain);
        let (intake_ends, ends) = (begun + drain * 3 / 4, begun + drain);
        info!(at_most = ?drain, "draining: stopped accepting senders, asked connected ones to finish");
        self.view.enter(RouterPhase::Draining);
        self.signals.drain.cancel();
        self.end_intake(intake_ends, &hurry).await;
        for sink in &self.sinks {
            sink.work.reporter.report(&Event::Draining);
            sink.work.queues.close();
        }
        self.end_sinks(ends, &hurry).await;
        let report = Report {
            listeners: self.listeners.iter().map(ListenerHandle::report).collect(),
            sinks: self.sinks.iter().map(SinkHandle::report).collect(),
        };
        report.listeners.iter().for_each(ListenerReport::log);
        report.sinks.iter().for_each(SinkReport::log);
        log_result(begun.elapsed(), &before, &self.ledger());
        report
    }

    /// Returns the configured time of a drain.
    #[cfg(feature = "cli")]
    pub(crate) fn drain_time(&self) -> Duration {
        *self.drain.borrow()
    }

    /// Returns the sum over all configured sinks.
    fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        self.sinks.iter().for_each(|sink| sum.add(&sink.ledger()));
        sum
    }

    async fn end_intake(&mut self, ends: Instant, hurry: &CancellationToken) {
        let retiring = &mut self.retiring_listeners;
        let all = async {
            for listener in &mut self.listeners {
                // The only possible error is a panic, which the panic hook has logged.
                let _ = (&mut listener.task).await;
            }
            // Removed listeners also offer frames until they stop.
            while retiring.join_next().await.is_some() {}
        };
        if !ended(all, ends, hurry, &self.signals.deadline, LISTENERS_END).await {
            warn!("a listener did not stop in time and was aborted");
            for listener in &self.listeners {
                listener.task.abort();
            }
            self.retiring_listeners.abort_all();
        }
    }

    async fn end_sinks(&mut self, ends: Instant, hurry: &CancellationToken) {
        let (sinks, retiring) = (&mut self.sinks, &mut self.retiring_sinks);
        let all = async {
            for sink in sinks {
                sink.task.ended().await;
                sink.end().await;
            }
            while retiring.join_next().await.is_some() {}
        };
        if !ended(all, ends, hurry, &self.abort, LAST_WORDS).await {
            for sink in &self.sinks {
                sink.task.cut();
                sink.end().await;
            }
        }
    }
}

/// Logs the frames that the drain has delivered and lost.
fn log_result(took: Duration, before: &Ledger, after: &Ledger) {
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let took = Time(Duration::from_millis(took));
    let delivered = after.delivered - before.delivered;
    let lost = after.dropped_total() - before.dropped_total();
    if lost == 0 {
        info!(%took, delivered, "drained; no frame was lost");
    } else {
        let reasons = drops::describe(after, before);
        warn!(%took, delivered, lost, %reasons, "drained; frames were lost");
    }
}

/// Waits until `all` is ready, until the time `ends`, or until `hurry` is cancelled. If `all` is not ready by then,
/// cancels `rest` and waits for `all` for at most `grace` longer. Returns whether `all` became ready.
async fn ended(
    all: impl Future<Output = ()>,
    ends: Instant,
    hurry: &CancellationToken,
    rest: &CancellationToken,
    grace: Duration,
) -> bool {
    let mut all = pin!(all);
    select! {
        () = &mut all => return true,
        () = sleep_until(ends) => {}
        () = hurry.cancelled() => {}
    }
    rest.cancel();
    timeout_at(Instant::now() + grace, all).await.is_ok()
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
    /// Ends the account of a sink whose task has ended. With a spool, the sink's frames are written to the disk first.
    pub(super) async fn end(&self) {
        if let Some(spooler) = &self.spooler
            && !spooler.end().await
        {
            warn!(sink = %self.name(), "the disk of the spool did not answer in time; frames that were not on it are lost");
        }
        self.work.queues.abandon();
        self.work.reporter.report(&Event::Stopped);
    }

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
        let refused = counts.described_errors();
        info!(listener = %name, connections = counts.accepted, frames = counts.frames, bytes = counts.bytes, %refused, "listener's ledger");
    }
}

// === impl SinkReport ===

impl SinkReport {
    pub(super) fn log(&self) {
        let Self { name, ledger } = self;
        let (offered, excluded) = (ledger.offered, ledger.excluded_total());
        let delivered = ledger.delivered;
        let (delivered_bytes, dropped) = (ledger.delivered_bytes, ledger.dropped_total());
        let reasons = drops::describe(ledger, &Ledger::default());
        if ledger.queued > 0 {
            let kept = ledger.queued;
            info!(sink = %name, offered, excluded, delivered, delivered_bytes, dropped, %reasons, kept, "sink's ledger: the frames that were not delivered stay in the spool");
            return;
        }
        info!(sink = %name, offered, excluded, delivered, delivered_bytes, dropped, %reasons, "sink's ledger");
    }
}
