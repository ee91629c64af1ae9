//! The plan of a change. Everything that can fail is done while the plan is made, before a running listener or sink is
//! changed.

use std::{sync::Arc, time::Duration};

use super::{
    Prepared, SinkHandle, Supervisor,
    descriptors::Needed,
    dialled,
    material::Material,
    permissions,
    sink_task::Way,
    sources,
    start_error::{StartError, StartProblem},
    waiting,
};
use crate::{
    collectors::Settings,
    config::{self, Listen, ListenAddress, ReadScreen, Template},
    dialer::Dialer,
    frame_stream::ListenerId,
    health::Reporter,
    listener::{self, DrainSignals, Listener, ListenerSetupError},
    net::{PermissionChange, TlsError},
    sink::{
        CurrentEdits, EditGroup, FrameEdits, Names, Opened, SinkSetupError, SpoolSetupError, Stack,
        Target,
    },
};

/// A change that is ready to be applied.
pub(super) struct Plan {
    pub(super) sinks: Vec<PlannedSink>,
    pub(super) listeners: Vec<PlannedListener>,
    pub(super) names: Names,
    pub(super) drain: Duration,
    pub(super) unfinished_frames: usize,
    pub(super) descriptors: Needed,
    pub(super) memory: usize,
    pub(super) latency: Duration,
    pub(super) admin: config::Admin,
}

pub(super) struct PlannedSink {
    pub(super) config: config::Sink,
    pub(super) material: Material,
    pub(super) screen: ReadScreen,
    pub(super) edits: CurrentEdits,
    /// The edits from now on.
    pub(super) group: Arc<EditGroup>,
    pub(super) step: SinkStep,
    /// The spool of a sink that starts.
    pub(super) spool: Option<Opened>,
}

pub(super) enum SinkStep {
    Keep,
    /// The sink keeps running, with other settings for its spool, with other listeners, or with another filter.
    Tune,
    /// The sink keeps running, and uses the certificates of this stack from the next handshake on.
    Adopt(Stack),
    /// The sink waits for collectors. It keeps its socket and its connections, and uses these settings.
    Change(Settings, Option<PermissionChange>),
    /// The sink starts in this way. A sink that already runs keeps its queue, and replaces its stack or its socket.
    Build(Way),
}

pub(super) struct PlannedListener {
    pub(super) config: Listen,
    /// The number of the listener from now on.
    pub(super) id: ListenerId,
    pub(super) material: Material,
    pub(super) step: ListenerStep,
}

pub(super) enum ListenerStep {
    Keep,
    /// The listener keeps running, and uses these settings for new connections. All its connections use the new name
    /// and identity.
    Change(listener::Settings, Option<PermissionChange>),
    Start(Listener, DrainSignals),
    /// The `connect` line keeps its connections, and uses the certificates of this target from the next handshake on.
    Adopt(Target),
    /// Connects to the servers of a `connect` line. A line that already runs ends its connections first, and keeps its
    /// counters.
    Dial(Dialer, DrainSignals),
}

// === impl Plan ===

impl Plan {
    /// Plans the change from `running` to the configuration in `prepared`.
    pub(super) fn new(prepared: Prepared, running: &Supervisor) -> Result<Self, StartError> {
        let Prepared {
            config,
            sinks: of_sinks,
            listeners: of_listeners,
            screens,
        } = prepared;
        let mut problems = Vec::new();
        let mut names = running.names.clone();
        if *names.settings() != config.resolver {
            names = Names::new(&config.resolver);
        }
        let mut sinks = Vec::new();
        let files = of_sinks.into_iter().zip(screens);
        for (sink, (material, screen)) in config.sinks.iter().zip(files) {
            let files = material.and_then(|material| Ok((material, screen?)));
            let planned = files.and_then(|files| {
                sources::check(sink, &config.listeners)?;
                PlannedSink::new(sink, files, &names, running)
            });
            match planned {
                Ok(planned) => sinks.push(planned),
                Err(source) => problems.push(StartProblem::Sink {
                    name: Arc::clone(&sink.name),
                    source,
                }),
            }
        }
        let mut listeners = Vec::new();
        for (listen, material) in config.listeners.iter().zip(of_listeners) {
            let planned = material
                .map_err(|error| unusable(listen, error))
                .and_then(|material| PlannedListener::new(listen, material, &names, running));
            match planned {
                Ok(planned) => listeners.push(planned),
                Err(source) => problems.push(StartProblem::Listener {
                    name: Arc::clone(&listen.name),
                    source,
                }),
            }
        }
        open_spools(&mut sinks, running, &mut problems);
        if !problems.is_empty() {
            return Err(StartError(problems));
        }
        Ok(Self {
            sinks,
            listeners,
            names,
            drain: config.drain,
            unfinished_frames: config.unfinished_frames_limit(),
            memory: config.memory_limit(),
            latency: config.latency,
            descriptors: Needed::by(&config),
            admin: config.admin,
        })
    }
}

