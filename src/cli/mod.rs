//! The command line: one file a command. Called by `main` alone; calls everything.

mod check;
mod demo;
mod descriptors;
mod facts;
mod figures;
#[cfg(test)]
mod fixture;
mod inherited;
mod log;
mod paint;
mod readings;
mod router;
mod run;
mod status;
mod tapfile;
mod top;
mod watch;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::log::{Log, Outlet};

/// The dnstap fan-out router.
#[derive(Debug, Parser)]
#[command(name = "tapfan", version, about, long_about = None)]
struct Cli {
    #[command(flatten)]
    log: log::LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the router until SIGTERM or SIGINT, then drains; a second signal ends it at once.
    Run(run::RunArgs),
    /// Reads a configuration, prints every problem with its place in the file, and what it understood.
    Check(check::CheckArgs),
    /// Shows the router at work on loopback, with recorded traffic and a collector that goes away.
    Demo(demo::DemoArgs),
    /// Shows the sinks of a running router, once; status 1 unless all are well.
    Status(status::StatusArgs),
    /// Shows the sinks of a running router, live, with their history; keys sort and select.
    Top(top::TopArgs),
}

/// Exit status of a command that failed while it ran.
const FAILED: u8 = 1;
/// Exit status of bad usage and of a bad configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Runs the command line of this process and gives its exit status: 0 fine, 1 failed while running, 2 bad usage or
/// configuration.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outlet = cli.command.outlet();
    let log = match Log::init(&cli.log, cli.command.log_level(), outlet.clone()) {
        Ok(log) => log,
        Err(error) => {
            outlet.tell(format_args!("tapfan: {error}\n"));
            outlet.flush();
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match cli.command {
        Command::Run(args) => run::run(&args, &log),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
    }
}

/// Shows the help that was asked for, or what is wrong with the arguments. The latter waits for no reader of stderr: these
/// may be the arguments of `run`, whose supervisor waits for its end.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let (outlet, text) = (Outlet::queued(), error.render());
    if check::colored_stderr() {
        outlet.tell(format_args!("{}", text.ansi()));
    } else {
        outlet.tell(format_args!("{text}"));
    }
    outlet.flush();
    ExitCode::from(BAD_CONFIGURATION)
}

// === impl Command ===

impl Command {
    /// The way of its log to stderr.
    fn outlet(&self) -> Outlet {
        match self {
            Self::Run(_) => Outlet::queued(),
            Self::Check(_) | Self::Demo(_) | Self::Status(_) | Self::Top(_) => Outlet::Direct,
        }
    }

    /// The level of its log if nobody asks for another.
    fn log_level(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Check(_) => "info",
            // They tell of the sinks themselves.
            Self::Demo(_) | Self::Status(_) | Self::Top(_) => "error",
        }
    }
}

/// Writes to stderr at once, if anybody reads it: `eprint` would panic if not. Not for `run`, which has an [`Outlet`].
fn tell(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}
