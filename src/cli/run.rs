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
    BAD_CONFIGURATION, FAILED, descriptors,
    log::LogFormat,
    tapfile::{Read, Tapfile},
    watch::Watch,
};
use crate::{
    config::Config,
    supervisor::{StartError, Supervisor},
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
    supervisor: Supervisor,
    watch: Watch,
    digest: u64,
}

pub(super) fn run(args: &RunArgs, format: LogFormat) -> ExitCode {
    let Some(tapfile) = Tapfile::choose(args.config.as_ref().or(args.file.as_ref()), format) else {
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let read = tapfile.read();
    read.tell();
    let Some(config) = read.config else {
        error!(path = %tapfile.path().display(), "nothing starts on a bad configuration");
        return ExitCode::from(BAD_CONFIGURATION);
    };
    descriptors::raise_limit(&config);
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime cannot be started");
            return ExitCode::from(FAILED);
        }
    };
    let status = runtime.block_on(async {
        let signals = Signals::new()
            .inspect_err(|error| error!(%error, "signals cannot be caught"))
            .ok()?;
        let running = Running::start(tapfile, &config, &read.files, read.digest)?;
        Some(running.route(signals).await)
    });
    // A blocking call that hangs, of the resolver's say, does not hold up the exit.
    runtime.shutdown_background();
    status.unwrap_or(ExitCode::from(FAILED))
}

// === impl Running ===

impl Running {
    /// Starts the router; `None`, and words in the log, if it cannot be.
    fn start(tapfile: Tapfile, config: &Config, files: &[PathBuf], digest: u64) -> Option<Self> {
        let supervisor = Supervisor::start(config).inspect_err(tell).ok()?;
        tell_of_admin(config);
        info!(
            version = env!("CARGO_PKG_VERSION"),
            listeners = supervisor.listeners().len(),
            sinks = supervisor.sinks().len(),
            "tapfan is running"
        );
        let mut watch = Watch::new();
        watch.files(files);
        Some(Self {
            tapfile,
            supervisor,
            watch,
            digest,
        })
    }

    async fn route(mut self, mut signals: Signals) -> ExitCode {
        let name = loop {
            select! {
                asked = signals.next() => match asked {
                    Asked::End(name) => break name,
                    Asked::Reload => self.reload(),
                },
                () = self.watch.stirred() => self.reload_if_changed(),
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
        self.supervisor.drain(hurry).await;
        ExitCode::SUCCESS
    }

    /// Reads the configuration anew and changes what it changes. If anything is wrong, all stays as it is.
    fn reload(&mut self) {
        // Files are read.
        block_in_place(|| {
            let read = self.tapfile.read();
            self.change(read);
        });
    }

    fn reload_if_changed(&mut self) {
        block_in_place(|| {
            let read = self.tapfile.read();
            if read.digest != self.digest {
                self.change(read);
            }
        });
    }

    fn change(&mut self, read: Read) {
        let path = self.tapfile.path().display();
        read.tell();
        self.watch.files(&read.files);
        self.digest = read.digest;
        let Some(config) = read.config else {
            error!(%path, "the configuration was not changed: the new one is bad, and the old one stays");
            return;
        };
        match self.supervisor.reload(&config) {
            Ok(changes) if changes.is_empty() => {
                info!(%path, "the configuration was read; nothing has changed");
            }
            Ok(changes) => {
                descriptors::raise_limit(&config);
                tell_of_admin(&config);
                info!(%path, %changes, "the configuration was changed");
            }
            Err(error) => {
                tell(&error);
                error!(%path, "the configuration was not changed: the new one cannot run, and the old one stays");
            }
        }
    }
}

fn tell(StartError(problems): &StartError) {
    for problem in problems {
        error!("{problem}");
    }
}

fn tell_of_admin(config: &Config) {
    if let Some(admin) = config.admin {
        warn!(%admin, "admin: this version has no admin endpoint yet; the line is checked and has no effect");
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