// === impl PlannedSink ===

impl PlannedSink {
    fn new(
        sink: &config::Sink,
        (material, screen): (Material, ReadScreen),
        names: &Names,
        running: &Supervisor,
    ) -> Result<Self, SinkSetupError> {
        let old = running
            .sinks
            .iter()
            .find(|old| old.config.name == sink.name);
        let group = running.edit_groups.group(FrameEdits::of(sink));
        let edits = match old {
            Some(old) => old.edits.clone(),
            None => CurrentEdits::new(Arc::clone(&group)),
        };
        let step = if sink.bound().is_some() {
            let is_other_file = old.is_some_and(|old| old.screen_digest != screen.digest);
            waiting::plan(sink, (&material, &edits), is_other_file, old, running)?
        } else {
            Self::step(sink, (&material, &screen, &edits), old, names, running)?
        };
        if let Some(old) = old {
            check_folder(old.config.spool.as_ref(), sink.spool.as_ref())?;
        }
        Ok(Self {
            config: sink.clone(),
            material,
            screen,
            edits,
            group,
            step,
            spool: None,
        })
    }

    /// Plans the step of a sink that connects to its collector, or writes files.
    fn step(
        sink: &config::Sink,
        (material, screen, edits): (&Material, &ReadScreen, &CurrentEdits),
        old: Option<&SinkHandle>,
        names: &Names,
        running: &Supervisor,
    ) -> Result<SinkStep, SinkSetupError> {
        let asks_others = names.settings() != running.names.settings();
        let stack = |reporter| {
            let own = running.own.clone();
            Stack::new(
                sink,
                material.credentials(),
                names,
                edits.clone(),
                own,
                reporter,
            )
        };
        let build = |reporter| {
            Ok::<_, SinkSetupError>(SinkStep::Build(Way::Dials(Arc::new(stack(reporter)?))))
        };
        Ok(match old {
            None => build(Reporter::new(Arc::clone(&sink.name)))?,
            Some(old)
                if old.material == *material && !asks_others && is_tuned(old, sink, screen) =>
            {
                SinkStep::Tune
            }
            Some(old)
                if old.config != tuned_like(sink, &old.config)
                    || (asks_others && sink.endpoint.is_named()) =>
            {
                build(old.work.reporter.clone())?
            }
            Some(old) if old.material != *material => {
                SinkStep::Adopt(stack(old.work.reporter.clone())?)
            }
            Some(_) => SinkStep::Keep,
        })
    }
}

/// Opens the spools of the sinks that start. Adds an error to `problems` for each spool that cannot be opened.
///
/// Opening a spool changes files, so it comes after all other steps that can fail. A folder that a removed sink still
/// uses comes last, because the drain of this sink must end before the folder can be opened. A refused change must not
/// end a drain.
fn open_spools(sinks: &mut [PlannedSink], running: &Supervisor, problems: &mut Vec<StartProblem>) {
    let leaving = &running.leaving_spools;
    let folder = |it: &PlannedSink| it.config.spool.as_ref().map(|spool| spool.folder.clone());
    let runs = |it: &PlannedSink| {
        let mut running = running.sinks.iter();
        running.any(|old| old.config.name == it.config.name)
    };
    let starting = sinks.iter_mut().filter(|it| !runs(it));
    let (last, first): (Vec<_>, Vec<_>) =
        starting.partition(|it| folder(it).is_some_and(|folder| leaving.has(&folder)));
    for planned in first.into_iter().chain(last) {
        let Some(spool) = &planned.config.spool else {
            continue;
        };
        if leaving.has(&spool.folder) {
            if !problems.is_empty() {
                return;
            }
            leaving.release(&spool.folder);
        }
        let name = &planned.config.name;
        match Opened::new(name, spool, &running.budgets.memory) {
            Ok(opened) => planned.spool = Some(opened),
            Err(error) => problems.push(StartProblem::Sink {
                name: Arc::clone(name),
                source: error.into(),
            }),
        }
    }
}

/// Returns whether a sink has new settings, and can use all of them without a new task.
fn is_tuned(old: &SinkHandle, sink: &config::Sink, screen: &ReadScreen) -> bool {
    let is_new = old.config != *sink || old.screen_digest != screen.digest;
    is_new && old.config == tuned_like(sink, &old.config)
}

