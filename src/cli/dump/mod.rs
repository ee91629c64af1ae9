//! `tapfan dump`: a command line tool for dnstap. It reads captures, listens on sockets, prints and saves frames, and
//! sends them to collectors.
//!
//! Frames move in batches from the threads of the inputs to the pump, and from there to the threads of the outputs:
//!
//! ```text
//! captures ──► thread ─┐            ┌─► queue ─► thread: file, standard output
//! sockets  ──► thread ─┴─► pump ────┼─► queue ─► thread: file
//!                                   └─► queue ─► thread: collectors (sinks of the router)
//! ```
//!
//! `input` reads and validates frames, and `output` writes them. `network` has the runtime for sockets, and handles
//! signals.

mod account;
mod args;
mod batch;
mod format;
mod input;
mod loops;
mod network;
mod output;
mod pump;
mod stats;
mod transactions;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::sync_channel},
    thread,
};

pub(super) use args::DumpArgs;

use self::{
    account::{Account, OutputAccount, complain, report_to},
    format::Written,
    input::{Capture, Files},
    network::Network,
    output::{Kind, Worker},
    pump::Pump,
    stats::Stats,
};
use super::{BAD_CONFIGURATION, FAILED, capture, log::Log};

/// The number of batches that may wait in the queue between the inputs and the outputs.
const QUEUE: usize = 16;

/// The reason why the program does not start to read.
enum Refusal {
    /// The arguments contradict each other.
    Usage(String),
    /// Something cannot be opened or started.
    Cannot(String),
}

