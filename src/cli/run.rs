//! `tapfan run`: runs the router until a signal ends it.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    runtime::{self, Runtime},
    select,
    signal::unix::SignalKind,
    task::block_in_place,
    time::Instant,
};
use tracing::{error, info, warn};

use super::{
    BAD_CONFIGURATION, FAILED,
    drain::drain,
    fail, inherited,
    inherited::Unused,
    log::Log,
    readings::{Readings, Wanted},
    signals::Signals,
    tapfile::{Read, Tapfile},
    watch::{PATIENCE, Watch},
};
use crate::{
    admin::{AdminError, Server, Sockets},
    config::{self, AdminAddress, Config, quantity::Size},
    files::Unanswered,
    health::ConfigStatus,
    net::Inherited,
    supervisor::{Prepared, StartError, Supervisor, View},
};

/// Arguments of `tapfan run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The Tapfile
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The Tapfile; by default ./Tapfile, or else /etc/tapfan/Tapfile
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

/// The action that a signal requests.
#[derive(Clone, Copy)]
enum Asked {
    Reload,
    End(&'static str),
}

/// A running router, and the last configuration that the router applied or refused.
struct Running {
    tapfile: Tapfile,
    readings: Readings,
    supervisor: Supervisor,
    /// The admin endpoint. It is dropped after the supervisor, so that it answers until the end.
    admin: Server,
    unused: Unused,
    watch: Watch,
    digest: u64,
    /// The number of threads that move frames.
    workers: usize,
    /// The time of the first configuration in a row that was dropped because files kept changing. `None` if the last
    /// configuration was not dropped.
    postponed: Option<Instant>,
}

pub(super) fn run(args: &RunArgs, log: &Log) -> ExitCode {
    // This comes first because systemd's sockets can be taken only while the process has a single thread, and the log
    // starts another thread.
    let Some(inherited) = inherited::take() else {
        return ExitCode::from(FAILED);
    };
    if let Err(error) = log.outlet.start() {
        return fail(FAILED, format_args!("cannot start the log: {error}"));
    }
    let Some(tapfile) = Tapfile::choose(args.config.as_ref().or(args.file.as_ref()), log) else {
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let mut read = match tapfile.read_in_time() {
        Ok(read) => read,
        Err(error) => {
            error!(path = %tapfile.path.display(), %error, "cannot read the configuration, exiting");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    read.report();
    let Some(prepared) = read.prepared.take() else {
        error!(path = %tapfile.path.display(), "the configuration has errors, exiting");
        return ExitCode::from(BAD_CONFIGURATION);
    };
    raise_descriptor_limit();
    let view = View::new();
    let runtime = match data_plane(&view, prepared.config()) {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "cannot start the runtime");
            return ExitCode::from(FAILED);
        }
    };
    view.set_log_lines_lost(log.outlet.lost());
    // The admin endpoint starts first and is dropped last, so that probes see the router start and drain.
    let admin = Server::start(view.clone(), runtime.handle())
        .inspect_err(|error| error!(%error, "cannot start the admin endpoint"));
    let Ok(mut admin) = admin.map(|admin| admin.with_log(Arc::clone(&log.control))) else {
        return ExitCode::from(FAILED);
    };
    let status = runtime.block_on(async {
        let signals = signals()
            .inspect_err(|error| error!(%error, "cannot install signal handlers"))
            .ok()?;
        let sockets = bind_admin(&admin, prepared.config())
            .inspect_err(|error| error!(%error, "cannot bind the admin endpoint"))
            .ok()?;
        admin.apply(sockets);
        view.set_configured(&configured(&tapfile, &read));
        let running = Running::start(tapfile, inherited, view, admin, prepared, &read)?;
        Some(running.route(signals).await)
    });
    // Does not wait for blocking calls that hang, such as a name lookup or the read of a file.
    runtime.shutdown_background();
    status.unwrap_or(ExitCode::from(FAILED))
}

/// Installs the handlers of the signals that end the router or reload its configuration.
fn signals() -> io::Result<Signals<Asked>> {
    Signals::new([
        (SignalKind::terminate(), Asked::End("SIGTERM")),
        (SignalKind::interrupt(), Asked::End("SIGINT")),
        (SignalKind::hangup(), Asked::Reload),
    ])
}

/// Builds the runtime on which listeners and sinks run.
fn data_plane(view: &View, config: &Config) -> io::Result<Runtime> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(config.workers).enable_all();
    view.coalescing().install(&mut builder);
    builder.build()
}

/// Raises the soft limit on file descriptors to the hard limit.
///
/// The usual soft limit of 1024 protects programs that use select(2), which tapfan does not use. If the hard limit is too
/// low for the configuration, the supervisor logs a warning.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

// === impl Running ===

impl Running {
    /// Starts the router. If that fails, logs the errors and returns `None`.
    fn start(
        tapfile: Tapfile,
        inherited: Inherited,
        view: View,
        admin: Server,
        prepared: Prepared,
        read: &Read,
    ) -> Option<Self> {
        let mut unused = Unused::default();
        // The warnings are logged before the router starts. If the Tapfile spells the address of an inherited socket
        // differently, the start fails, and the warning shows why.
        unused.warn(&inherited, prepared.config());
        let bounds = prepared.config().sum_of_bounds();
        let workers = prepared.config().workers;
        let supervisor = Supervisor::start_with(inherited, view, prepared)
            .inspect_err(log_problems)
            .ok()?;
        info!(
            version = env!("CARGO_PKG_VERSION"),
            listeners = supervisor.listeners().len(),
            sinks = supervisor.sinks().len(),
            memory = %Size(supervisor.view().memory().limit() as u64),
            sum_of_bounds = %Size::of(bounds),
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
            workers,
            postponed: None,
        })
    }