/// Returns the sink, but with the values that `old` has for all settings that can change while a sink runs.
fn tuned_like(sink: &config::Sink, old: &config::Sink) -> config::Sink {
    // The text of `extra` may contain the number of the sample. Another number then needs a new task.
    let extra = sink.edits.extra.as_ref();
    let has_sample = extra.is_some_and(Template::needs_sample);
    let is_other_sample = old.filters.sample_one_in() != sink.filters.sample_one_in();
    let filters = if has_sample && is_other_sample {
        &sink.filters
    } else {
        &old.filters
    };
    config::Sink {
        spool: old.spool.clone(),
        from: old.from.clone(),
        filters: filters.clone(),
        ..sink.clone()
    }
}

/// Refuses to change the folder of a running sink's spool.
fn check_folder(
    old: Option<&config::Spool>,
    new: Option<&config::Spool>,
) -> Result<(), SpoolSetupError> {
    let folder = |spool: Option<&config::Spool>| spool.map(|spool| spool.folder.clone());
    if folder(old) == folder(new) {
        return Ok(());
    }
    Err(SpoolSetupError::Running(match (old, new) {
        (None, _) => "add one",
        (Some(_), None) => "remove it",
        (Some(_), Some(_)) => "use another folder",
    }))
}

// === impl PlannedListener ===

impl PlannedListener {
    fn new(
        listen: &Listen,
        material: Material,
        names: &Names,
        running: &Supervisor,
    ) -> Result<Self, ListenerSetupError> {
        if let Some(remote) = listen.remote() {
            let (id, step) = dialled::plan(listen, remote, &material, names, running)?;
            return Ok(Self {
                config: listen.clone(),
                id,
                material,
                step,
            });
        }
        let settings = || listener::Settings {
            limits: listen.limits,
            tls: material.server_tls.clone(),
            words: listen.words,
        };
        let old = running
            .listeners
            .iter()
            .find(|old| is_same_place(&old.config, listen));
        let (id, step) = match old {
            None => {
                let signals = running.signals.child();
                let listener = Listener::bind(
                    listen,
                    settings(),
                    &running.inherited,
                    &running.own,
                    running.router.clone(),
                    signals.clone(),
                    running.budgets.clone(),
                )?;
                (listener.handle.id(), ListenerStep::Start(listener, signals))
            }
            Some(old) if old.config != *listen || old.material != material => {
                let permissions = if old.inherited {
                    None
                } else {
                    permissions::change(&old.config.address, &listen.address)?
                };
                (
                    old.running.next_id(listen),
                    ListenerStep::Change(settings(), permissions),
                )
            }
            Some(old) => (old.running.id(), ListenerStep::Keep),
        };
        Ok(Self {
            config: listen.clone(),
            id,
            material,
            step,
        })
    }
}

/// Returns whether two directives mean the same socket, even if they spell its address differently.
pub(super) fn is_same_place(one: &Listen, other: &Listen) -> bool {
    match (&one.address, &other.address) {
        (ListenAddress::Unix(one, _), ListenAddress::Unix(other, _)) => one == other,
        (ListenAddress::Tcp(address), ListenAddress::Tcp(wanted))
        | (ListenAddress::Tls(address, _), ListenAddress::Tls(wanted, _)) => {
            // With port 0, the system chooses another port at each bind. So two such directives mean the same socket
            // only if they have the same name.
            address == wanted && (address.port() != 0 || one.name == other.name)
        }
        (ListenAddress::Remote(one), ListenAddress::Remote(other)) => {
            one.endpoint == other.endpoint
        }
        _ => false,
    }
}

/// Returns the error of a `listen` or `connect` line whose certificate, key or authorities cannot be used.
fn unusable(listen: &Listen, error: TlsError) -> ListenerSetupError {
    match listen.remote() {
        Some(_) => ListenerSetupError::Connect(error.into()),
        None => ListenerSetupError::Tls(error),
    }
}

#[cfg(all(test, not(feature = "resolver"), not(feature = "tls")))]
mod tests {
    use crate::{
        config::{Config, Sink},
        supervisor::Supervisor,
    };

    /// The parser of Tapfiles refuses addresses that need a missing feature. But a program that uses tapfan as a
    /// library can build a configuration directly, without a Tapfile.
    #[tokio::test]
    async fn addresses_that_need_a_feature_are_refused_at_the_start() {
        let sinks = ["tcp://collector.example:6000", "tls://192.0.2.1:6000"]
            .map(|socket| Sink::new(socket, socket.parse().expect("a SOCKET")));
        let error = Supervisor::start(&Config::new(Vec::new(), sinks.into()));
        insta::assert_snapshot!(error.expect_err("refused"), @r"
        dnstap tcp://collector.example:6000: names cannot be looked up, because this program was built without the feature `resolver` of tapfan; write an address
        dnstap tls://192.0.2.1:6000: TLS cannot be used, because this program was built without the feature `tls` of tapfan; use TCP or a unix socket
        ");
    }
}