pub(super) fn run(args: &DumpArgs, log: &Log) -> ExitCode {
    report_to(&log.outlet);
    if let Err(error) = log.outlet.start() {
        complain(format_args!("cannot start a thread: {error}"));
        return ExitCode::from(FAILED);
    }
    match dump(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(Refusal::Usage(problem)) => {
            complain(format_args!("{problem}"));
            ExitCode::from(BAD_CONFIGURATION)
        }
        Err(Refusal::Cannot(problem)) => {
            complain(format_args!("{problem}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Checks the arguments for conflicts that clap does not find.
fn check(args: &DumpArgs) -> Result<(), Refusal> {
    let (input, output) = (&args.input, &args.output);
    let has_captures = input.captures().next().is_some();
    let files = &output.chosen.files;
    if !has_captures && !input.has_listeners() {
        return Err(Refusal::Usage(
            "no input: name a capture, or a socket with -u or -l; --help lists the options"
                .to_owned(),
        ));
    }
    if output.chosen.is_ambiguous {
        return Err(Refusal::Usage(
            "an output has one format: write at most one of -q, -y, -j, --flat, --pair, --fstrm and --pcap after its -w"
                .to_owned(),
        ));
    }
    if input.lacks_certificate() {
        return Err(Refusal::Usage(
            "-l tls:// needs --cert and --key".to_owned(),
        ));
    }
    if output.append
        && files
            .iter()
            .any(|file| file.is_stdout() || !file.format.is_text())
    {
        return Err(Refusal::Usage(
            "-a appends to files of text only: name them with -w and give their format".to_owned(),
        ));
    }
    if input.follow
        && input
            .captures()
            .any(|path| capture::is_standard_input(path))
    {
        return Err(Refusal::Usage(
            "-f follows files, not standard input".to_owned(),
        ));
    }
    if files.iter().filter(|file| file.is_stdout()).count() > 1 {
        return Err(Refusal::Usage(
            "only one output can be standard output".to_owned(),
        ));
    }
    if (output.count || output.stats)
        && output.wants_files()
        && files.iter().any(Written::is_stdout)
    {
        return Err(Refusal::Usage(
            "--count and --stats print on standard output, so no frames can be printed there; write the frames to a file with -w"
                .to_owned(),
        ));
    }
    loops::check(args).map_err(Refusal::Usage)
}

/// Runs `tapfan dump` to its end. Returns whether all frames were read and written.
fn dump(args: &DumpArgs) -> Result<bool, Refusal> {
    check(args)?;
    let screen = args.filter.screen();
    let screen = screen.map_err(|error| Refusal::Usage(error.to_string()))?;
    let account = Arc::new(Account::default());
    let captures = open_captures(args)?;
    let network = Network::start(args).map_err(Refusal::Cannot)?;
    let (to, batches) = sync_channel(QUEUE);
    let mut pump = Pump::new(
        Arc::clone(&account),
        network.stop(),
        network.sockets_ended(),
    );
    pump.screen = screen;
    pump.limit = args.filter.limit;
    pump.stats = args.output.stats.then(Stats::new);
    pump.workers = start_workers(args, &network, &account)?;
    let cannot = |error| Refusal::Cannot(format!("cannot start a thread: {error}"));
    let (runtime, sockets) = network.run(to.clone(), &account).map_err(cannot)?;
    let files = Files {
        to,
        account: Arc::clone(&account),
        stop: pump.stop.clone(),
        grow: args.input.follow,
    };
    start_captures(args, captures, files).map_err(cannot)?;
    pump.run(batches);
    if let Some(sockets) = sockets {
        // The number of dropped frames is read before the outputs finish. Frames that arrive after `--limit` ended the
        // input do not count as lost, even if the queue of the listeners overflows later.
        let dropped = sockets.ledger().dropped_total();
        account.overrun.fetch_add(dropped, Relaxed);
    }
    if pump.is_at_limit() {
        pump.workers.iter().for_each(Worker::cut);
    }
    let outputs: Vec<_> = pump.workers.drain(..).map(Worker::finish).collect();
    // If an output is stuck, no results are printed: it may be standard output, and printing to it would block.
    if !outputs.iter().any(|output| output.is_stuck.load(Relaxed)) {
        print_results(args, &pump);
    }
    runtime.end();
    let outputs: Vec<&OutputAccount> = outputs.iter().map(AsRef::as_ref).collect();
    account.sum_up(&outputs);
    Ok(account.is_good(&outputs))
}

/// Prints the results of `--count` and `--stats`.
fn print_results(args: &DumpArgs, pump: &Pump) {
    if args.output.count {
        print(format_args!("{}\n", pump.passed));
    }
    if let Some(stats) = &pump.stats {
        print(format_args!("{stats}"));
    }
}

/// Opens all captures before the first one is read, so that a misspelt name is reported immediately.
fn open_captures(args: &DumpArgs) -> Result<Vec<Capture>, Refusal> {
    let captures = args.input.captures();
    captures
        .map(|path| Capture::open(path).map_err(|error| Refusal::Cannot(error.to_string())))
        .collect()
}

/// Starts the threads that read captures. Normally one thread reads all; with `-f` each capture has its own thread.
fn start_captures(args: &DumpArgs, captures: Vec<Capture>, files: Files) -> io::Result<()> {
    let thread = || thread::Builder::new().name("captures".to_owned());
    if !args.input.follow {
        if !captures.is_empty() {
            thread().spawn(move || input::read(captures, &files))?;
        }
        return Ok(());
    }
    for path in args.input.captures() {
        let (path, files) = (path.clone(), files.clone());
        thread().spawn(move || input::follow(&path, &files))?;
    }
    Ok(())
}

/// Prints on standard output. It is not an error if the reader has closed the pipe.
fn print(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout();
    let _ = stdout.write_fmt(text).and_then(|()| stdout.flush());
}

fn start_workers(
    args: &DumpArgs,
    network: &Network,
    account: &Arc<Account>,
) -> Result<Vec<Worker>, Refusal> {
    let output = &args.output;
    let mut outputs = Vec::new();
    if let Some(collectors) = network.collectors(output).map_err(Refusal::Cannot)? {
        outputs.push(((Kind::Collectors, "collectors".to_owned()), collectors));
    }
    if output.wants_files() {
        for file in &output.chosen.files {
            let name = file.name();
            let opened = output::open(file, output.append)
                .map_err(|error| Refusal::Cannot(format!("cannot write {name}: {error}")))?;
            let kind = if file.is_stdout() {
                Kind::Stdout
            } else {
                Kind::File
            };
            outputs.push(((kind, name), opened));
        }
    }
    let start = |(name, output)| {
        let (reopener, ending) = (network.reopener(), network.ending());
        Worker::start(name, output, reopener, ending, Arc::clone(account))
            .map_err(|error| Refusal::Cannot(format!("cannot start a thread: {error}")))
    };
    outputs.into_iter().map(start).collect()
}
