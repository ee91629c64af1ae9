//! Applies a plan. Everything that can fail was done when the plan was made, except the change of permissions. If that
//! change fails, the failure is logged.

use std::{fmt, mem, sync::Arc, time::Duration};

use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use super::{
    ListenerHandle, SinkHandle, Supervisor,
    descriptors::Shortage,
    dialled, drops,
    material::Material,
    permissions::{self, Directive},
    plan::{ListenerStep, Plan, PlannedListener, PlannedSink, SinkStep, is_same_place},
    sink_task::{SinkTask, Way, Work},
    sources::Listeners,
    waiting,
};
use crate::{
    config::{self, ReadScreen, quantity::Size},
    net::Endpoint,
    router::{Queues, Selection},
    sink::{CurrentEdits, Opened, Spooler},
};

/// The changes of a reload, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Listeners and sinks that were started.
    pub started: Vec<Arc<str>>,
    /// Listeners and sinks that were changed, or that got new certificates.
    pub changed: Vec<Arc<str>>,
    /// Listeners and sinks that were removed and are being drained.
    pub removed: Vec<Arc<str>>,
    /// The new longest time of a drain, if it changed.
    pub drain: Option<Duration>,
    /// The new limit on the memory of unfinished frames in bytes, if the limit changed.
    pub unfinished_frames: Option<usize>,
    /// The new limit on the memory of all frames in bytes, if the limit changed.
    pub memory: Option<usize>,
    /// The new longest pause of the workers, if it changed.
    pub latency: Option<Duration>,
    /// True if `admin`, `probes` or `ready_when` changed.
    pub admin: bool,
}

// === impl Changes ===

impl Changes {
    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            started,
            changed,
            removed,
            drain,
            unfinished_frames,
            memory,
            latency,
            admin,
        } = self;
        let parts = [
            ("started", started),
            ("changed", changed),
            ("removed", removed),
        ];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let parts = parts.map(|(what, names)| format!("{what} {}", names.join(", ")));
        let drain = drain.map(|drain| format!("drain {drain:?}"));
        let unfinished_frames =
            unfinished_frames.map(|bytes| format!("unfinished_frames {}", Size::of(bytes)));
        let memory = memory.map(|bytes| format!("memory {}", Size::of(bytes)));
        let latency = latency.map(|latency| format!("latency {latency:?}"));
        let admin = admin.then(|| "admin endpoint".to_owned());
        let parts = parts.chain(drain).chain(unfinished_frames).chain(memory);
        let parts = parts.chain(latency).chain(admin);
        let parts: Vec<_> = parts.collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

impl Supervisor {
    pub(super) fn apply(&mut self, plan: Plan) -> Changes {
        let mut changes = self.apply_limits(&plan);
        self.admin = plan.admin;
        let shortage = plan.descriptors.reserve(&self.budgets.descriptors);
        if shortage != self.shortage {
            self.shortage = shortage;
            shortage.inspect(Shortage::log);
        }
        self.names = plan.names;
        while self.retiring_listeners.try_join_next().is_some() {}
        while self.retiring_sinks.try_join_next().is_some() {}

        let planned = plan.listeners.iter();
        let planned = planned.map(|it| (Arc::clone(&it.config.name), it.id));
        let listeners = Listeners::new(planned, self);
        let mut old_sinks = mem::take(&mut self.sinks);
        for planned in plan.sinks {
            let place = old_sinks
                .iter()
                .position(|old| old.config.name == planned.config.name);
            let old = place.map(|place| old_sinks.remove(place));
            let sources = old.as_ref().map(|old| &old.selection.sources);
            let sources = listeners.with_former(&planned.config, sources);
            let of = listeners.of(&planned.config);
            (planned.edits).replace(&planned.group, of, listeners.remains());
            if let Some(mut sink) = self.apply_sink(planned, old, &mut changes) {
                sink.selection.sources = sources;
                self.sinks.push(sink);
            }
        }
        // From here on, listeners offer frames to the new set of sinks.
        let sinks = self.sinks.iter();
        let sinks = sinks.map(|sink| (Arc::clone(&sink.work.queues), sink.selection.clone()));
        self.router.replace(sinks);
        for gone in old_sinks {
            changes.removed.push(Arc::clone(gone.name()));
            self.retire_sink(gone);
        }

        let mut old_listeners = mem::take(&mut self.listeners);
        for planned in plan.listeners {
            let place = old_listeners
                .iter()
                .position(|old| is_same_place(&old.config, &planned.config));
            let old = place.map(|place| old_listeners.remove(place));
            self.listeners
                .extend(apply_listener(planned, old, &mut changes));
        }
        for gone in old_listeners {
            changes.removed.push(Arc::clone(gone.name()));
            self.retire_listener(gone);
        }
        self.view.show(&self.listeners, &self.sinks);
        changes
    }

