//! `tapfan run`: the router, until a signal ends it.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    spawn,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{BAD_CONFIGURATION, FAILED, check, descriptors, log::LogFormat, tell};
use crate::{
    config::{self, Config, Loaded, Severity},
    supervisor::Supervisor,
};

/// What `run` is told.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The Tapfile; ./Tapfile or else /etc/tapfan/Tapfile if not given.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

pub(super) fn run(args: &RunArgs, format: LogFormat) -> ExitCode {
    let Some(config) = load(args, format) else {
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
    let status = runtime.block_on(route(&config));
    // A blocking call that hangs, of the resolver's say, does not hold up the exit.
    runtime.shutdown_background();
    status
}

/// Reads the configuration, and tells of its problems: as `check` does to a person, as log lines to a machine.
fn load(args: &RunArgs, format: LogFormat) -> Option<Config> {
    let path = match check::choose(args.config.as_deref()) {
        Ok(path) => path,
        Err(problem) => {
            error!("{problem}");
            return None;
        }
    };
    let Loaded {
        config,
        diagnostics,
    } = config::load(&path, &config::process_environment);
    match format {
        LogFormat::Text => tell(format_args!(
            "{}",
            diagnostics.render(check::colored_stderr())
        )),
        LogFormat::Json => diagnostics.iter().for_each(|problem| {
            let place = diagnostics.position(problem).map(|place| place.to_string());
            match problem.severity() {
                Severity::Error => error!(place, "{}", problem.message()),
                Severity::Warning => warn!(place, "{}", problem.message()),
            }
        }),
    }
    if config.is_none() {
        error!(path = %path.display(), "nothing starts on a bad configuration");
    }
    config
}

async fn route(config: &Config) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            error!(%error, "signals cannot be caught");
            return ExitCode::from(FAILED);
        }
    };
    let supervisor = match Supervisor::start(config) {
        Ok(supervisor) => supervisor,
        Err(problems) => {
            for problem in &problems.0 {
                error!("{problem}");
            }
            return ExitCode::from(FAILED);
        }
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        listeners = supervisor.listeners().len(),
        sinks = supervisor.sinks().len(),
        "tapfan is running"
    );
    let name = signals.end().await;
    info!(signal = name, "told to end");
    let hurry = CancellationToken::new();
    let second = hurry.clone();
    spawn(async move {
        let name = signals.end().await;
        warn!(signal = name, "told to end again: at once, then");
        second.cancel();
    });
    supervisor.drain(hurry).await;
    ExitCode::SUCCESS
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

    /// Waits for one that asks to end, and says which it was.
    async fn end(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    warn!(signal = "SIGHUP", "the configuration cannot be read anew while it runs: restart to change it");
                }
            }
        }
    }
}
