//! Measures routers under loads like those of real DNS servers: many small writes, many senders,
//! pauses.
//!
//! `cargo bench --bench loads` puts each load of `cases.rs` on
//! - the floor, the simplest router: one thread for each sender, which reads frames and writes them
//!   to all collectors (`naive.rs`);
//! - golang-dnstap's `dnstap`, if it is installed, with the loads that it supports;
//! - `tapfan run`.
//!
//! benches/README.md describes the options and the columns of the table.
//!
//! One process plays all senders, and another process plays all collectors. The senders write on a
//! fixed schedule, which the router cannot slow down. Every frame carries the time of its write and
//! a sequence number. A run fails unless each collector gets every frame once and in order, except
//! those that the router counts as dropped.
//!
//! `cargo test --bench loads` is a trial of a few seconds. Its figures mean nothing.

#[path = "../admin/mod.rs"]
mod admin;
mod cases;
mod child;
mod clock;
mod collectors;
mod frames;
#[path = "../handshake/mod.rs"]
mod handshake;
mod histogram;
mod measure;
mod naive;
mod program;
#[path = "../recorded/mod.rs"]
mod recorded;
mod scale;
mod sender;
mod socket;
mod table;
mod tls;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::{Current, LoadAverage};

use cases::Case;
use child::Role;
use measure::Figures;
use program::Program;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Debug, Parser)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[command(about = "Measures routers under loads like those of real DNS servers")]
struct Options {
    /// Measure only this case; may be repeated.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// The length of each measurement.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Repeat each measurement, and print the medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure only this program: `naive`, `golang-dnstap` or `tapfan`; may be repeated.
    #[arg(long, value_name = "PROGRAM")]
    only: Vec<String>,
    /// Measure how the cost changes with the number of senders, the number of sinks, and the size
    /// of frames, and print tables in Markdown.
    #[arg(long)]
    scale: bool,
    /// Print the names of the cases.
    #[arg(long)]
    names: bool,
    // `cargo bench` passes `--bench`, but `cargo test` passes nothing. So a run without `--bench`
    // is a trial.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
    // Test runners such as cargo-nextest pass `--list` to get the names of this program's tests.
    #[arg(long, hide = true)]
    list: bool,
}

fn main() -> ExitCode {
    let outcome = match Role::given() {
        Some(role) => role.play(),
        None => compare(&Options::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<()> {
    if options.list {
        return Ok(());
    }
    let is_trial = options.test || !options.bench;
    let cases = options.cases(is_trial)?;
    if options.names {
        for case in &cases {
            println!("{case}");
        }
        return Ok(());
    }
    histogram::check()?;
    // A run with a thousand senders needs as many descriptors, in this program and in the router.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let programs = options.programs(is_trial)?;
    let seconds = options.seconds.unwrap_or(if is_trial { 0.3 } else { 3.0 });
    if !(0.001..=3600.0).contains(&seconds) {
        return Err("--seconds: allowed are 0.001 to 3600".into());
    }
    if options.scale {
        let tapfan = programs.last().ok_or("--scale: measures only tapfan")?;
        return scale::measure(tapfan, options.rounds, seconds);
    }
    let load = LoadAverage::current()?;
    println!(
        "{seconds} s a measurement, medians of {}; load average of the machine at the start: {}",
        options.rounds, load.one
    );
    options.measure(&cases, &programs, seconds)
}

// === impl Options ===

impl Options {
    fn cases(&self, is_trial: bool) -> Result<Vec<Case>> {
        if self.case.is_empty() {
            return Ok(if is_trial {
                cases::TRIAL.to_vec()
            } else {
                cases::ALL.to_vec()
            });
        }
        let scale = cases::SCALE.into_iter().flat_map(|scale| scale.cases);
        let all = cases::ALL
            .into_iter()
            .chain(cases::TRIAL)
            .chain(scale.copied());
        let find = |name: &String| {
            let found = all.clone().find(|case| case.to_string() == *name);
            found.ok_or_else(|| {
                format!("--case: no case is called {name}; `--names` lists them").into()
            })
        };
        self.case.iter().map(find).collect()
    }

    fn programs(&self, is_trial: bool) -> Result<Vec<Program>> {
        let mut programs = vec![Program::Naive];
        // golang-dnstap writes the last frames five seconds late, which is too long for a trial.
        if !is_trial {
            programs.push(Program::Golang);
        }
        programs.extend(Program::tapfan()?);
        programs.retain(|program| {
            let is_named = |name: &String| program.name().starts_with(name.as_str());
            self.only.is_empty() || self.only.iter().any(is_named)
        });
        if programs.contains(&Program::Golang) && !Program::Golang.is_installed() {
            println!("golang-dnstap is not measured: there is no `dnstap` in PATH or GOBIN");
            programs.retain(|program| *program != Program::Golang);
        }
        if programs.is_empty() {
            return Err(
                "--only: names none of the programs `naive`, `golang-dnstap`, `tapfan`".into(),
            );
        }
        Ok(programs)
    }

    /// Measures each case with one program after another, and prints the table. Each round measures
    /// all cases, so that a change of the machine's speed affects all of them.
    fn measure(&self, cases: &[Case], programs: &[Program], seconds: f64) -> Result<()> {
        let mut rounds = vec![vec![Vec::new(); programs.len()]; cases.len()];
        table::print_head();
        for round in 1..=self.rounds {
            for (case, rounds) in cases.iter().zip(&mut rounds) {
                for (program, figures) in programs.iter().zip(&mut *rounds) {
                    if program.can(case) {
                        figures.extend(figures_of(case, program, seconds)?);
                    }
                }
                if round == self.rounds {
                    table::print(case, programs, rounds);
                }
            }
        }
        for [case, with] in cases::COMPARED {
            let place = |it| cases.iter().position(|case| *case == it);
            if let (Some(case_at), Some(with_at)) = (place(case), place(with)) {
                let rounds = [&rounds[case_at], &rounds[with_at]];
                table::print_ratio(&case, &with, programs, rounds);
            }
        }
        Ok(())
    }
}

/// Measures a case with a program once. `None` if golang-dnstap failed, because its failures do not
/// end this benchmark.
fn figures_of(case: &Case, program: &Program, seconds: f64) -> Result<Option<Figures>> {
    match measure::measure(case, program, seconds) {
        Ok(figures) => Ok(Some(figures)),
        Err(error) if *program == Program::Golang => {
            println!("{case:<26}{}: not measured ({error})", program.name());
            Ok(None)
        }
        Err(error) => Err(format!("{case}, {}: {error}", program.name()).into()),
    }
}
