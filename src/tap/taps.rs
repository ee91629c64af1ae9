//! The taps of one server: its sinks and its handles.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::{runtime, sync::oneshot};

use super::{
    Builder, Error, Handle,
    host::{Drain, Way},
};
use crate::{
    router::Queues,
    supervisor::{SinkReport, View},
};

/// The taps of a server: sinks that run next to the server, and handles that send messages to the sinks.
///
/// [`from_tapfile`](Self::from_tapfile) and [`builder`](Self::builder) start them, and [`drain`](Self::drain) ends them
/// cleanly. If the `Taps` is dropped without a drain, the sinks end immediately, and messages that still wait count as
/// lost (`shutdown`).
#[derive(Debug)]
pub struct Taps {
    pub(super) handle: Handle,
    pub(super) view: View,
    /// `None` if there are no sinks; nothing runs in that case.
    pub(super) running: Option<Running>,
}

/// Running sinks.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) way: Way,
    pub(super) host: oneshot::Sender<Drain>,
    pub(super) runtime: runtime::Handle,
}

/// The final ledger of each sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The sinks in the order of the configuration.
    pub sinks: Vec<SinkReport>,
}

/// The time that a drain may take beyond its deadline. In this time, the sinks count the messages that they could not
/// deliver.
const LAST_WORDS: Duration = Duration::from_secs(2);

// === impl Taps ===

impl Taps {
    /// Starts the sinks of a Tapfile on a separate thread. The Tapfile has `dnstap` directives, in the same form as in
    /// a Corefile, and lines such as `memory` and `resolver`, but no `listen`. Without any `dnstap` directive there are
    /// no sinks, and nothing is started.
    ///
    /// Variables are replaced from the environment of the process. The start also succeeds if collectors are down. The
    /// call blocks while it reads the certificates and keys that the text names.
    ///
    /// ```
    /// let taps = tapfan::tap::Taps::from_tapfile("dnstap tcp://127.0.0.1:6000 full")?;
    /// assert!(taps.handle().wants_wire());
    /// # Ok::<(), tapfan::tap::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the text has errors, or a certificate cannot be used. After an error, nothing runs.
    pub fn from_tapfile(text: &str) -> Result<Self, Error> {
        Self::builder().tapfile(text)?.start()
    }

    /// Creates a builder, for more settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Returns a handle for sending messages. Clones are cheap.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns a view of the states, ledgers, queues and latencies of the sinks. Any thread can use it. It shows no
    /// listeners.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns the runtime on which the sinks run, or `None` without sinks. An admin endpoint needs it, because
    /// `/livez` reports whether the runtime's workers make progress.
    pub fn runtime(&self) -> Option<&runtime::Handle> {
        self.running.as_ref().map(|running| &running.runtime)
    }

    /// Ends the taps cleanly: sends the frames that are still queued, ends the streams to the collectors with STOP and
    /// waits for FINISH.
    ///
    /// Takes at most `within`, plus a short time to count what was lost. Messages that are not delivered by that time
    /// count as lost (`shutdown`), and so does each message that is sent later. The future awaits no timer, so any
    /// executor can run it. Dropping the future ends the taps immediately.
    pub async fn drain(mut self, within: Duration) -> Report {
        let Some(running) = self.running.take() else {
            return Report::default();
        };
        let Running { way, host, .. } = running;
        let (done, is_done) = oneshot::channel();
        let done = Box::new(move || drop(done));
        if host.send(Drain { within, done }).is_ok() {
            // Nothing is ever sent on this channel. It closes when `done` is dropped: at the end of the drain, or when
            // the runtime ends. So the result is always an error.
            let _: Result<(), _> = is_done.await;
        }
        Report::after(&way)
    }

    /// Does the same as [`drain`](Self::drain), but blocks the current thread. The current thread must not be the only
    /// thread of the runtime that the sinks run on.
    pub fn drain_blocking(mut self, within: Duration) -> Report {
        let Some(running) = self.running.take() else {
            return Report::default();
        };
        let Running { way, host, .. } = running;
        let (done, is_done) = mpsc::channel::<()>();
        let done = Box::new(move || drop(done));
        if host.send(Drain { within, done }).is_ok() {
            let _ = is_done.recv_timeout(within.saturating_add(LAST_WORDS));
        }
        Report::after(&way)
    }
}

// === impl Report ===

impl Report {
    fn after(way: &Way) -> Self {
        way.end();
        let report = |(name, queues): &(Arc<str>, Arc<Queues>)| SinkReport {
            name: Arc::clone(name),
            ledger: queues.ledger(),
        };
        Self {
            sinks: way.sinks.iter().map(report).collect(),
        }
    }

    /// Returns the number of delivered messages, summed over all sinks.
    pub fn delivered(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.ledger.delivered).sum()
    }

    /// Returns the number of lost messages, summed over all sinks and reasons.
    pub fn lost(&self) -> u64 {
        let lost = self.sinks.iter().map(|sink| sink.ledger.dropped_total());
        lost.sum()
    }
}