    /// Applies the settings that are neither a listener's nor a sink's. Returns what changed.
    fn apply_limits(&self, plan: &Plan) -> Changes {
        let mut changes = Changes {
            drain: (*self.drain.borrow() != plan.drain).then_some(plan.drain),
            admin: self.admin != plan.admin,
            ..Changes::default()
        };
        self.drain.send_replace(plan.drain);
        let memory = &self.budgets.memory;
        if memory.limit() != plan.memory {
            memory.set_limit(plan.memory);
            changes.memory = Some(plan.memory);
        }
        let unfinished = &self.budgets.unfinished;
        if unfinished.limit() != plan.unfinished_frames {
            unfinished.set_limit(plan.unfinished_frames);
            changes.unfinished_frames = Some(plan.unfinished_frames);
        }
        let coalescing = self.view.coalescing();
        if coalescing.latency() != plan.latency {
            coalescing.set_latency(plan.latency);
            changes.latency = Some(plan.latency);
        }
        changes
    }

    /// Applies the plan of one sink. Returns `None` only if the plan keeps a sink that does not run. No plan does that.
    fn apply_sink(
        &self,
        planned: PlannedSink,
        mut old: Option<SinkHandle>,
        changes: &mut Changes,
    ) -> Option<SinkHandle> {
        let PlannedSink {
            config,
            material,
            mut screen,
            edits,
            step,
            spool,
            ..
        } = planned;
        let name = Arc::clone(&config.name);
        if let Some(old) = &mut old {
            tune(old, &config, &mut screen);
        }
        if let Some(old) = old.as_ref().filter(|it| it.spooler.is_some()) {
            let queue = old.work.queues.one();
            queue.set_direct(may_pass_the_disk(&config));
        }
        Some(match (step, old) {
            (SinkStep::Keep, old) => old.inspect(SinkHandle::look)?,
            (SinkStep::Tune, old) => {
                changes.changed.push(name);
                SinkHandle { config, ..old? }
            }
            (SinkStep::Adopt(stack), old) => {
                let old = old?;
                material.log_change(&old.material, &name);
                changes.changed.push(name);
                if let Way::Dials(running) = &old.work.way {
                    running.adopt(&stack);
                }
                SinkHandle {
                    config,
                    material,
                    ..old
                }
            }
            (SinkStep::Change(settings, permissions), old) => {
                changes.changed.push(name);
                waiting::change(old?, (config, material), settings, permissions.as_ref())
            }
            (SinkStep::Build(way), Some(old)) => {
                changes.changed.push(name);
                self.restart_sink((config, material), way, old)
            }
            (SinkStep::Build(way), None) => {
                changes.started.push(name);
                self.start_sink((config, material, edits), screen, way, spool)
            }
        })
    }

    /// Continues a running sink in another way, with its queues.
    fn restart_sink(
        &self,
        (config, material): (config::Sink, Material),
        way: Way,
        mut old: SinkHandle,
    ) -> SinkHandle {
        warn_about_unverified(&config);
        let queues = &old.work.queues;
        queues.set_limits(config.queue);
        // The old task may take seconds to end its streams. Frames that arrive in the meantime are already for the new task.
        match (&old.work.way, &way) {
            (Way::Dials(_), Way::Waits(_)) => queues.begin_to_wait(),
            (Way::Waits(_), Way::Dials(_)) => queues.begin_to_dial(),
            (Way::Dials(_), Way::Dials(_)) | (Way::Waits(_), Way::Waits(_)) => {}
        }
        old.work.way = way;
        let abort = self.abort.child_token();
        let task = SinkTask::start(old.work.clone(), abort, Some(old.task));
        SinkHandle {
            config,
            material,
            task,
            ..old
        }
    }

    fn start_sink(
        &self,
        (config, material, edits): (config::Sink, Material, CurrentEdits),
        screen: ReadScreen,
        way: Way,
        spool: Option<Opened>,
    ) -> SinkHandle {
        warn_about_unverified(&config);
        let (queues, spooler) = queues(&config, spool);
        let work = Work {
            reporter: way.reporter().clone(),
            way,
            queues,
            drain: self.drain.subscribe(),
        };
        let drop_log = drops::log_losses(Arc::clone(&config.name), Arc::clone(&work.queues));
        let task = SinkTask::start(work.clone(), self.abort.child_token(), None);
        SinkHandle {
            config,
            material,
            screen_digest: screen.digest,
            work,
            task,
            selection: Selection::default().with_screen(screen.screen),
            edits,
            spooler,
            _drop_log: AbortOnDropHandle::new(tokio::spawn(drop_log)),
        }
    }
}

