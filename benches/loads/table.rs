//! The printed table: a line for each case and program.

use crate::{
    cases::{Case, Load},
    measure::Figures,
    program::Program,
};

/// Medians over the rounds of one case and program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Frames per second.
    pub(crate) rate: f64,
    /// Processor time of the router for a frame, in microseconds.
    pub(crate) micros: f64,
    /// Context switches of the router per frame, or per second if there are no frames.
    switches: f64,
    /// Delays, in milliseconds.
    delay: [f64; 3],
    /// Processor time of the router, in percent of one processor.
    pub(crate) share: f64,
    /// The 99th percentile of the sender's lateness, in milliseconds.
    late: f64,
    /// Processor time of the senders and collectors, in percent of one processor.
    peers: f64,
    /// Processor time of all other programs on the machine, in percent of one processor.
    others: f64,
    /// The largest resident memory of the router, in MiB.
    pub(crate) memory: f64,
    /// The largest number of frames that were lost in one round.
    lost: u64,
}

pub(crate) fn print_head() {
    println!(
        "{:<26}{:<14}{:>8}{:>9}{:>7}{:>10}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}{:>10}",
        "case",
        "program",
        "frames/s",
        "µs/frame",
        "× go",
        "switches",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "core %",
        "peers %",
        "late ms",
        "others %",
    );
}

/// Prints a row for each program that was measured.
pub(crate) fn print(case: &Case, programs: &[Program], rounds: &[Vec<Figures>]) {
    let rows = programs.iter().zip(rounds);
    let rows = rows.filter(|(_, rounds)| !rounds.is_empty());
    let rows: Vec<_> = rows.map(|(program, it)| (program, Row::of(it))).collect();
    let golang = rows.iter().find(|(it, _)| **it == Program::Golang);
    for (program, row) in &rows {
        row.print(case, program.name(), golang.map(|(_, row)| row));
    }
}

/// Prints the ratio of the costs of two cases, for each program that was measured with both.
pub(crate) fn print_ratio(
    case: &Case,
    with: &Case,
    programs: &[Program],
    [rounds, rounds_with]: [&Vec<Vec<Figures>>; 2],
) {
    for (program, rounds) in programs.iter().zip(rounds.iter().zip(rounds_with)) {
        if let (true, true) = (!rounds.0.is_empty(), !rounds.1.is_empty()) {
            let ratio = Row::of(rounds.0).micros / Row::of(rounds.1).micros;
            println!("{case}, {}: {ratio:.2} × {with}", program.name());
        }
    }
}

// === impl Row ===

impl Row {
    /// Computes the medians of `rounds`, which has at least one element.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn of(rounds: &[Figures]) -> Self {
        let median = |value: &dyn Fn(&Figures) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            if values.len().is_multiple_of(2) {
                f64::midpoint(values[middle - 1], values[middle])
            } else {
                values[middle]
            }
        };
        let seconds = |it: &Figures| it.took as f64 / 1e9;
        let millis = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let units = |it: &Figures| match it.frames {
            0 => seconds(it),
            frames => frames as f64,
        };
        Self {
            rate: median(&|it| it.frames as f64 / seconds(it)),
            micros: median(&|it| it.router.processor as f64 / 1e3 / it.frames as f64),
            switches: median(&|it| it.router.switches as f64 / units(it)),
            delay: [
                median(&|it| millis(it.delay.p50)),
                median(&|it| millis(it.delay.p99)),
                median(&|it| millis(it.delay.p999)),
            ],
            share: median(&|it| it.router.processor as f64 / it.took as f64 * 100.0),
            late: median(&|it| millis(it.late.p99)),
            peers: median(&|it| it.peers as f64 / it.took as f64 * 100.0),
            others: median(&|it| it.others * 100.0),
            memory: median(&|it| it.memory as f64 / f64::from(1 << 20)),
            lost: rounds.iter().map(|it| it.lost).max().unwrap_or(0),
        }
    }

    /// Prints the row. `golang` is the row of golang-dnstap under the same load.
    pub(crate) fn print(&self, case: &Case, program: &str, golang: Option<&Self>) {
        let name = case.to_string();
        let Self {
            rate,
            micros,
            switches,
            delay: [p50, p99, p999],
            share,
            late,
            peers,
            others,
            lost,
            memory: _,
        } = self;
        let note = if *lost > 0 {
            format!("  lost {lost}")
        } else {
            String::new()
        };
        print!("{name:<26}{program:<14}");
        if case.load == Load::Idle {
            let switches = format!("{switches:.1}/s");
            println!("{switches:>34}{share:>35.2}{peers:>9.1}{others:>19.0}{note}");
            return;
        }
        let ratio = golang.map_or_else(String::new, |it| format!("{:.2}", micros / it.micros));
        let late = if case.load == Load::Bulk {
            String::new()
        } else {
            format!("{late:.2}")
        };
        println!(
            "{rate:>8.0}{micros:>9.3}{ratio:>7}{switches:>10.4}{p50:>9.3}{p99:>9.3}{p999:>9.3}{share:>8.1}{peers:>9.1}{late:>9}{others:>10.0}{note}"
        );
    }
}
