//! The supervisor owns all tasks of the router: it starts listeners and sinks, restarts sinks, applies new
//! configurations, and drains everything at the end.
//!
//! A start is handled as a change of an empty router: `plan` does everything that can fail, and then `apply` changes
//! the running listeners and sinks.

mod apply;
mod descriptors;
mod dialled;
mod drain;
mod drops;
mod expiry;
mod leaving_spools;
mod material;
mod parts;
mod permissions;
mod plan;
mod prepared;
mod retire;
mod sink_task;
mod sources;
mod start_error;
mod view;
mod waiting;

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
pub use prepared::Prepared;
pub use start_error::{StartError, StartProblem};
pub use view::View;

pub use crate::{
    coalescing::Coalescing,
    dnstap::MessageType,
    files::SecretError,
    listener::{Counters, ErrorReason, ListenerSetupError, Snapshot},
    net::{BindError, Given, InheritError, Inherited, ResolveError, ServerError, TlsError},
    sink::{SinkSetupError, SpoolSetupError},
};

use self::{
    descriptors::Shortage,
    dialled::Dialled,
    leaving_spools::LeavingSpools,
    material::Material,
    sink_task::{SinkTask, Work},
};
use crate::{
    config::{self, Config, Listen},
    health::{RouterPhase, SinkHealth},
    listener::{Budgets, DrainSignals, FormerId, Handle},
    net::OwnListeners,
    router::{Ledger, Queues, Router, Selection},
    sink::{CurrentEdits, EditGroups, Names, Spooler},
};

/// A running router.
///
/// The router runs on the tokio runtime on which it was started, until it is [drained](Self::drain). Dropping this
/// value stops the router immediately, and the frames in the router's queues are lost.
#[derive(Debug)]
pub struct Supervisor {
    listeners: Vec<ListenerHandle>,
    sinks: Vec<SinkHandle>,
    router: Router,
    names: Names,
    edit_groups: EditGroups,
    view: View,
    /// The sockets that the process inherited. A listener that has the address of an inherited socket uses that socket.
    inherited: Inherited,
    /// The addresses of the listeners. With this list, sinks notice that they would send frames back to this router.
    own: OwnListeners,
    signals: DrainSignals,
    /// The memory limits and descriptors that all listeners share.
    budgets: Budgets,
    shortage: Option<Shortage>,
    /// Makes sinks abort whatever they wait for. Cancelled when the drain's deadline passes.
    abort: CancellationToken,
    /// The longest time of a drain. Sinks watch this channel for changes by a reload.
    drain: watch::Sender<Duration>,
    /// The configuration of the admin endpoint, kept only to report changes: the supervisor does not run that endpoint.
    admin: config::Admin,
    /// Removed listeners that have not stopped yet.
    retiring_listeners: JoinSet<()>,
    /// The numbers that listeners had before a reload, as long as frames with them exist or may still arrive.
    former_listeners: Vec<FormerId>,
    /// Removed sinks that have not stopped yet.
    retiring_sinks: JoinSet<()>,
    leaving_spools: LeavingSpools,
    _expiry_log: AbortOnDropHandle<()>,
}

/// A running listener, or a running `connect` line.
#[derive(Debug)]
pub struct ListenerHandle {
    config: Listen,
    material: Material,
    address: Option<SocketAddr>,
    inherited: bool,
    /// The connections that tapfan makes itself. `None` for a listener.
    dialled: Option<Dialled>,
    running: Handle,
    signals: DrainSignals,
    task: AbortOnDropHandle<()>,
}