/// Applies the changes of a running sink that need no new task: the settings of its spool, and its filter.
fn tune(old: &mut SinkHandle, config: &config::Sink, screen: &mut ReadScreen) {
    if let (Some(new), Some(spooler)) = (&config.spool, &old.spooler)
        && old.config.spool.as_ref() != Some(new)
    {
        spooler.change(old.name(), new);
    }
    if old.config.filters != config.filters || old.screen_digest != screen.digest {
        old.selection = (old.selection).with_screen(mem::take(&mut screen.screen));
        old.screen_digest = screen.digest;
    }
}

/// Returns the queues of a sink that starts. If the sink has a spool, the frames of the spool already wait in the
/// queues.
fn queues(config: &config::Sink, spool: Option<Opened>) -> (Arc<Queues>, Option<Spooler>) {
    let Some(spool) = spool else {
        let queues = match config.endpoint {
            Endpoint::Listen(_) => Queues::for_collectors(config.queue),
            _ => Queues::new(config.queue),
        };
        return (Arc::new(queues), None);
    };
    let queues = Arc::new(Queues::with_spool(config.queue, spool.frames()));
    queues.one().set_direct(may_pass_the_disk(config));
    let spooler = spool.start(queues.one());
    (queues, Some(spooler))
}

/// Returns whether a sink may send frames before they are on the disk. Frames that are then confirmed within
/// milliseconds need not be written. A collector sends FINISH far later. So with `confirm finish`, each frame would be
/// written anyway, and a killed router would lose more frames.
fn may_pass_the_disk(config: &config::Sink) -> bool {
    let is_patient = |spool: &config::Spool| spool.sync != config::SpoolSync::Always;
    config.confirm != config::Confirm::Finish && config.spool.as_ref().is_some_and(is_patient)
}

/// Applies the plan of one listener. Returns `None` only if the plan keeps a listener that does not run. No plan does
/// that.
fn apply_listener(
    planned: PlannedListener,
    old: Option<ListenerHandle>,
    changes: &mut Changes,
) -> Option<ListenerHandle> {
    let PlannedListener {
        config,
        id,
        material,
        step,
    } = planned;
    let name = Arc::clone(&config.name);
    Some(match step {
        ListenerStep::Keep => old.inspect(|old| old.running.look())?,
        ListenerStep::Change(settings, permissions) => {
            let old = old?;
            old.use_settings(&config, id, settings);
            if old.inherited && old.config.address != config.address {
                permissions::warn_of_inherited(Directive::Listener(&config), &config.address);
            }
            if let Some(Err(error)) =
                permissions.map(|change| old.running.change_permissions(&change))
            {
                error!(listener = %name, %error, "cannot change the socket's permissions");
            }
            old.running.look();
            changes.changed.push(name);
            ListenerHandle {
                config,
                material,
                ..old
            }
        }
        ListenerStep::Adopt(target) => {
            changes.changed.push(name);
            old?.adopt((config, id, material), &target)
        }
        ListenerStep::Dial(dialer, signals) => {
            dialled::start((config, id, material), dialer, signals, old, changes)
        }
        ListenerStep::Start(listener, signals) => {
            changes.started.push(name);
            if listener.acceptor.inherited {
                permissions::warn_of_inherited(Directive::Listener(&config), &config.address);
            }
            ListenerHandle {
                config,
                material,
                address: listener.acceptor.local_address(),
                inherited: listener.acceptor.inherited,
                dialled: None,
                running: listener.handle.clone(),
                signals,
                task: AbortOnDropHandle::new(tokio::spawn(listener.run())),
            }
        }
    })
}

pub(super) fn warn_about_unverified(sink: &config::Sink) {
    let Some(tls) = sink.tls.as_ref().filter(|tls| tls.skip_verify) else {
        return;
    };
    if matches!(sink.endpoint, Endpoint::Listen(_)) {
        if tls.ca.is_some() {
            warn!(sink = %sink.name, "skipverify: collectors need no certificate; `ca` verifies only the certificates that they show; remove `skipverify` to require certificates");
        }
    } else {
        warn!(sink = %sink.name, "skipverify: the collector's certificate is not verified; set `ca` to verify it");
    }
}
