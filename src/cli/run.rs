//! `tapfan run`: the router, until a signal ends it.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;
use tokio::{
    runtime, select,
    signal::unix::{Signal, SignalKind, signal},
    spawn,
    task::block_in_place,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    BAD_CONFIGURATION, FAILED, descriptors, inherited,
    inherited::Unused,
    log::Log,
    readings::{Readings, Wanted},
    tapfile::{Read, Tapfile},
    tell,
    watch::Watch,
};
use crate::{
    admin::{AdminError, Server, Sockets},
    config::{self, AdminAddress, Config, quantity::Size},
    files::Unanswered,
    net::Inherited,
    supervisor::{Configured, Prepared, StartError, Supervisor, View},
};

/// What `run` is told.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The Tapfile; ./Tapfile or else /etc/tapfan/Tapfile if not given.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The same, as `tapfan check` takes it.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
enum Asked {
    Reload,
    End(&'static str),
}

/// A router, and the configuration that it runs or last refused.
struct Running {
    tapfile: Tapfile,
    readings: Readings,
    supervisor: Supervisor,
    /// After the supervisor: it goes last.
    admin: Server,
    unused: Unused,
    watch: Watch,
    digest: u64,
}

pub(super) fn run(args: &RunArgs, log: &Log) -> ExitCode {
    // First: it needs a process of one thread. The log has the second.
    let Some(inherited) = inherited::take() else {
        return ExitCode::from(FAILED);
    };
    if let Err(error) = log.outlet().start() {
        tell(format_args!("tapfan: the log cannot be started: {error}\n"));
        return ExitCode::from(FAILED);
    }
    let Some(tapfile) = Tapfile::choose(args.config.as_ref().or(args.file.as_ref()), log) else {
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let mut read = match tapfile.read_in_time() {
        Ok(read) => read,
        Err(error) => {
            error!(path = %tapfile.path().display(), %error, "the configuration cannot be read; nothing starts");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    read.tell();
    let Some(prepared) = read.prepared.take() else {
        error!(path = %tapfile.path().display(), "nothing starts on a bad configuration");
        return ExitCode::from(BAD_CONFIGURATION);
    };
    descriptors::raise_limit();
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime cannot be started");
            return ExitCode::from(FAILED);
        }
    };
    let view = View::new();
    view.set_log_lines_lost(log.outlet().lost());
    // Before the router, so that whoever asks is told that it is starting; and dropped after it.
    let admin = Server::start(view.clone(), runtime.handle())
        .inspect_err(|error| error!(%error, "the admin endpoint cannot be started"));
    let Ok(mut admin) = admin.map(|admin| admin.with_log(log.control())) else {
        return ExitCode::from(FAILED);
    };
    let status = runtime.block_on(async {
        let signals = Signals::new()
            .inspect_err(|error| error!(%error, "signals cannot be caught"))
            .ok()?;
        let sockets = bind_admin(&admin, prepared.config())
            .inspect_err(|error| error!(%error, "the admin endpoint cannot be bound"))
            .ok()?;
        admin.apply(sockets);
        view.set_configured(&configured(&tapfile, &read));
        let running = Running::start(tapfile, inherited, view, admin, prepared, &read)?;
        Some(running.route(signals).await)
    });
    // A blocking call that hangs, of the resolver's say, does not hold up the exit. Nor does a thread that reads files.
    runtime.shutdown_background();
    status.unwrap_or(ExitCode::from(FAILED))
}

// === impl Running ===

impl Running {
    /// Starts the router; `None`, and words in the log, if it cannot be.
    fn start(
        tapfile: Tapfile,
        inherited: Inherited,
        view: View,
        admin: Server,
        prepared: Prepared,
        read: &Read,
    ) -> Option<Self> {
        let mut unused = Unused::default();
        // Also where the start fails: a socket at an address that is spelled otherwise may be why.
        unused.tell(&inherited, prepared.config());
        let bounds = prepared.config().sum_of_bounds();
        let supervisor = Supervisor::start_with(inherited, view, prepared)
            .inspect_err(tell_problems)
            .ok()?;
        info!(
            version = env!("CARGO_PKG_VERSION"),
            listeners = supervisor.listeners().len(),
            sinks = supervisor.sinks().len(),
            memory = %Size(supervisor.view().memory().limit() as u64),
            sum_of_bounds = %Size(bounds as u64),
            "tapfan is running"
        );
        let watch = Watch::new();
        watch.files(&read.files);
        Some(Self {
            readings: Readings::new(tapfile.clone()),
            tapfile,
            supervisor,
            admin,
            unused,
            watch,
            digest: read.digest,
        })
    }

    async fn route(mut self, mut signals: Signals) -> ExitCode {
        let name = loop {
            select! {
                asked = signals.next() => match asked {
                    Asked::End(name) => break name,
                    Asked::Reload => {
                        if !self.readings.ask(Wanted::Always) {
                            info!("the configuration is being read; it is read again after that");
                        }
                    }
                },
                () = self.watch.stirred() => {
                    self.readings.ask(Wanted::IfChanged);
                }
                (wanted, read) = self.readings.done() => self.reload(wanted, read),
            }
        };
        info!(signal = name, "told to end");
        let hurry = CancellationToken::new();
        let second = hurry.clone();
        spawn(async move {
            loop {
                if let Asked::End(name) = signals.next().await {
                    warn!(signal = name, "told to end again: at once, then");
                    second.cancel();
                }
            }
        });
        // The admin endpoint answers to the end.
        self.supervisor.drain(hurry).await;
        drop(self.admin);
        ExitCode::SUCCESS
    }

    /// Makes the change that a reading brings. If anything is wrong, all stays as it is.
    fn reload(&mut self, wanted: Wanted, read: Result<Read, Unanswered>) {
        match read {
            Ok(read) if wanted == Wanted::Always || read.digest != self.digest => {
                // Accounts are looked up, and sockets bound.
                block_in_place(|| self.change(read));
            }
            Ok(_) => {}
            Err(error) => {
                let path = self.tapfile.path().display();
                self.supervisor.view().refused(&error.to_string());
                error!(%path, %error, "the configuration was not changed: the new one cannot be read, and the old one stays");
            }
        }
    }

    fn taken_up(&mut self, sockets: Sockets, read: &Read, config: &Config) {
        self.admin.apply(sockets);
        let configured = configured(&self.tapfile, read);
        self.supervisor.view().set_configured(&configured);
        self.unused.tell(self.supervisor.inherited(), config);
    }

    fn change(&mut self, mut read: Read) {
        let path = self.tapfile.path().to_owned();
        let path = path.display();
        read.tell();
        self.watch.files(&read.files);
        self.digest = read.digest;
        let Some(prepared) = read.prepared.take() else {
            self.supervisor.view().refused(&read.errors());
            error!(%path, "the configuration was not changed: the new one is bad, and the old one stays");
            return;
        };
        let config = prepared.config().clone();
        let sockets = match bind_admin(&self.admin, &config) {
            Ok(sockets) => sockets,
            Err(error) => {
                self.supervisor.view().refused(&error.to_string());
                error!(%error, "the admin endpoint cannot be bound");
                error!(%path, "the configuration was not changed: the new one cannot run, and the old one stays");
                return;
            }
        };
        match self.supervisor.change(prepared) {
            Ok(changes) if changes.is_empty() => {
                self.taken_up(sockets, &read, &config);
                info!(%path, "the configuration was read; nothing has changed");
            }
            Ok(changes) => {
                self.taken_up(sockets, &read, &config);
                info!(%path, %changes, "the configuration was changed");
            }
            Err(error) => {
                tell_problems(&error);
                error!(%path, "the configuration was not changed: the new one cannot run, and the old one stays");
            }
        }
    }
}

fn tell_problems(StartError(problems): &StartError) {
    for problem in problems {
        error!(error = %problem, "a part of the configuration cannot run");
    }
}

/// Binds what the configuration asks for. The address that nothing asks for may be taken: that is told, and done without.
fn bind_admin(admin: &Server, config: &Config) -> Result<Sockets, AdminError> {
    admin.bind(&config.admin).or_else(|error| {
        if !matches!(error, AdminError::Default { .. }) {
            return Err(error);
        }
        warn!(%error, "the router runs without an admin endpoint");
        admin.bind(&config::Admin {
            address: AdminAddress::Off,
            ..config.admin.clone()
        })
    })
}

fn configured(tapfile: &Tapfile, read: &Read) -> Configured {
    Configured {
        path: Some(tapfile.path().to_owned()),
        absolute_path: read.absolute_path.clone(),
        files: read.files.clone(),
        digest: read.digest,
    }
}

// === impl Signals ===

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel safe.
    async fn next(&mut self) -> Asked {
        select! {
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}
