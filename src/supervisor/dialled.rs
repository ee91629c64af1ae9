//! The `connect` lines: code that starts them, and that changes them on a reload.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{
    ListenerHandle, Supervisor,
    apply::Changes,
    material::Material,
    plan::{ListenerStep, is_same_place},
};
use crate::{
    config::{Listen, Remote},
    dialer::{self, Dialer},
    frame_stream::ListenerId,
    health::Reporter,
    listener::{DrainSignals, Handle, ListenerSetupError, Settings},
    sink::{Names, Target},
};

/// The part of a running `connect` line that a listener does not have.
#[derive(Debug, Clone)]
pub(super) struct Dialled {
    pub(super) reporter: Reporter,
    /// The target shares its TLS settings and its lookups with the running task.
    target: Target,
}

/// Plans the change of a `connect` line.
pub(super) fn plan(
    listen: &Listen,
    remote: &Remote,
    material: &Material,
    names: &Names,
    running: &Supervisor,
) -> Result<(ListenerId, ListenerStep), ListenerSetupError> {
    let target = || {
        dialer::target(remote, material.client_tls.clone(), names)
            .map_err(|error| ListenerSetupError::Connect(error.into()))
    };
    let settings = settings(listen);
    let mut all = running.listeners.iter();
    let old = all.find(|old| is_same_place(&old.config, listen));
    let asks_others = *names.settings() != *running.names.settings();
    let moves = |old: &ListenerHandle| {
        old.config.remote() != Some(remote) || asks_others && remote.endpoint.is_named()
    };
    Ok(match old {
        Some(old) if !moves(old) => {
            let step = if old.material != *material {
                ListenerStep::Adopt(target()?)
            } else if old.config != *listen {
                ListenerStep::Change(settings, None)
            } else {
                ListenerStep::Keep
            };
            (old.running.next_id(listen), step)
        }
        _ => {
            let signals = running.signals.child();
            let handle = Handle::dialled(
                listen,
                settings,
                running.router.clone(),
                signals.clone(),
                running.budgets.clone(),
                old.map(|old| &old.running),
            );
            let reporter = old.and_then(|old| old.dialled.as_ref());
            let reporter = match reporter {
                Some(dialled) => dialled.reporter.clone(),
                None => Reporter::of_dialer(Arc::clone(&listen.name)),
            };
            let dialer = Dialer {
                target: target()?,
                reporter,
                handle,
                own: running.own.clone(),
            };
            let id = dialer.handle.next_id(listen);
            (id, ListenerStep::Dial(dialer, signals))
        }
    })
}

/// Connects to the servers of a `connect` line. If the line already runs, its old connections end first, because two
/// connections to the same server would receive every frame twice.
pub(super) fn start(
    (config, id, material): (Listen, ListenerId, Material),
    dialer: Dialer,
    signals: DrainSignals,
    old: Option<ListenerHandle>,
    changes: &mut Changes,
) -> ListenerHandle {
    let name = Arc::clone(&config.name);
    warn_about_unverified(&config);
    let running = dialer.handle.clone();
    running.replace(&config, id, settings(&config));
    dialer.reporter.rename(&config.name);
    let dialled = Dialled {
        reporter: dialer.reporter.clone(),
        target: dialer.target.clone(),
    };
    match old {
        Some(_) => changes.changed.push(name),
        None => changes.started.push(name),
    }
    let task = async move {
        if let Some(mut old) = old {
            old.signals.drain.cancel();
            // If the task has panicked, the panic hook has logged it.
            let _ = (&mut old.task).await;
        }
        dialer.run().await;
    };
    ListenerHandle {
        config,
        material,
        address: None,
        inherited: false,
        dialled: Some(dialled),
        running,
        signals,
        task: AbortOnDropHandle::new(tokio::spawn(task)),
    }
}

fn settings(listen: &Listen) -> Settings {
    Settings {
        limits: listen.limits,
        tls: None,
        words: listen.words,
    }
}

fn warn_about_unverified(listen: &Listen) {
    let tls = listen.remote().and_then(|remote| remote.tls.as_ref());
    if tls.is_some_and(|tls| tls.skip_verify) {
        warn!(listener = %listen.name, "skipverify: the server's certificate is not verified; set `ca` to verify it");
    }
}

// === impl ListenerHandle ===

impl ListenerHandle {
    /// Uses the name and the identity of `listen` for all connections, and `settings` for new connections.
    pub(super) fn use_settings(&self, listen: &Listen, id: ListenerId, settings: Settings) {
        self.running.replace(listen, id, settings);
        if let Some(dialled) = &self.dialled {
            dialled.reporter.rename(&listen.name);
        }
    }

    /// Uses new settings, and the certificates of `target`, from the next handshake on.
    pub(super) fn adopt(
        self,
        (config, id, material): (Listen, ListenerId, Material),
        target: &Target,
    ) -> Self {
        info!(listener = %config.name, "reloaded certificates, the next handshake uses them");
        if let Some(dialled) = &self.dialled {
            dialled.target.adopt(target);
        }
        self.use_settings(&config, id, settings(&config));
        Self {
            config,
            material,
            ..self
        }
    }
}
