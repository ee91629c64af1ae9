//! Makes a planned change. What can fail has been done before, but for what the system may refuse: a log line tells.

use std::{fmt, sync::Arc, time::Duration};

use tracing::{error, info, warn};

use super::{
    AbortOnDrop, ListenerHandle, SinkHandle, Supervisor,
    descriptors::Shortage,
    drops,
    plan::{ListenerStep, Plan, PlannedListener, PlannedSink, SinkStep, is_same_place},
    sink_task::{SinkTask, Work},
};
use crate::{
    config::{self, Listen, ListenAddress, quantity::Size},
    net::UnixPermissions,
    router::Queues,
};

/// What a reload has changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Listeners and sinks that were started.
    pub started: Vec<Arc<str>>,
    /// Those that were changed, or that use other certificates from now on.
    pub changed: Vec<Arc<str>>,
    /// Those that are being drained.
    pub removed: Vec<Arc<str>>,
    /// How long a drain may take from now on, if that is another time than before.
    pub drain: Option<Duration>,
    /// What unfinished frames may hold from now on, in bytes, if that is another size than before.
    pub unfinished_frames: Option<usize>,
    /// What the router may hold from now on, in bytes, if that is another size than before.
    pub memory: Option<usize>,
    /// Whether `admin`, `probes` or `ready_when` say something else than before.
    pub admin: bool,
}

// === impl Changes ===

impl Changes {
    /// Whether all goes on as it did.
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
            unfinished_frames.map(|bytes| format!("unfinished_frames {}", Size(bytes as u64)));
        let memory = memory.map(|bytes| format!("memory {}", Size(bytes as u64)));
        let admin = admin.then(|| "admin endpoint".to_owned());
        let parts = parts.chain(drain).chain(unfinished_frames).chain(memory);
        let parts = parts.chain(admin);
        let parts: Vec<_> = parts.collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

impl Supervisor {
    /// Makes the change.
    pub(super) fn apply(&mut self, plan: Plan) -> Changes {
        let mut changes = Changes {
            drain: (*self.drain.borrow() != plan.drain).then_some(plan.drain),
            admin: self.admin != plan.admin,
            ..Changes::default()
        };
        self.admin = plan.admin;
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
        let shortage = plan.descriptors.reserve(&self.budgets.descriptors);
        if shortage != self.shortage {
            self.shortage = shortage;
            shortage.inspect(Shortage::log);
        }
        self.names = plan.names;
        while self.retiring_listeners.try_join_next().is_some() {}
        while self.retiring_sinks.try_join_next().is_some() {}

        let mut old_sinks = std::mem::take(&mut self.sinks);
        for planned in plan.sinks {
            let place = old_sinks
                .iter()
                .position(|old| old.config.name == planned.config.name);
            let old = place.map(|place| old_sinks.remove(place));
            let sink = self.apply_sink(planned, old, &mut changes);
            self.sinks.extend(sink);
        }
        // From here on, no listener offers to a sink that is gone, and each to every one that has come.
        self.router
            .replace(self.sinks.iter().map(|sink| Arc::clone(&sink.work.queues)));
        for gone in old_sinks {
            changes.removed.push(Arc::clone(gone.name()));
            self.retire_sink(gone);
        }

        let mut old_listeners = std::mem::take(&mut self.listeners);
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

    /// `None` only for a plan that keeps what does not run, which none does.
    fn apply_sink(
        &self,
        planned: PlannedSink,
        old: Option<SinkHandle>,
        changes: &mut Changes,
    ) -> Option<SinkHandle> {
        let PlannedSink {
            config,
            material,
            step,
        } = planned;
        let name = Arc::clone(&config.name);
        Some(match (step, old) {
            (SinkStep::Keep, old) => old?,
            (SinkStep::Adopt(stack), old) => {
                let old = old?;
                info!(sink = %name, "certificates were read anew; the next handshake uses them");
                changes.changed.push(name);
                old.work.stack.adopt_tls(&stack);
                SinkHandle { material, ..old }
            }
            (SinkStep::Build(stack), Some(mut old)) => {
                changes.changed.push(name);
                warn_of_unverified(&config);
                old.work.queues.set_limits(config.queue);
                old.work.stack = stack;
                let abort = self.abort.child_token();
                let task = SinkTask::start(old.work.clone(), abort, Some(old.task));
                SinkHandle {
                    config,
                    material,
                    task,
                    ..old
                }
            }
            (SinkStep::Build(stack), None) => {
                warn_of_unverified(&config);
                let work = Work {
                    reporter: stack.reporter().clone(),
                    stack,
                    queues: Arc::new(Queues::new(config.queue)),
                    drain: self.drain.subscribe(),
                };
                let drop_log = drops::tell(Arc::clone(&name), Arc::clone(&work.queues));
                changes.started.push(name);
                let task = SinkTask::start(work.clone(), self.abort.child_token(), None);
                SinkHandle {
                    config,
                    material,
                    work,
                    task,
                    _drop_log: AbortOnDrop(tokio::spawn(drop_log)),
                }
            }
        })
    }
}

/// `None` only for a plan that keeps what does not run, which none does.
fn apply_listener(
    planned: PlannedListener,
    old: Option<ListenerHandle>,
    changes: &mut Changes,
) -> Option<ListenerHandle> {
    let PlannedListener {
        config,
        material,
        step,
    } = planned;
    let name = Arc::clone(&config.name);
    Some(match step {
        ListenerStep::Keep => {
            let old = old?;
            old.running.look();
            old
        }
        ListenerStep::Change(settings, permissions) => {
            let old = old?;
            old.running.replace(settings);
            if old.inherited && old.config.address != config.address {
                warn_about_permissions(&config);
            }
            if let Some(Err(error)) =
                permissions.map(|change| old.running.change_permissions(&change))
            {
                error!(listener = %name, %error, "the socket's permissions were not changed");
            }
            old.running.look();
            changes.changed.push(name);
            ListenerHandle {
                config,
                material,
                ..old
            }
        }
        ListenerStep::Start(listener, signals) => {
            changes.started.push(name);
            if listener.is_inherited() {
                warn_about_permissions(&config);
            }
            ListenerHandle {
                config,
                material,
                address: listener.local_address(),
                inherited: listener.is_inherited(),
                running: listener.handle(),
                signals,
                task: AbortOnDrop(tokio::spawn(listener.run())),
            }
        }
    })
}

fn warn_about_permissions(listen: &Listen) {
    if let ListenAddress::Unix(_, permissions) = &listen.address
        && *permissions != UnixPermissions::default()
    {
        warn!(listener = %listen.name, "mode, owner and group count for nothing here: the socket was made by who started tapfan; with systemd set SocketMode=, SocketUser= and SocketGroup= of the socket unit");
    }
}

fn warn_of_unverified(sink: &config::Sink) {
    if sink.tls.as_ref().is_some_and(|tls| tls.skip_verify) {
        warn!(sink = %sink.name, "skipverify: whoever answers at this address is taken for the collector; give `ca` to verify it");
    }
}
