//! Collectors behind sockets. Each collector is a sink of the router, with a queue, reconnects and a ledger.

use std::{
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{Ending, Output, OutputError};
use crate::{
    cli::dump::{
        account::{OutputAccount, complain},
        batch::Batch,
    },
    config::Config,
    frame_stream::Chunk,
    health::{Ledger, State},
    net::{Inherited, OwnListeners},
    router::Limits,
    supervisor::{Prepared, SinkReport, StartError, Supervisor, View},
};

/// The collectors given with `-U` and `-T`.
pub(in crate::cli::dump) struct Collectors {
    supervisor: Supervisor,
    runtime: Handle,
    ending: Ending,
    /// The progress of each sink.
    progress: Vec<Progress>,
    /// True if a batch came from a file. Frames of a file may wait, so at the end the program waits until slow
    /// collectors have received them.
    waits: bool,
}

/// The progress of a sink.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The time after which a collector that accepts no data counts as dead.
    patience: Duration,
    /// The same time, until the sink is connected for the first time.
    first_patience: Duration,
    delivered: u64,
    /// The number of connections that had ended by the last change of `delivered`.
    disconnects: u64,
    /// The time of the last change of `delivered`.
    since: Instant,
}

/// The time between two checks of a sink, while the program waits for the sink.
const PAUSE: Duration = Duration::from_millis(2);

// === impl Collectors ===

impl Collectors {
    /// Starts the sinks of `config`. They refuse to connect to the listeners in `own`. A drain ends after the time
    /// `drain`. Must be called inside the tokio runtime.
    ///
    /// # Errors
    /// If a certificate cannot be used.
    pub(in crate::cli::dump) fn start(
        mut config: Config,
        own: OwnListeners,
        drain: Duration,
        runtime: Handle,
        ending: Ending,
    ) -> Result<Self, StartError> {
        config.drain = drain;
        let sinks = config.sinks.iter();
        let progress = sinks.map(|sink| Progress {
            patience: sink.write_timeout,
            // After the loss of a broker, it can take some time until another one leads its partitions. A wait for brokers
            // that never answer would be as long.
            first_patience: sink.write_timeout.min(drain),
            delivered: 0,
            disconnects: 0,
            since: Instant::now(),
        });
        let progress = progress.collect();
        let prepared = Prepared::new(config);
        let supervisor = Supervisor::start_among(own, Inherited::default(), View::new(), prepared)?;
        Ok(Self {
            progress,
            supervisor,
            runtime,
            ending,
            waits: false,
        })
    }

    /// Waits for each sink until `is_enough` returns true. Does not wait for a sink whose collector is dead.
    ///
    /// The sink disconnects a collector that takes no byte for the time `patience`, which is the sink's
    /// `write_timeout`. A collector counts as dead if nothing was delivered to it for that time, and it is not
    /// connected or was disconnected since the last delivery. A slow collector that stays connected is not dead, even
    /// if it needs longer than `patience` for a batch.
    ///
    /// A collector to which the sink was never connected counts as dead after the time `first_patience`.
    fn wait_until(&mut self, is_enough: impl Fn(&Ledger, Limits) -> bool) {
        for (sink, progress) in self.supervisor.sinks().iter().zip(&mut self.progress) {
            let (status, limits) = (sink.status(), sink.queues().limits());
            loop {
                let (ledger, now) = (sink.ledger(), Instant::now());
                let (is_up, is_first, disconnects) = {
                    let health = &status.borrow().health;
                    let is_first = health.connects == 0 && ledger.delivered == 0;
                    let disconnects = health.disconnects.values().sum();
                    (health.state == State::Up, is_first, disconnects)
                };
                if waiting(&ledger) == 0 || ledger.delivered != progress.delivered {
                    *progress = Progress {
                        delivered: ledger.delivered,
                        disconnects,
                        since: now,
                        ..*progress
                    };
                }
                let patience = if is_first {
                    progress.first_patience
                } else {
                    progress.patience
                };
                let is_dead = now - progress.since >= patience
                    && (!is_up || disconnects != progress.disconnects);
                if is_enough(&ledger, limits) || is_dead || self.ending.hurry.is_cancelled() {
                    break;
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Output for Collectors {
    fn write(&mut self, batch: &Batch, _: &OutputAccount) -> Result<(), OutputError> {
        if batch.may_wait() {
            self.waits = true;
            self.wait_until(|ledger, limits| {
                // Unconfirmed frames use no room of the queue.
                let held_bytes = ledger.held_bytes - ledger.unconfirmed_bytes;
                ledger.queued + ledger.in_flight < limits.frames as u64 / 2
                    && held_bytes < limits.bytes as u64 / 2
            });
        }
        // A batch consists of whole frames, and none of them is empty.
        if let Some(chunk) = Chunk::from_wire(Bytes::copy_from_slice(batch.wire())) {
            self.supervisor.router().offer(&chunk);
        }
        Ok(())
    }

    fn flush(&mut self, _: &OutputAccount) -> Result<(), OutputError> {
        Ok(())
    }

    fn reopen(&mut self, _: &OutputAccount) -> Result<(), OutputError> {
        Ok(())
    }

    fn finish(mut self: Box<Self>, account: &OutputAccount) -> Result<(), OutputError> {
        if self.waits {
            // This wait has no deadline, but a signal ends it. The drain below has a deadline.
            let asked = self.ending.asked.clone();
            self.wait_until(|ledger, _| waiting(ledger) == 0 || asked.is_cancelled());
        }
        let report = self
            .runtime
            .block_on(self.supervisor.drain(self.ending.hurry));
        for SinkReport { name, ledger, .. } in report.sinks {
            let dropped = ledger.dropped_total();
            if dropped > 0 {
                complain(format_args!(
                    "{name}: {} frames delivered, {dropped} dropped",
                    ledger.delivered
                ));
            }
            account.written.fetch_add(ledger.delivered, Relaxed);
            account.dropped.fetch_add(dropped, Relaxed);
        }
        Ok(())
    }
}

/// Returns the number of frames that are not delivered yet. A Kafka topic has taken the unconfirmed ones, but its
/// brokers may not have stored them.
fn waiting(ledger: &Ledger) -> u64 {
    ledger.queued + ledger.in_flight + ledger.unconfirmed
}
