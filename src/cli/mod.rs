//! The command line. Each command has its own file or folder. Only `main` uses this module. This module may use all
//! other modules of the crate.

mod capture;
mod check;
mod completions;
mod demo;
mod drain;
mod dump;
mod examples;
mod facts;
mod figures;
#[cfg(test)]
mod fixture;
mod inherited;
mod init;
mod log;
mod man;
mod number;
mod paint;
mod readings;
mod remote;
mod replay;
mod run;
mod senders;
mod signals;
mod single_dash;
mod spool;
mod status;
mod tapfile;
mod top;
mod version;
mod watch;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::log::{BadLevel, Log, LogArgs, Outlet};

/// The dnstap fan-out router.
#[derive(Debug, Parser)]
#[command(name = "tapfan", version, long_version = version::long(), about, long_about = None)]
#[command(after_help = "`tapfan help COMMAND` prints the options of a command, with examples.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands. Each command that can log has the arguments of the log.
#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the router until SIGTERM or SIGINT, then drains it; a second signal ends the drain immediately
    #[command(after_help = examples::help("run"))]
    Run {
        #[command(flatten)]
        args: run::RunArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Checks a configuration: prints all problems with their places in the file, and the resulting settings
    #[command(after_help = examples::help("check"))]
    Check(check::CheckArgs),
    /// Writes a first Tapfile for this machine and its DNS servers, and prints the next commands
    #[command(after_help = examples::help("init"))]
    Init(init::InitArgs),
    /// Runs a router on loopback with recorded traffic, and stops one of its collectors for a while
    #[command(after_help = examples::help("demo"))]
    Demo {
        #[command(flatten)]
        args: demo::DemoArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Reads dnstap from captures and sockets, and prints it, saves it, or sends it to collectors
    #[command(after_help = examples::help("dump"))]
    Dump {
        #[command(flatten)]
        args: Box<dump::DumpArgs>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Sends captures to a listener: as fast as the listener reads, at a fixed rate, or at the pace of the times in the
    /// frames
    #[command(after_help = examples::help("replay"))]
    Replay {
        #[command(flatten)]
        args: replay::ReplayArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Prints the sinks of a running router once; the exit status is 1 unless all sinks are healthy
    #[command(after_help = examples::help("status"))]
    Status(status::StatusArgs),
    /// Shows the sinks of a running router live, with their history
    #[command(after_help = examples::help("top"))]
    Top(top::TopArgs),
    /// Lists, checks, reads and deletes the spools in which sinks keep frames
    #[command(after_help = examples::help("spool"))]
    Spool(spool::SpoolArgs),
    /// Prints the completions of this program for a shell
    #[command(after_help = examples::help("completions"))]
    Completions(completions::CompletionsArgs),
    /// Writes the manual pages of this program and of the Tapfile to a folder, for packages
    #[command(after_help = examples::help("man"))]
    Man(man::ManArgs),
}

/// Exit status of a command that failed while running.
const FAILED: u8 = 1;
/// Exit status for bad usage and for a bad configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Runs the command line of this process and returns its exit status: 0 for success, 1 for a failure while running, 2 for
/// bad usage or a bad configuration.
pub fn main() -> ExitCode {
    if let Some(mistake) = single_dash::find(std::env::args_os().skip(1)) {
        return fail(BAD_CONFIGURATION, format_args!("{mistake}"));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outlet = cli.command.outlet();
    let log = match cli.command.log(outlet.clone()) {
        Ok(log) => log,
        Err(error) => {
            outlet.print(format_args!("tapfan: {error}\n"));
            outlet.flush();
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match cli.command {
        Command::Run { args, .. } => run::run(&args, &log),
        Command::Check(args) => check::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Demo { args, .. } => demo::run(&args),
        Command::Dump { args, .. } => dump::run(&args, &log),
        Command::Replay { args, .. } => replay::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Spool(args) => spool::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Prints the help, or the error in the arguments. For `tapfan run`, a service manager waits until the process ends. So
/// this function prints an error without waiting for the reader of stderr.
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
            // These commands receive frames, and the senders of the frames must not wait for the reader of stderr.
            Self::Run { .. } | Self::Dump { .. } => Outlet::queued(),
            _ => Outlet::Direct,
        }
    }

    /// Sets up the log of this command. The level is that of the arguments or of `RUST_LOG`; the default depends on the
    /// command.
    fn log(&self, outlet: Outlet) -> Result<Log, BadLevel> {
        let (args, level) = match self {
            Self::Run { log, .. } => (log, "info"),
            Self::Dump { args, log } if args.verbose => (log, "warn,tapfan=debug"),
            Self::Dump { log, .. } | Self::Replay { log, .. } => (log, "warn"),
            // The demo prints the state of the sinks, so log lines would only repeat it.
            Self::Demo { log, .. } => (log, "error"),
            Self::Check(_) => (&LogArgs::DEFAULT, "info"),
            Self::Init(_)
            | Self::Status(_)
            | Self::Top(_)
            | Self::Spool(_)
            | Self::Completions(_)
            | Self::Man(_) => (&LogArgs::DEFAULT, "error"),
        };
        Log::init(args, level, outlet)
    }
}

/// Writes the reason why a command fails to stderr, and returns the exit status.
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
    // The harness of the tests captures only the output of the macro.
    #[cfg(test)]
    std::eprint!("{text}");
    #[cfg(not(test))]
    let _ = io::stderr().write_fmt(text);
}
