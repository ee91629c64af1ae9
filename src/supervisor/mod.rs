//! The owner of all of the router's tasks: it starts listeners and sinks, restarts sinks, applies new configurations, and
//! drains everything at the end.
//!
//! A start is a change from an empty router: `plan` does everything that can fail, and then `apply` changes the running
//! parts.

mod apply;
mod descriptors;
mod drain;
mod drops;
mod expiry;
mod material;
mod parts;
mod plan;
mod prepared;
mod retire;
mod sink_task;
mod view;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use apply::Changes;
pub use drain::{ListenerReport, Report, SinkReport};
#[cfg(feature = "cli")]
pub(crate) use material::contents;
pub use plan::{StartError, StartProblem};
pub use prepared::Prepared;
pub use view::View;

pub use crate::{
    dnstap::MessageType,
    listener::{Counters, ErrorReason, ListenerSetupError, Snapshot},
    net::{BindError, Given, InheritError, Inherited, ResolveError, TlsError},
};

use self::{
    descriptors::Shortage,
    material::Material,
    plan::Names,
    sink_task::{SinkTask, Work},
};
use crate::{
    config::{self, Config, Listen},
    health::{RouterPhase, SinkHealth},
    listener::{Budgets, DrainSignals, Handle},
    net::OwnListeners,
    router::{Ledger, Queues, Router},
};

/// A running router.
///
/// It runs on the tokio runtime it was started on until it is [drained](Self::drain). Dropping it stops it at once, and
/// the frames in its queues are lost.
#[derive(Debug)]
pub struct Supervisor {
    listeners: Vec<ListenerHandle>,
    sinks: Vec<SinkHandle>,
    router: Router,
    names: Names,
    view: View,
    /// The sockets that the process inherited, for the listeners that name them.
    inherited: Inherited,
    /// The addresses of its listeners, so that no sink connects to them.
    own: OwnListeners,
    signals: DrainSignals,
    /// The bounds that all listeners share.
    budgets: Budgets,
    shortage: Option<Shortage>,
    /// Aborts what sinks wait for when the drain's deadline passes.
    abort: CancellationToken,
    /// The deadline of a drain; sinks see it change.
    drain: watch::Sender<Duration>,
    /// The configuration of the admin endpoint. It is served elsewhere; this is for reporting changes.
    admin: config::Admin,
    /// Removed listeners that have not stopped yet.
    retiring_listeners: JoinSet<()>,
    /// Removed sinks that have not stopped yet.
    retiring_sinks: JoinSet<()>,
    _expiry_log: AbortOnDropHandle<()>,
}

/// A running listener.
#[derive(Debug)]
pub struct ListenerHandle {
    config: Listen,
    material: Material,
    address: Option<SocketAddr>,
    inherited: bool,
    running: Handle,
    signals: DrainSignals,
    task: AbortOnDropHandle<()>,
}

/// A running sink.
#[derive(Debug)]
pub struct SinkHandle {
    config: config::Sink,
    material: Material,
    work: Work,
    task: SinkTask,
    _drop_log: AbortOnDropHandle<()>,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts the router that `config` describes. Sinks that are down do not fail the start. Blocks while it reads the
    /// certificates and keys that `config` names.
    ///
    /// # Errors
    /// If a listener cannot be bound or a certificate cannot be used. The error lists all such problems, and nothing runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O and time drivers.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_in(View::new(), config)
    }

    /// Does the same and publishes the router in an existing `view`, which shows it starting.
    ///
    /// # Errors
    /// As [`start`](Self::start), which also says where it panics.
    pub fn start_in(view: View, config: &Config) -> Result<Self, StartError> {
        let prepared = Prepared::new(config.clone());
        Self::start_with(Inherited::default(), view, prepared)
    }

    /// Does the same with files that were read before, and with inherited sockets. A listener at the address of an inherited
    /// socket uses that one instead of binding its own, now and after any reload.
    ///
    /// # Errors
    /// As [`start`](Self::start), which also says where it panics.
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
            _expiry_log: AbortOnDropHandle::new(tokio::spawn(expiry_log)),
        };
        let plan = plan::Plan::new(prepared, &supervisor)?;
        supervisor.apply(plan);
        supervisor.view.enter(RouterPhase::Running);
        Ok(supervisor)
    }

    /// Changes the running router to the one that `config` describes.
    ///
    /// Listeners and sinks are identified by name. Unchanged ones keep their connections. A changed sink keeps its queue and
    /// its ledger; its stream is finished and a new one started. Removed ones are drained. Certificates and keys are read
    /// again, which blocks, and are used from the next handshake on.
    ///
    /// # Errors
    /// If some part cannot be built. The error lists all such problems, and nothing changes.
    ///
    /// # Panics
    /// Outside of the tokio runtime it was started on.
    pub fn reload(&mut self, config: &Config) -> Result<Changes, StartError> {
        self.change(Prepared::new(config.clone()))
    }

    /// Does the same with files that were read before.
    ///
    /// # Errors
    /// As [`reload`](Self::reload), which also says where it panics.
    pub fn change(&mut self, prepared: Prepared) -> Result<Changes, StartError> {
        let plan = plan::Plan::new(prepared, self)
            .inspect_err(|error| self.view.refused(&error.to_string()))?;
        let changes = self.apply(plan);
        self.view.reloaded(Ok(&changes.to_string()));
        Ok(changes)
    }

    /// The sockets that the process inherited.
    pub fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// A view of the router, usable from any thread.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The router, to offer frames that did not come from a listener.
    #[cfg(feature = "tap")]
    pub(crate) fn router(&self) -> &Router {
        &self.router
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
    /// The name: the configured address.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// The bound address, with the port that the system chose if the configured one is 0; `None` for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The counters of what it received and refused.
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

    /// The queues with the ledger. They may outlive the sink and be read from any thread.
    pub fn queues(&self) -> &Arc<Queues> {
        &self.work.queues
    }

    /// The current ledger; with `endpoints all`, the sum over all endpoints.
    pub fn ledger(&self) -> Ledger {
        self.work.queues.ledger()
    }

    /// Its health, now and as it changes.
    pub fn status(&self) -> watch::Receiver<SinkHealth> {
        self.work.reporter.watch()
    }
}