    async fn route(mut self, mut signals: Signals<Asked>) -> ExitCode {
        let name = loop {
            select! {
                asked = signals.next() => match asked {
                    Asked::End(name) => break name,
                    Asked::Reload => {
                        if !self.readings.ask(Wanted::Always) {
                            info!("a reload is in progress; another reload will follow");
                        }
                    }
                },
                () = self.watch.changed() => {
                    self.readings.ask(Wanted::IfChanged);
                }
                (wanted, read) = self.readings.done() => {
                    if !self.postpones(wanted) {
                        self.reload(wanted, read);
                    }
                }
            }
        };
        info!(
            signal = name,
            "received a signal, draining; a second signal ends the drain"
        );
        let ends = |asked| match asked {
            Asked::End(name) => Some(name),
            Asked::Reload => None,
        };
        // The admin endpoint answers until the end of the drain.
        drain(self.supervisor, signals, ends).await;
        drop(self.admin);
        ExitCode::SUCCESS
    }

    /// Returns whether to drop the configuration that was just read. While files are still changing, one of them may
    /// have been only half-written when it was read. Another read follows when the files have stopped changing. If they
    /// never stop, the reload is delayed by at most [`PATIENCE`].
    fn postpones(&mut self, wanted: Wanted) -> bool {
        let may_be_torn = wanted == Wanted::IfChanged && self.watch.is_changing();
        let since = may_be_torn.then(|| self.postponed.unwrap_or_else(Instant::now));
        self.postponed = since.filter(|since| since.elapsed() < PATIENCE);
        self.postponed.is_some()
    }

    /// Applies a configuration that was read. If the configuration has any error, nothing changes.
    fn reload(&mut self, wanted: Wanted, read: Result<Read, Unanswered>) {
        match read {
            Ok(read) if wanted == Wanted::Always || read.digest != self.digest => {
                // The change blocks this thread: it looks up users and groups, and binds sockets.
                block_in_place(|| self.change(read));
            }
            Ok(_) => {}
            Err(error) => {
                let path = self.tapfile.path.display();
                self.supervisor.view().refused(&error.to_string());
                error!(%path, %error, "reload refused: cannot read the new configuration; the old one stays in effect");
            }
        }
    }

    fn applied(&mut self, sockets: Sockets, read: &Read, config: &Config) {
        self.admin.apply(sockets);
        let configured = configured(&self.tapfile, read);
        self.supervisor.view().set_configured(&configured);
        self.unused.warn(self.supervisor.inherited(), config);
        if config.workers != self.workers {
            warn!(
                workers = self.workers,
                configured = config.workers,
                "the number of workers has changed; restart the router to apply it"
            );
        }
    }

    fn change(&mut self, mut read: Read) {
        let path = self.tapfile.path.clone();
        let path = path.display();
        read.report();
        self.watch.files(&read.files);
        self.digest = read.digest;
        let Some(prepared) = read.prepared.take() else {
            self.supervisor.view().refused(&read.errors());
            error!(%path, "reload refused: the new configuration has errors; the old one stays in effect");
            return;
        };
        let config = prepared.config().clone();
        let sockets = match bind_admin(&self.admin, &config) {
            Ok(sockets) => sockets,
            Err(error) => {
                self.supervisor.view().refused(&error.to_string());
                error!(%error, "cannot bind the admin endpoint");
                error!(%path, "reload refused: the new configuration cannot run; the old one stays in effect");
                return;
            }
        };
        match self.supervisor.change(prepared) {
            Ok(changes) if changes.is_empty() => {
                self.applied(sockets, &read, &config);
                info!(%path, "reload changed nothing");
            }
            Ok(changes) => {
                self.applied(sockets, &read, &config);
                info!(%path, %changes, "reloaded the configuration");
            }
            Err(error) => {
                log_problems(&error);
                error!(%path, "reload refused: the new configuration cannot run; the old one stays in effect");
            }
        }
    }
}

fn log_problems(StartError(problems): &StartError) {
    for problem in problems {
        error!(error = %problem, "cannot run part of the configuration");
    }
}

/// Binds the admin endpoint. If the Tapfile has no `admin` line and the default address is in use, the router runs without
/// an admin endpoint.
fn bind_admin(admin: &Server, config: &Config) -> Result<Sockets, AdminError> {
    admin.bind(&config.admin).or_else(|error| {
        if !matches!(error, AdminError::Default { .. }) {
            return Err(error);
        }
        warn!(%error, "running without an admin endpoint");
        admin.bind(&config::Admin {
            address: AdminAddress::Off,
            ..config.admin.clone()
        })
    })
}

fn configured(tapfile: &Tapfile, read: &Read) -> ConfigStatus {
    let shown = |path: &Path| path.display().to_string();
    ConfigStatus {
        path: Some(shown(&tapfile.path)),
        absolute_path: read.absolute_path.as_deref().map(shown),
        files: read.files.iter().map(|file| shown(file)).collect(),
        digest: format!("{:016x}", read.digest),
    }
}