/// A running sink.
#[derive(Debug)]
pub struct SinkHandle {
    config: config::Sink,
    material: Material,
    /// The digest of the files of the sink's filter.
    screen_digest: u64,
    work: Work,
    task: SinkTask,
    /// The frames that the sink gets.
    selection: Selection,
    edits: CurrentEdits,
    /// Moves the frames of the sink's queue to a disk and back. `None` without a spool.
    spooler: Option<Spooler>,
    _drop_log: AbortOnDropHandle<()>,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts the router that `config` describes. Sinks that are down do not fail the start. Blocks while it reads the
    /// certificates and keys that `config` names.
    ///
    /// # Errors
    /// If a listener cannot be bound or a certificate cannot be used. The error lists all such problems, and nothing
    /// runs.
    ///
    /// # Panics
    /// If it is called outside of a tokio runtime with its I/O and time drivers.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_in(View::new(), config)
    }

    /// Starts the router like [`start`](Self::start) and publishes it in an existing `view`, which shows the router's
    /// start.
    ///
    /// # Errors
    /// The same errors and panics as for [`start`](Self::start).
    pub fn start_in(view: View, config: &Config) -> Result<Self, StartError> {
        let prepared = Prepared::new(config.clone());
        Self::start_with(Inherited::default(), view, prepared)
    }

    /// Starts the router like [`start`](Self::start), with files that were read before, and with inherited sockets. A
    /// listener with the address of an inherited socket uses that socket instead of binding a new one, now and after
    /// every reload.
    ///
    /// # Errors
    /// The same errors and panics as for [`start`](Self::start).
    pub fn start_with(
        inherited: Inherited,
        view: View,
        prepared: Prepared,
    ) -> Result<Self, StartError> {
        Self::start_among(OwnListeners::default(), inherited, view, prepared)
    }

    /// Starts the router like [`start_with`](Self::start_with). Its sinks do not send to the listeners in `own`, which
    /// can also contain the listeners of another router.
    pub(crate) fn start_among(
        own: OwnListeners,
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
            names: Names::new(&config.resolver),
            edit_groups: EditGroups::default(),
            view,
            inherited,
            own,
            signals: DrainSignals::default(),
            budgets,
            shortage: None,
            abort: CancellationToken::new(),
            drain: watch::Sender::new(config.drain),
            admin: config.admin.clone(),
            retiring_listeners: JoinSet::new(),
            former_listeners: Vec::new(),
            retiring_sinks: JoinSet::new(),
            leaving_spools: LeavingSpools::default(),
            _expiry_log: AbortOnDropHandle::new(tokio::spawn(expiry_log)),
        };
        let plan = plan::Plan::new(prepared, &supervisor)?;
        supervisor.apply(plan);
        supervisor.view.enter(RouterPhase::Running);
        Ok(supervisor)
    }

    /// Changes the running router to the one that `config` describes.
    ///
    /// Sinks are identified by name, and listeners by their address. Unchanged ones keep their connections. A changed sink keeps its
    /// queue and its ledger; it ends its stream and starts a new one. Removed listeners and sinks are drained.
    /// Certificates and keys are read again, which blocks the caller, and are used from the next handshake on.
    ///
    /// # Errors
    /// If some part cannot be built. The error lists all such problems, and nothing changes.
    ///
    /// # Panics
    /// If it is called outside of the tokio runtime on which the router was started.
    pub fn reload(&mut self, config: &Config) -> Result<Changes, StartError> {
        self.change(Prepared::new(config.clone()))
    }

    /// Changes the running router like [`reload`](Self::reload), with files that were read before.
    ///
    /// # Errors
    /// The same errors and panics as for [`reload`](Self::reload).
    pub fn change(&mut self, prepared: Prepared) -> Result<Changes, StartError> {
        let plan = plan::Plan::new(prepared, self)
            .inspect_err(|error| self.view.refused(&error.to_string()))?;
        let changes = self.apply(plan);
        self.view.reloaded(Ok(&changes.to_string()));
        Ok(changes)
    }

    /// Returns the sockets that the process inherited.
    pub fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// Returns the addresses of the listeners.
    #[cfg(feature = "cli")]
    pub(crate) fn own_listeners(&self) -> &OwnListeners {
        &self.own
    }

    /// Returns a view of the router, which any thread can use.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns the router. Through it, the caller can offer frames that do not come from a listener, and use queues
    /// that do not belong to a sink. A change of the configuration replaces all queues with the queues of the sinks in
    /// the new configuration.
    #[cfg(any(feature = "cli", feature = "tap"))]
    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// Returns the listeners, in the order of the configuration.
    pub fn listeners(&self) -> &[ListenerHandle] {
        &self.listeners
    }

    /// Returns the sinks, in the order of the configuration.
    pub fn sinks(&self) -> &[SinkHandle] {
        &self.sinks
    }
}

// === impl ListenerHandle ===

impl ListenerHandle {
    /// Returns the name of the listener: its option `name`, or its address as it was configured.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Returns the bound address, with the port that the system chose if the configured one is 0. `None` for unix
    /// sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the counters of the connections and frames that the listener received or refused.
    pub fn counters(&self) -> &Arc<Counters> {
        self.running.counters()
    }
}

// === impl SinkHandle ===

impl SinkHandle {
    /// Returns the name of the sink.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Returns the sink's queues with its ledger. They can be read from any thread, also after the sink has ended.
    pub fn queues(&self) -> &Arc<Queues> {
        &self.work.queues
    }

    /// Returns the address that a sink that waits for collectors is bound to, with the port that the system chose if the
    /// configured one is 0. `None` for other sinks and for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.work.way.server()?.address
    }

    /// Returns the current ledger. With `endpoints all`, it is the sum over all endpoints.
    pub fn ledger(&self) -> Ledger {
        self.work.queues.ledger()
    }

    /// Subscribes to the sink's health.
    pub fn status(&self) -> watch::Receiver<SinkHealth> {
        self.work.reporter.watch()
    }
}
