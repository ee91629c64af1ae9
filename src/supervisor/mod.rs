//! Owns every task of the router: starts listeners and sinks, keeps sinks going, changes what a new configuration
//! changes, and drains all at the end.
//!
//! A start is a change from nothing: `plan` builds all that can fail, and only then `apply` touches what runs.
//!
//! Called by `cli`, and by whoever embeds the router; calls `listener`, `router`, `sink`, `net` and `config`.

mod apply;
mod descriptors;
mod drain;
mod drops;
mod expiry;
mod material;
mod plan;
mod prepared;
mod retire;
mod sink_task;
mod view;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub use apply::Changes;
pub use drain::{ListenerReport, Report, SinkReport};
pub use material::Certificate;
pub(crate) use material::contents;
pub use plan::{StartError, StartProblem};
pub use prepared::Prepared;
pub use view::{Configured, ListenerView, Reload, Reloads, RouterPhase, SinkView, View};

use self::{
    descriptors::Shortage,
    material::Material,
    plan::Names,
    sink_task::{SinkTask, Work},
};
use crate::{
    config::{self, Config, Listen},
    listener::{Budgets, Counters, DrainSignals, Handle},
    net::{Inherited, OwnListeners},
    router::{Latency, Ledger, Limits, Queues, Router},
    sink::Status,
};

/// A running router.
///
/// It runs on the tokio runtime it was started on until it is [drained](Self::drain). Dropping it ends it at once,
/// and what its queues hold is lost.
#[derive(Debug)]
pub struct Supervisor {
    listeners: Vec<ListenerHandle>,
    sinks: Vec<SinkHandle>,
    router: Router,
    names: Names,
    view: View,
    /// Sockets that the process was started with, for the listeners that name them.
    inherited: Inherited,
    /// Where its listeners are, so that no sink sends to them.
    own: OwnListeners,
    signals: DrainSignals,
    /// The bounds that all listeners share.
    budgets: Budgets,
    /// What the limit on descriptors falls short of, if it does.
    shortage: Option<Shortage>,
    /// Ends what sinks still wait for when the drain's time is over.
    abort: CancellationToken,
    /// How long a drain may take; sinks see it change.
    drain: watch::Sender<Duration>,
    /// The lines of the admin endpoint, which is served elsewhere; to say whether they change.
    admin: config::Admin,
    /// Listeners that a new configuration has removed, and that are not at their end yet.
    retiring_listeners: JoinSet<()>,
    /// Such sinks.
    retiring_sinks: JoinSet<()>,
    /// Logs certificates that expire.
    _expiry_log: AbortOnDrop,
}

/// A listener, as seen from outside.
#[derive(Debug)]
pub struct ListenerHandle {
    config: Listen,
    material: Material,
    address: Option<SocketAddr>,
    /// Whether the socket is one that the process was started with.
    inherited: bool,
    running: Handle,
    signals: DrainSignals,
    task: AbortOnDrop,
}

/// A sink, as seen from outside.
#[derive(Debug)]
pub struct SinkHandle {
    config: config::Sink,
    material: Material,
    work: Work,
    task: SinkTask,
    _drop_log: AbortOnDrop,
}

/// A task that ends when its owner does.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

// === impl Supervisor ===

