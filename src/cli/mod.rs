//! The command line. Each command has a file or folder. Only `main` uses this module, and this module can use all other
//! folders.

mod capture;
mod check;
mod demo;
mod dump;
mod facts;
mod figures;
#[cfg(test)]
mod fixture;
mod inherited;
mod log;
mod paint;
mod readings;
mod remote;
mod replay;
mod run;
mod sample;
mod signals;
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
    /// Runs the router until SIGTERM or SIGINT, then drains it; a second signal ends the drain immediately
    Run(run::RunArgs),
    /// Checks a configuration: prints all problems with their places in the file, and the resulting settings
    Check(check::CheckArgs),
    /// Runs a router on loopback with recorded traffic, and stops one of its collectors for a while
    Demo(demo::DemoArgs),
    /// Reads dnstap from captures and sockets, and prints it, saves it, or sends it to collectors
    Dump(Box<dump::DumpArgs>),
    /// Sends captures to a listener: as fast as the listener reads, at a fixed rate, or at the pace of the times in the
    /// frames
    Replay(replay::ReplayArgs),
    /// Prints the sinks of a running router once; the exit status is 1 unless all sinks are healthy
    Status(status::StatusArgs),
    /// Shows the sinks of a running router live, with their history
    Top(top::TopArgs),
}

/// Exit status of a command that failed while running.
const FAILED: u8 = 1;
/// Exit status for bad usage and for a bad configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Runs the command line of this process and returns its exit status: 0 for success, 1 for a failure while running, 2 for
/// bad usage or a bad configuration.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outlet = cli.command.outlet();
    let log = match Log::init(&cli.log, cli.command.log_level(), outlet.clone()) {
        Ok(log) => log,
        Err(error) => {
            outlet.print(format_args!("tapfan: {error}\n"));
            outlet.flush();
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match cli.command {
        Command::Run(args) => run::run(&args, &log),
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Dump(args) => dump::run(&args, &log),
        Command::Replay(args) => replay::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
    }
}

/// Prints the help, or the error in the arguments. The arguments may be for `run`, where the service manager waits for
/// the process to exit. So this function prints an error without waiting for the reader of stderr.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let (outlet, text) = (Outlet::queued(), error.render());
    if check::colored_stderr() {
        outlet.print(format_args!("{}", text.ansi()));
    } else {
        outlet.print(format_args!("{text}"));
    }
    outlet.flush();
    ExitCode::from(BAD_CONFIGURATION)
}

// === impl Command ===

impl Command {
    /// Returns whether this command writes its log to stderr directly or through a queue.
    fn outlet(&self) -> Outlet {
        match self {
            // Senders must not wait for the reader of stderr.
            Self::Run(_) | Self::Dump(_) => Outlet::queued(),
            Self::Check(_) | Self::Demo(_) | Self::Replay(_) | Self::Status(_) | Self::Top(_) => {
                Outlet::Direct
            }
        }
    }

    /// The default log level of this command.
    fn log_level(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Check(_) => "info",
            Self::Dump(args) if args.verbose => "warn,tapfan=debug",
            Self::Dump(_) | Self::Replay(_) => "warn",
            // The output of these commands shows the state of the sinks, so log lines would only repeat it.
            Self::Demo(_) | Self::Status(_) | Self::Top(_) => "error",
        }
    }
}

/// Writes the reason why a command ends to stderr, and returns the exit status.
fn fail(status: u8, why: fmt::Arguments<'_>) -> ExitCode {
    eprint(format_args!("tapfan: {why}\n"));
    ExitCode::from(status)
}

/// Writes the result of a command to stdout.
fn print(text: &[u8]) -> io::Result<()> {
    match io::stdout().lock().write_all(text) {
        // `head` in `tapfan status | head` closes the pipe early, which is not an error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes to stderr and ignores errors, on which `eprint!` would panic. `run` and `dump` must use their [`Outlet`]
/// instead.
fn eprint(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}
