//! `tapfan replay`: sends captures to a listener.
//!
//! A thread reads the captures and cuts them into pieces of many frames. Each connection takes the next piece, waits
//! until it is due, and writes it as a whole. The connections return the buffers of the pieces to the thread, so that
//! sending a frame does not allocate memory.

mod args;
mod connection;
mod error;
mod pace;
mod pieces;
mod progress;
mod target;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use tokio::{runtime, select, signal::unix::SignalKind, sync::Mutex, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

pub(super) use self::args::ReplayArgs;
use self::{
    connection::{Connection, Sent},
    error::ReplayError,
    pieces::Pieces,
    progress::Account,
    target::Target,
};
use super::{BAD_CONFIGURATION, FAILED, eprint, signals::Signals};

/// The result of a replay.
struct Outcome {
    account: Account,
    /// True if SIGINT or SIGTERM ended the replay.
    interrupted: bool,
    problems: Vec<ReplayError>,
}

pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    let target = match Target::new(args) {
        Ok(target) => target,
        Err(error) => {
            report(&error);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    // Nothing is sent if the user has misspelt the name of a capture.
    let unusable = pieces::unusable(&args.captures);
    if !unusable.is_empty() {
        unusable.iter().for_each(report);
        return ExitCode::from(FAILED);
    }
    let runtime = match runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&ReplayError::Thread(error));
            return ExitCode::from(FAILED);
        }
    };
    let outcome = runtime.block_on(replay(args, target));
    // Does not wait for a name lookup that hangs.
    runtime.shutdown_background();
    match outcome {
        Ok(outcome) => conclude(args, &outcome),
        Err(error) => {
            report(&error);
            ExitCode::from(FAILED)
        }
    }
}

/// Prints how much was sent. If not everything was sent, prints the reasons.
fn conclude(args: &ReplayArgs, outcome: &Outcome) -> ExitCode {
    progress::clear();
    outcome.problems.iter().for_each(report);
    let Outcome { account, .. } = outcome;
    let connections = match args.connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    };
    let end = if !outcome.problems.is_empty() {
        "did not end cleanly, see the errors"
    } else if args.unidirectional {
        "ended with STOP"
    } else {
        "FINISH received"
    };
    let interrupted = if outcome.interrupted {
        "interrupted; "
    } else {
        ""
    };
    // Ignores errors such as a closed pipe, because they do not change the result.
    let _ = writeln!(
        io::stdout(),
        "sent {account} over {connections}; {interrupted}{end}"
    );
    if outcome.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

async fn replay(args: &ReplayArgs, target: Target) -> Result<Outcome, ReplayError> {
    let stop = CancellationToken::new();
    let pieces = Pieces::start(args.captures.clone(), args.r#loop, args.pace())?;
    let sent = Arc::new(Sent::default());
    let connection = Connection {
        target,
        unidirectional: args.unidirectional,
        rewrites_time: args.rewrites_time(),
        pieces: Arc::new(Mutex::new(pieces.ready)),
        buffers: pieces.buffers,
        sent: Arc::clone(&sent),
        stop: stop.clone(),
    };
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        streams.push(connection.open().await?);
    }
    let mut signals = end_signals()?;
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for stream in streams {
        connections.spawn(connection.clone().run(stream, start));
    }
    // From now on, only the running connections hold the receiver of the pieces. When all connections have failed, the
    // receiver is dropped, and the thread that reads the captures ends.
    drop(connection);
    let mut problems = Vec::new();
    // True if any stream has ended cleanly. A stream ends cleanly only after all captures were read.
    let mut read = false;
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            match ended.unwrap_or(Err(ReplayError::Fault)) {
                Ok(()) => read = true,
                Err(error) => problems.push(error),
            }
        }
    };
    let is_aborted = select! {
        () = ended => false,
        // The first request ends the streams cleanly, and the second one ends the replay.
        () = signals.next_after(&stop) => true,
        () = progress::show(Arc::clone(&sent), start) => false,
    };
    if is_aborted {
        problems.push(ReplayError::Aborted);
    }
    let account = Account::of(&sent, start);
    let interrupted = stop.is_cancelled();
    if read && !interrupted {
        match pieces.problems.await {
            Ok(of_captures) => problems.extend(of_captures),
            Err(_) => problems.push(ReplayError::Fault),
        }
    }
    Ok(Outcome {
        account,
        interrupted,
        problems,
    })
}

/// Installs the handlers of SIGINT and SIGTERM. This must happen before the first frame is sent, and after all connections
/// are open: until then, a signal ends the process.
fn end_signals() -> Result<Signals<()>, ReplayError> {
    let ends = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| (kind, ()));
    Signals::new(ends).map_err(ReplayError::Signals)
}

fn report(error: &ReplayError) {
    eprint(format_args!("tapfan: {error}\n"));
}