impl Supervisor {
    /// Starts the router that `config` describes. Sinks that are down do not stop the start. Reads the certificates and
    /// keys that `config` names, and blocks meanwhile.
    ///
    /// # Errors
    /// If a listener cannot be bound or a certificate cannot be used; all such problems are in the error, and
    /// nothing runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O and time drivers.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_in(View::new(), config)
    }

    /// The same, as seen in a `view` that was made before: whoever looks there sees it start.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_in(view: View, config: &Config) -> Result<Self, StartError> {
        let prepared = Prepared::new(config.clone());
        Self::start_with(Inherited::default(), view, prepared)
    }

    /// The same, with files that were read before, and with sockets that the process was started with. A listener whose
    /// address is that of one uses it, now and after any reload, instead of binding its own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(
        inherited: Inherited,
        view: View,
        prepared: Prepared,
    ) -> Result<Self, StartError> {
        let budgets = Budgets {
            unfinished: view.unfinished_frames().clone(),
            descriptors: view.descriptors().clone(),
            memory: view.memory().clone(),
        };
        let expiry_log = expiry::watch(view.clone(), SystemTime::now);
        let config = prepared.config();
        let mut supervisor = Self {
            listeners: Vec::new(),
            sinks: Vec::new(),
            router: Router::within(view.memory().clone(), []),
            names: Names::new(&config.resolver).map_err(|problem| StartError(vec![problem]))?,
            view,
            inherited,
            own: OwnListeners::default(),
            signals: DrainSignals::default(),
            budgets,
            shortage: None,
            abort: CancellationToken::new(),
            drain: watch::Sender::new(config.drain),
            admin: config.admin.clone(),
            retiring_listeners: JoinSet::new(),
            retiring_sinks: JoinSet::new(),
            _expiry_log: AbortOnDrop(tokio::spawn(expiry_log)),
        };
        let plan = plan::Plan::new(prepared, &supervisor)?;
        supervisor.apply(plan);
        supervisor.view.taken_up();
        supervisor.view.enter(RouterPhase::Running);
        Ok(supervisor)
    }

    /// Changes the running router to the one that `config` describes.
    ///
    /// A listener or sink is known by its name. One that has not changed keeps its connections. A sink that has
    /// changed keeps its queue and its ledger: its stream is ended in order, and a new one begun. One that is gone is
    /// drained. Certificates and keys are read again, which blocks, and are used from the next handshake on.
    ///
    /// # Errors
    /// If something cannot be built; all such problems are in the error, and everything runs on as it did.
    ///
    /// # Panics
    /// Outside of the tokio runtime it was started on.
    pub fn reload(&mut self, config: &Config) -> Result<Changes, StartError> {
        self.change(Prepared::new(config.clone()))
    }

    /// The same, with files that were read before.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    ///
    /// # Panics
    /// As [`reload`](Self::reload).
    pub fn change(&mut self, prepared: Prepared) -> Result<Changes, StartError> {
        let plan = plan::Plan::new(prepared, self)
            .inspect_err(|error| self.view.refused(&error.to_string()))?;
        let changes = self.apply(plan);
        self.view.reloaded(&Ok(changes.to_string().into()));
        Ok(changes)
    }

    /// The sockets that the process was started with.
    pub fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// A look into the router, for any thread and at any time.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[ListenerHandle] {
        &self.listeners
    }

    /// The sinks, in the order of the configuration.
    pub fn sinks(&self) -> &[SinkHandle] {
        &self.sinks
    }
}

// === impl ListenerHandle ===

impl ListenerHandle {
    /// Its name: the address as configured.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// The address it is bound to, with the port that the system chose if it was asked to; `None` for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What it has taken and refused.
    pub fn counters(&self) -> &Arc<Counters> {
        self.running.counters()
    }
}

// === impl SinkHandle ===

impl SinkHandle {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Its queues, with the ledger. They can be kept for longer than the sink is there, and looked at from anywhere.
    pub fn queues(&self) -> &Arc<Queues> {
        &self.work.queues
    }

    /// Its account as it stands; with `endpoints all`, that of all endpoints together.
    pub fn ledger(&self) -> Ledger {
        self.work.queues.ledger()
    }

    /// How long the frames delivered so far took.
    pub fn latency(&self) -> Latency {
        self.work.queues.latency()
    }

    /// When the oldest frame that it holds was read from its source.
    pub fn oldest(&self) -> Option<Instant> {
        self.work.queues.oldest()
    }

    /// The bounds of what it holds; with `endpoints all`, of all queues together.
    pub fn limits(&self) -> Limits {
        self.work.queues.limits()
    }

    /// Its status as it is and as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.work.reporter.watch()
    }
}

// === impl AbortOnDrop ===

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
