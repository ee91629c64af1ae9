//! The router of a test, from its Tapfile to its final report.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::ClientConfig;
use tapfan::{
    config::{self, Config, ListenAddress, UnixAddress},
    health::{Ledger, SinkHealth, State},
    internals::Queues,
    supervisor::{Changes, Report, Snapshot, StartError, Supervisor, View},
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{sender::Target, wait::with_timeout};

/// A folder for the sockets of one test.
pub(crate) struct Folder(TempDir);

/// A running router.
pub(crate) struct Router {
    supervisor: Supervisor,
    config: Config,
}

/// Checks every ledger continuously. `finish` panics if a ledger did not balance at any time.
pub(crate) struct Auditor {
    done: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns the path of a file in the folder, as text for a Tapfile.
    pub(crate) fn display(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Parses a Tapfile. Panics with the diagnostics if it has errors.
pub(crate) fn parse(tapfile: &str) -> Config {
    let loaded = config::parse(Path::new("Tapfile"), tapfile, &|_| None);
    loaded
        .config
        .unwrap_or_else(|| panic!("{}", loaded.diagnostics.render(false)))
}

impl Router {
    /// Starts a router with this Tapfile.
    pub(crate) fn start(tapfile: &str) -> Self {
        Self::try_start(tapfile).unwrap_or_else(|problems| panic!("{problems}"))
    }

    pub(crate) fn try_start(tapfile: &str) -> Result<Self, StartError> {
        let config = parse(tapfile);
        Ok(Self {
            supervisor: Supervisor::start(&config)?,
            config,
        })
    }

    /// Reloads with this Tapfile.
    pub(crate) fn reload(&mut self, tapfile: &str) -> Result<Changes, StartError> {
        let config = parse(tapfile);
        let changes = self.supervisor.reload(&config)?;
        self.config = config;
        Ok(changes)
    }

    /// Returns a view of the router, which remains usable after the router has ended.
    pub(crate) fn view(&self) -> View {
        self.supervisor.view().clone()
    }

    /// Returns the queues of a sink, which remain usable after the sink has ended.
    pub(crate) fn queues(&self, sink: usize) -> Arc<Queues> {
        Arc::clone(self.supervisor.sinks()[sink].queues())
    }

    /// Returns the address of a listener, for senders without TLS.
    pub(crate) fn target(&self, listener: usize) -> Target {
        match &self.config.listeners[listener].address {
            ListenAddress::Unix(UnixAddress::Path(path), _) => Target::Unix(path.clone()),
            ListenAddress::Unix(UnixAddress::Abstract(name), _) => {
                Target::Unix(format!("\0{name}").into())
            }
            ListenAddress::Tcp(_) | ListenAddress::Tls(..) => {
                let address = self.supervisor.listeners()[listener].address();
                Target::Tcp(address.expect("a TCP listener"))
            }
            other => panic!("no target for {other:?}"),
        }
    }

    /// Returns the address of a sink that waits for collectors, without TLS.
    pub(crate) fn waiting(&self, sink: usize) -> Target {
        match self.config.sinks[sink].bound() {
            Some(ListenAddress::Unix(UnixAddress::Path(path), _)) => Target::Unix(path),
            Some(_) => {
                let address = self.supervisor.sinks()[sink].address();
                Target::Tcp(address.expect("a TCP socket"))
            }
            None => panic!("it does not wait for collectors"),
        }
    }

    /// Returns the address of a TLS listener.
    pub(crate) fn tls_target(&self, listener: usize, config: Arc<ClientConfig>) -> Target {
        match self.target(listener) {
            Target::Tcp(address) => Target::Tls(address, config),
            other => other,
        }
    }

    pub(crate) fn counts(&self, listener: usize) -> Snapshot {
        self.supervisor.listeners()[listener].counters().snapshot()
    }

    pub(crate) fn ledger(&self, sink: usize) -> Ledger {
        self.supervisor.sinks()[sink].ledger()
    }

    pub(crate) fn status(&self, sink: usize) -> SinkHealth {
        self.supervisor.sinks()[sink].status().borrow().clone()
    }

    /// Returns a receiver of a sink's status and of each change. It remains usable after the router
    /// has ended.
    pub(crate) fn watch(&self, sink: usize) -> watch::Receiver<SinkHealth> {
        self.supervisor.sinks()[sink].status()
    }

    /// Waits until `condition` holds of a sink's status.
    pub(crate) async fn until(
        &self,
        sink: usize,
        what: &str,
        condition: impl Fn(&SinkHealth) -> bool,
    ) -> SinkHealth {
        let mut status = self.supervisor.sinks()[sink].status();
        let waiting = status.wait_for(|status| condition(status));
        with_timeout(format_args!("sink {sink} {what}"), waiting)
            .await
            .expect("the sink exists")
            .clone()
    }

    /// Waits until a sink is up.
    pub(crate) async fn up(&self, sink: usize) -> SinkHealth {
        let is_up = |status: &SinkHealth| status.state == State::Up;
        self.until(sink, "is up", is_up).await
    }

    /// Waits until all sinks are up.
    pub(crate) async fn all_up(&self) {
        for sink in 0..self.supervisor.sinks().len() {
            self.up(sink).await;
        }
    }

    /// Starts to check all ledgers continuously.
    pub(crate) fn audit(&self) -> Auditor {
        let sinks = self.supervisor.sinks().iter();
        let queues: Vec<_> = sinks.map(|sink| Arc::clone(sink.queues())).collect();
        let done = CancellationToken::new();
        let until = done.clone();
        let thread = thread::spawn(move || {
            loop {
                for queue in &queues {
                    let (ledger, limits) = (queue.ledger(), queue.limits());
                    assert!(ledger.balances(), "{ledger:?}");
                    let held = ledger.queued + ledger.in_flight;
                    assert!(held <= limits.frames as u64, "{ledger:?}");
                    assert!(ledger.held_bytes <= limits.bytes as u64, "{ledger:?}");
                }
                if until.is_cancelled() {
                    return;
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        Auditor { done, thread }
    }

    /// Drains the router. Asserts that no ledger has frames left in a queue or in flight, and that
    /// the ledgers match the number of frames received.
    pub(crate) async fn drain(self) -> Report {
        self.drain_until(CancellationToken::new()).await
    }

    /// Drains the router, but ends the drain early if `hurry` is cancelled. Makes the same
    /// assertions as `drain`.
    pub(crate) async fn drain_until(self, hurry: CancellationToken) -> Report {
        let report = self.drain_after_changes(hurry).await;
        let taken: u64 = report
            .listeners
            .iter()
            .map(|listener| listener.counts.frames)
            .sum();
        for sink in &report.sinks {
            assert_eq!(
                sink.ledger.offered, taken,
                "{}: {:?}",
                sink.name, sink.ledger
            );
        }
        report
    }

    /// Drains a router whose spools may keep frames.
    pub(crate) async fn drain_into_spools(self) -> Report {
        let report = with_timeout(
            "the drain is over",
            self.supervisor.drain(CancellationToken::new()),
        )
        .await;
        for sink in &report.sinks {
            let ledger = &sink.ledger;
            assert!(ledger.balances(), "{}: {ledger:?}", sink.name);
            assert_eq!(
                (ledger.in_flight, ledger.held_bytes),
                (0, 0),
                "{}: {ledger:?}",
                sink.name
            );
        }
        report
    }

    /// Drains a router whose listeners or sinks a reload has changed. In that case the frames
    /// offered cannot be compared with the frames received.
    pub(crate) async fn drain_after_changes(self, hurry: CancellationToken) -> Report {
        let report = with_timeout("the drain is over", self.supervisor.drain(hurry)).await;
        for sink in &report.sinks {
            let ledger = &sink.ledger;
            assert!(ledger.balances(), "{}: {ledger:?}", sink.name);
            assert_eq!(
                (ledger.queued, ledger.in_flight, ledger.held_bytes),
                (0, 0, 0),
                "{}: {ledger:?}",
                sink.name
            );
        }
        for listener in &report.listeners {
            assert_eq!(listener.counts.connections, 0, "{}", listener.name);
        }
        report
    }
}

impl Auditor {
    /// Checks every ledger once more, and ends the checks.
    pub(crate) fn finish(self) {
        self.done.cancel();
        self.thread.join().expect("every ledger balances");
    }
}
