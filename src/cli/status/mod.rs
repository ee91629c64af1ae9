//! `tapfan status`: the verdict on a running router and its sinks, once; or when they are up.

mod table;
mod wait;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::runtime;

use self::table::table;
use super::{
    BAD_CONFIGURATION, FAILED,
    facts::is_up,
    paint::{self, Paint},
    router::{Look, RouterArgs, Whereabouts, fetch},
    tell,
};
use crate::{
    admin::{RouterStatus, SinkStatus, VerdictWord},
    config::quantity,
};

/// What `status` is told.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    router: RouterArgs,
    /// Only this sink; may be given several times
    #[arg(long = "sink", value_name = "NAME")]
    sinks: Vec<String>,
    /// Prints what the router says, in JSON as it comes; with --sink, a list of what it says of those
    #[arg(long)]
    json: bool,
    /// Ends with status 1 if the verdict is one of these, in place of all that are worse than `degraded`; of the sinks that
    /// --sink names, or of the router and all its sinks
    #[arg(long, value_name = "WORD", value_delimiter = ',', value_parser = word())]
    fail_on: Vec<VerdictWord>,
    /// Waits until every sink is up, or every one that --sink names
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Awaited>,
    /// How long to wait at the most, as in 500ms, 10s or 1m30s
    #[arg(long, value_name = "D", default_value = "1m", value_parser = time, requires = "wait")]
    timeout: Duration,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Awaited {
    /// Every sink is up; of several endpoints, at least one.
    Up,
}

/// The sinks that were asked for, of one look.
struct Chosen<'a> {
    sinks: Vec<&'a SinkStatus>,
    /// Names that no sink has.
    unknown: Vec<&'a str>,
}

/// Prints the sinks of a router; status 1 if the verdict on one of them is bad.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let whereabouts = match args.router.whereabouts() {
        Ok(whereabouts) => whereabouts,
        Err(error) => {
            tell(format_args!("tapfan: {error}\n"));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!(
                "tapfan: the runtime cannot be started: {error}\n"
            ));
            return ExitCode::from(FAILED);
        }
    };
    let look = match args.wait {
        Some(Awaited::Up) => runtime.block_on(wait::until_up(&whereabouts, args)),
        None => runtime
            .block_on(fetch(&whereabouts.address))
            .map_err(|error| whereabouts.explain(&error)),
    };
    let stranger = look
        .as_ref()
        .ok()
        .and_then(|look| runtime.block_on(whereabouts.stranger(&look.status)));
    // A look-up of a name that hangs does not hold up the exit.
    runtime.shutdown_background();
    match look {
        Ok(look) => show(args, &whereabouts, &look, stranger.as_deref()),
        Err(problem) => {
            tell(format_args!("tapfan: {}\n", paint::lines(&problem)));
            ExitCode::from(FAILED)
        }
    }
}

/// The words that fail unless `--fail-on` says otherwise: a sink is not up, or loses frames, or soon will; or no sender
/// can connect to a listener.
const FAILING: [VerdictWord; 6] = [
    VerdictWord::Starting,
    VerdictWord::Draining,
    VerdictWord::Behind,
    VerdictWord::Dropping,
    VerdictWord::NotListening,
    VerdictWord::Down,
];

fn word() -> impl TypedValueParser<Value = VerdictWord> {
    let labels = VerdictWord::ALL.map(VerdictWord::label);
    PossibleValuesParser::new(labels).map(|label| {
        let mut words = VerdictWord::ALL.into_iter();
        words
            .find(|word| word.label() == label)
            .unwrap_or(VerdictWord::Down)
    })
}

/// A time as in a Tapfile.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    quantity::time(text, &(Duration::from_millis(1)..=Duration::from_hours(24)))
        .map_err(|error| format!("{error}: write it as in 500ms, 10s or 1m30s"))
}

/// Prints a look at the router, and the warning that it is a `stranger`.
fn show(
    args: &StatusArgs,
    whereabouts: &Whereabouts,
    look: &Look,
    stranger: Option<&str>,
) -> ExitCode {
    let chosen = Chosen::of(args, &look.status);
    if !chosen.unknown.is_empty() {
        tell(format_args!(
            "tapfan: {}\n",
            paint::lines(&chosen.misses(whereabouts, &look.status))
        ));
        return ExitCode::from(BAD_CONFIGURATION);
    }
    if let Some(warning) = stranger {
        tell(format_args!("tapfan: {}\n", paint::one_line(warning)));
    }
    let text = if !args.json {
        Ok(table(&look.status, &chosen.sinks, Paint::of_stdout()).into_bytes())
    } else if args.sinks.is_empty() {
        Ok(look.text.to_vec())
    } else {
        chosen.json(look)
    };
    let written = text.and_then(|mut text| {
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        io::stdout().lock().write_all(&text)
    });
    match written {
        // `tapfan status | head` has seen what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(format_args!("tapfan: cannot write to stdout: {error}\n"));
            ExitCode::from(FAILED)
        }
        _ if chosen.are_well(args, &look.status) => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

// === impl Chosen ===

impl<'a> Chosen<'a> {
    fn of(args: &'a StatusArgs, status: &'a RouterStatus) -> Self {
        let asked = |sink: &&SinkStatus| args.sinks.is_empty() || args.sinks.contains(&sink.name);
        let has = |name: &&String| status.sinks.iter().any(|sink| sink.name == **name);
        Self {
            sinks: status.sinks.iter().filter(asked).collect(),
            unknown: args
                .sinks
                .iter()
                .filter(|name| !has(name))
                .map(String::as_str)
                .collect(),
        }
    }

    /// Whether all are there and up. One that the configuration no longer has need not be.
    fn are_up(&self) -> bool {
        let mut sinks = self.sinks.iter();
        self.unknown.is_empty() && sinks.all(|sink| sink.removed || is_up(sink))
    }

    /// Whether the exit status is 0. What was waited for is enough, unless `--fail-on` asks for more.
    fn are_well(&self, args: &StatusArgs, status: &RouterStatus) -> bool {
        let failing = match args.fail_on.as_slice() {
            [] if args.wait.is_some() => return self.are_up(),
            [] => FAILING.as_slice(),
            words => words,
        };
        let sinks = self.sinks.iter().filter(|sink| !sink.removed);
        let of_sinks = sinks.filter_map(|sink| sink.verdict.as_ref());
        let of_router = status.verdict.iter().filter(|_| args.sinks.is_empty());
        !of_sinks
            .chain(of_router)
            .any(|verdict| failing.contains(&verdict.word))
    }

    /// Which are not there, and which are.
    fn misses(&self, whereabouts: &Whereabouts, status: &RouterStatus) -> String {
        let names: Vec<&str> = status.sinks.iter().map(|sink| sink.name.as_str()).collect();
        format!(
            "the router at {whereabouts} has no sink {}; it has {}",
            self.unknown.join(", "),
            names.join(", ")
        )
    }

    /// What the router said of them.
    fn json(&self, look: &Look) -> io::Result<Vec<u8>> {
        let whole: serde_json::Value = serde_json::from_slice(&look.text)?;
        let said = whole["sinks"].as_array().into_iter().flatten();
        let chosen: Vec<_> = said
            .filter(|said| self.sinks.iter().any(|sink| said["name"] == *sink.name))
            .collect();
        Ok(serde_json::to_vec_pretty(&chosen)?)
    }
}
