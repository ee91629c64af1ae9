//! `tapfan status`: prints the verdict on a running router and its sinks. With `--wait`, it first waits until the sinks
//! are up.

mod table;
mod wait;

use std::{io, process::ExitCode, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use self::table::table;
use super::{
    BAD_CONFIGURATION, FAILED, eprint, fail,
    paint::{self, Paint},
    print,
    remote::{self, Answer, RouterArgs, Whereabouts, fetch},
};
use crate::{
    admin::{RouterStatus, SinkStatus, VerdictWord},
    config::quantity,
    health::RouterPhase,
};

/// Arguments of `tapfan status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    router: RouterArgs,
    /// Shows only this sink; can be given several times
    #[arg(long = "sink", value_name = "NAME")]
    sinks: Vec<String>,
    /// Prints the router's JSON unchanged; with --sink, prints a JSON list of the given sinks
    #[arg(long)]
    json: bool,
    /// The verdicts that lead to exit status 1; by default all verdicts worse than `degraded`. With --sink, only the
    /// verdicts on the given sinks count; without it, the verdicts on the router and on all its sinks
    #[arg(long, value_name = "WORD", value_delimiter = ',', value_parser = word())]
    fail_on: Vec<VerdictWord>,
    /// Waits until every sink is up and senders can connect to every listener; with --sink, until the given sinks are up
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Awaited>,
    /// The longest time to wait, as in 500ms, 10s or 1m30s
    #[arg(long, value_name = "D", default_value = "1m", value_parser = time, requires = "wait")]
    timeout: Duration,
}

/// The states that `--wait` can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Awaited {
    /// Every listener accepts senders, and every sink has at least one endpoint that is up
    Up,
}

/// The sinks that the user selected, taken from one answer of the router.
struct Chosen<'a> {
    sinks: Vec<&'a SinkStatus>,
    /// The listeners to which no sender can connect. Empty if the user selected sinks.
    closed: Vec<String>,
    /// Names given with --sink that no sink has.
    unknown: Vec<&'a str>,
}

/// Prints the sinks of a router. The exit status is 1 if any verdict is one of the failing verdicts.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    remote::run(&args.router, async |whereabouts| {
        let answer = match args.wait {
            Some(Awaited::Up) => wait::until_up(&whereabouts, args).await,
            None => fetch(&whereabouts.address)
                .await
                .map_err(|error| whereabouts.explain(&error)),
        };
        match answer {
            Ok(answer) => {
                let mismatch = whereabouts.mismatch(&answer.status).await;
                show(args, &whereabouts, &answer, mismatch.as_deref())
            }
            Err(problem) => fail(FAILED, format_args!("{}", paint::lines(&problem))),
        }
    })
}

/// The verdicts that lead to exit status 1 by default. They mean that a sink is not up, that it loses frames or is
/// about to lose some, or that senders cannot connect to a listener.
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
    PossibleValuesParser::new(labels)
        .map(|label| VerdictWord::of_label(&label).unwrap_or(VerdictWord::Down))
}

/// Parses a time with the syntax of a Tapfile.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    quantity::time(text, &(Duration::from_millis(1)..=Duration::from_hours(24)))
        .map_err(|error| format!("{error}: write it as in 500ms, 10s or 1m30s"))
}

/// Prints an answer of the router. If the router runs with a different Tapfile, also prints the warning `mismatch`.
fn show(
    args: &StatusArgs,
    whereabouts: &Whereabouts,
    answer: &Answer,
    mismatch: Option<&str>,
) -> ExitCode {
    let chosen = Chosen::of(args, &answer.status);
    if !chosen.unknown.is_empty() {
        let misses = paint::lines(&chosen.misses(whereabouts, &answer.status));
        return fail(BAD_CONFIGURATION, format_args!("{misses}"));
    }
    if let Some(warning) = mismatch {
        eprint(format_args!("tapfan: {}\n", paint::one_line(warning)));
    }
    let text = if !args.json {
        Ok(table(&answer.status, &chosen.sinks, Paint::of_stdout()).into_bytes())
    } else if args.sinks.is_empty() {
        Ok(answer.text.to_vec())
    } else {
        chosen.json(answer)
    };
    let written = text.and_then(|mut text| {
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        print(&text)
    });
    match written {
        Err(error) => fail(FAILED, format_args!("cannot write to stdout: {error}")),
        _ if chosen.are_well(args, &answer.status) => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

/// Returns the reasons why senders cannot connect to some listeners, as one sentence each.
fn closed(status: &RouterStatus) -> Vec<String> {
    if status.phase == RouterPhase::Starting {
        return vec!["not every listener is bound yet".to_owned()];
    }
    let listeners = status.listeners.iter().filter(|one| !one.removed);
    let closed = listeners.filter_map(|one| {
        let lost = one.not_listening.as_ref()?;
        Some(format!(
            "no sender can connect to {}: {}",
            one.name, lost.error
        ))
    });
    closed.collect()
}

// === impl Chosen ===

impl<'a> Chosen<'a> {
    fn of(args: &'a StatusArgs, status: &'a RouterStatus) -> Self {
        let asked = |sink: &&SinkStatus| args.sinks.is_empty() || args.sinks.contains(&sink.name);
        let closed = if args.sinks.is_empty() {
            closed(status)
        } else {
            Vec::new()
        };
        let has = |name: &&String| status.sinks.iter().any(|sink| sink.name == **name);
        Self {
            sinks: status.sinks.iter().filter(asked).collect(),
            closed,
            unknown: args
                .sinks
                .iter()
                .filter(|name| !has(name))
                .map(String::as_str)
                .collect(),
        }
    }

    /// Returns whether all selected sinks exist and are up, and all listeners accept senders. Sinks that were removed from the configuration do not
    /// count.
    fn are_up(&self) -> bool {
        let mut sinks = self.sinks.iter();
        self.unknown.is_empty()
            && self.closed.is_empty()
            && sinks.all(|sink| sink.removed || sink.is_up())
    }

    /// Returns whether the exit status is 0. With `--wait` and without `--fail-on`, the exit status is 0 if the sinks
    /// have reached the state that `--wait` names.
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

    /// Returns an error that lists the sinks that were selected but do not exist, and the sinks that exist.
    fn misses(&self, whereabouts: &Whereabouts, status: &RouterStatus) -> String {
        let names: Vec<&str> = status.sinks.iter().map(|sink| sink.name.as_str()).collect();
        format!(
            "the router at {whereabouts} has no sink {}; it has {}",
            self.unknown.join(", "),
            names.join(", ")
        )
    }

    /// Returns the JSON of the selected sinks, unchanged.
    fn json(&self, answer: &Answer) -> io::Result<Vec<u8>> {
        let whole: serde_json::Value = serde_json::from_slice(&answer.text)?;
        let said = whole["sinks"].as_array().into_iter().flatten();
        let chosen: Vec<_> = said
            .filter(|said| self.sinks.iter().any(|sink| said["name"] == *sink.name))
            .collect();
        Ok(serde_json::to_vec_pretty(&chosen)?)
    }
}
