//! Measures how soon a router delivers its first frame, the memory of an idle router, and the resident memory before an
//! outage, at the end of the outage, and afterwards.
//!
//! `cargo bench --bench memory` starts `tapfan run` five times, with three sinks and one sender, which connects as soon
//! as it can and sends one frame. Then, on another router, four senders send 200,000 frames of about 100 bytes one by
//! one while the collector is not running. After that, the collector starts again, and the benchmark samples the
//! process for `FOR` seconds (default 30). The environment variable `TAPFAN` can name another program to measure, and
//! `FRAMES` can set another number of frames.
//!
//! `cargo test --bench memory` is a trial of a second with few frames. It fails unless all frames arrive.

#[path = "../tests/memory/outage.rs"]
mod outage;
#[path = "../tests/memory/start.rs"]
mod start;

use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

fn main() -> ExitCode {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if given("--list") {
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes `--bench`, but `cargo test` passes nothing. So this run is a trial unless `--bench` was
    // passed.
    let is_trial = given("--test") || !given("--bench");
    let number = |name: &str, usual: u64| {
        let given = env::var(name).ok();
        given.and_then(|it| it.parse().ok()).unwrap_or(usual)
    };
    let (seconds, frames) = if is_trial {
        (0, 2000)
    } else {
        (number("FOR", 30), number("FRAMES", 200_000))
    };
    let program = env::var_os("TAPFAN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tapfan").into());
    let most = Duration::from_secs(seconds);
    let starts = if is_trial { 1 } else { 5 };
    if let Err(error) = print_starts(Path::new(&program), starts) {
        eprintln!("memory: start: {error}");
        return ExitCode::FAILURE;
    }
    match outage::measure(&PathBuf::from(program), frames, most, |_| false) {
        Ok(memory) => {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            print!(
                "MiB: before {}, peak {}",
                mib(memory.before),
                mib(memory.peak)
            );
            for (after, bytes) in memory.after {
                if [0, 1, 2, 5, 10, 20, 30, 60].contains(&after.as_secs()) {
                    print!(", {} s after {}", after.as_secs(), mib(bytes));
                }
            }
            println!();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("memory: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the medians of several starts.
fn print_starts(program: &Path, starts: usize) -> io::Result<()> {
    let measured: io::Result<Vec<_>> = (0..starts).map(|_| start::measure(program)).collect();
    let measured = measured?;
    let median = |value: &dyn Fn(&start::Start) -> f64| {
        let mut values: Vec<f64> = measured.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    #[allow(clippy::cast_precision_loss)]
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "first frame delivered {:.0} ms after the start; idle: {:.1} MiB resident, {:.1} MiB of it \
         private",
        median(&|start| start.delivered.as_secs_f64() * 1e3),
        median(&|start| mib(start.resident)),
        median(&|start| mib(start.private)),
    );
    Ok(())
}
