//! Tables in Markdown for docs/performance.md. They show how the cost of a frame changes with the
//! number of senders, the number of sinks, and the size of frames.

use crate::{
    Result,
    cases::{Case, SCALE, Scale},
    measure::{self, Figures},
    program::Program,
    table::Row,
};

/// The measurements of one case.
struct Measured {
    case: Case,
    rounds: Vec<Figures>,
}

/// Measures all cases and prints the tables. Each round measures all cases, so that a change of the
/// machine's speed affects all of them.
pub(crate) fn measure(program: &Program, rounds: u32, seconds: f64) -> Result<()> {
    let mut series: Vec<(Scale, Vec<Measured>)> = Vec::new();
    for scale in SCALE {
        let cases = scale.cases.iter().map(|case| Measured {
            case: *case,
            rounds: Vec::new(),
        });
        series.push((scale, cases.collect()));
    }
    for _ in 0..rounds {
        for measured in series.iter_mut().flat_map(|(_, cases)| cases) {
            let case = &measured.case;
            let figures = measure::measure(case, program, seconds);
            let figures = figures.map_err(|error| format!("{case}: {error}"))?;
            measured.rounds.push(figures);
        }
    }
    for (scale, cases) in &series {
        print(scale, cases);
    }
    Ok(())
}

fn print(scale: &Scale, cases: &[Measured]) {
    println!("\n{}\n", scale.title);
    println!(
        "| case | frames/s | share of a core | µs per frame | {} | cost / smallest cost | memory |",
        scale.unit.name()
    );
    println!("|---|---|---|---|---|---|---|");
    let rows: Vec<_> = cases
        .iter()
        .map(|Measured { case, rounds }| {
            let row = Row::of(rounds);
            (case, row, scale.unit.of(case, &row))
        })
        .collect();
    let costs = rows.iter().map(|(_, _, cost)| *cost);
    let least = costs.fold(f64::INFINITY, f64::min);
    for (case, row, cost) in &rows {
        println!(
            "| `{case}` | {:.0} | {:.1} % | {:.3} | {cost:.3} | {:.2} | {:.0} MiB |",
            row.rate,
            row.share,
            row.micros,
            cost / least,
            row.memory,
        );
    }
}
