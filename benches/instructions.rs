//! Counts the processor instructions of the work that is done for every frame, and compares them
//! with the figures in `benches/instructions.txt`. It fails if a figure differs by more than 5 %.
//!
//! Unlike times, these counts are the same on a busy machine. So a change that makes frames more
//! expensive is noticed immediately. If the higher cost is justified, or if frames become cheaper,
//! write the new figures with `cargo bench --bench instructions -- --update` and commit them.
//!
//! Each case runs under valgrind, once with few rounds and once with many. The difference between
//! the two counts does not include the start of the process. `cargo test --bench instructions` runs
//! the cases without valgrind and compares nothing.

mod recorded;

use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use bytes::BytesMut;
use tapfan::internals::{
    Cutter, ExtraField, FieldValues, Outline, OwnFields, Rewrite, Tapped, Template, Value, outline,
};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A kind of work that is done on the recorded frames a number of times.
struct Case {
    name: &'static str,
    run: fn(frames: &[Vec<u8>], rounds: usize),
}

const CASES: [Case; 5] = [
    Case {
        name: "cut_bulk",
        run: cut_bulk,
    },
    Case {
        name: "cut_single",
        run: cut_single,
    },
    Case {
        name: "strip",
        run: strip,
    },
    Case {
        name: "identity_and_extra",
        run: identity_and_extra,
    },
    Case {
        name: "template",
        run: template,
    },
];

/// The numbers of rounds in the two runs of a case.
const ROUNDS: [usize; 2] = [1, 3];

/// The environment variable that passes the name of the case and the number of rounds to a process
/// under valgrind.
const CASE: &str = "TAPFAN_BENCH_CASE";

/// The allowed difference from the stored figure, in percent.
const ALLOWED: f64 = 5.0;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let frames = recorded::frames()?;
    if let Ok(given) = env::var(CASE) {
        let (name, rounds) = given.split_once(' ').ok_or("a case and its rounds")?;
        let case = CASES.iter().find(|case| case.name == name);
        (case.ok_or("no such case")?.run)(&frames, rounds.parse()?);
        return Ok(true);
    }
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if !given("--bench") {
        for case in &CASES {
            (case.run)(&frames, 1);
        }
        return Ok(true);
    }
    let mut measured = Vec::new();
    for case in &CASES {
        let [few, many] = ROUNDS.map(|rounds| instructions(case.name, rounds));
        let rounds = (ROUNDS[1] - ROUNDS[0]) * frames.len();
        // The counts are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        measured.push((case.name, (many? - few?) as f64 / rounds as f64));
    }
    if given("--update") {
        let lines = measured
            .iter()
            .map(|(name, count)| format!("{name} {count:.1}\n"));
        fs::write(file(), lines.collect::<String>())?;
    }
    compare(&measured)
}

/// Prints a row for each case, and returns whether all figures are as expected.
fn compare(measured: &[(&str, f64)]) -> Result<bool> {
    let text = fs::read_to_string(file())?;
    let mut expected = text.lines().filter_map(|line| line.split_once(' '));
    println!("instructions a frame     expected  measured  difference");
    let mut is_good = true;
    for (name, count) in measured {
        let figure = expected.clone().find(|(known, _)| known == name);
        let figure: f64 = figure.ok_or(format!("no figure for {name}"))?.1.parse()?;
        let difference = (count / figure - 1.0) * 100.0;
        let is_within = difference.abs() <= ALLOWED;
        is_good &= is_within;
        let verdict = if is_within { "" } else { "  differs" };
        println!("{name:23}{figure:10.1}{count:10.1}{difference:+10.1} %{verdict}");
    }
    if expected.any(|(known, _)| measured.iter().all(|(name, _)| *name != known)) {
        return Err("a figure in the file belongs to no case".into());
    }
    if !is_good {
        println!("If that is intended: cargo bench --bench instructions -- --update");
    }
    Ok(is_good)
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// Runs this program under valgrind and returns the number of instructions that it counted.
fn instructions(case: &str, rounds: usize) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg("--cachegrind-out-file=/dev/null")
        .arg(env::current_exe()?)
        .env(CASE, format!("{case} {rounds}"))
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}; is it installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said
        .lines()
        .find(|line| line.contains(" I "))
        .and_then(|line| line.split_once("refs:"))
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("valgrind failed: {said}"))?;
    Ok(line.1.trim().replace(',', "").parse()?)
}

/// Cuts and validates frames that arrive in bulk.
fn cut_bulk(frames: &[Vec<u8>], rounds: usize) {
    let stream: Vec<u8> = frames.iter().flat_map(|frame| wire(frame)).collect();
    cut(&[stream], frames.len(), rounds);
}

/// Cuts and validates frames that arrive one by one.
fn cut_single(frames: &[Vec<u8>], rounds: usize) {
    let writes: Vec<_> = frames.iter().map(|frame| wire(frame)).collect();
    cut(&writes, frames.len(), rounds);
}

fn wire(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a short frame");
    [&length.to_be_bytes(), frame].concat()
}

/// Cuts the bytes of each write into frames, and validates the frames. Each read takes as many
/// bytes as fit into the buffer.
fn cut(writes: &[Vec<u8>], frames: usize, rounds: usize) {
    let now = Instant::now();
    for _ in 0..rounds {
        let mut cutter = Cutter::new(1 << 20);
        let mut taken = 0;
        for write in writes {
            let mut rest = write.as_slice();
            while !rest.is_empty() {
                let buffer = cutter.buffer();
                let room = buffer.capacity() - buffer.len();
                let (read, later) = rest.split_at(room.min(rest.len()));
                buffer.extend_from_slice(read);
                rest = later;
                let cut = black_box(cutter.cut(now));
                taken += cut.chunk.map_or(0, |chunk| chunk.len());
            }
        }
        assert_eq!(taken, frames, "every frame is valid");
    }
}

fn strip(frames: &[Vec<u8>], rounds: usize) {
    apply(
        frames,
        rounds,
        &Rewrite::new(false, &FieldValues::default()),
    );
}

fn identity_and_extra(frames: &[Vec<u8>], rounds: usize) {
    let values = FieldValues {
        identity: Some("edge-1".into()),
        extra: Some("rack 7".into()),
        ..FieldValues::default()
    };
    apply(frames, rounds, &Rewrite::new(true, &values));
}

fn apply(frames: &[Vec<u8>], rounds: usize, rewrite: &Rewrite) {
    let mut out = BytesMut::new();
    let outlines = outlines(frames);
    let with_outlines = frames.iter().zip(&outlines).cycle();
    for (frame, outline) in with_outlines.take(rounds * frames.len()) {
        out.clear();
        rewrite
            .edit(black_box(frame), *outline, OwnFields::default(), &mut out)
            .expect("dnstap");
    }
}

/// Returns the outline of each frame, which a listener finds when it validates the frame.
fn outlines(frames: &[Vec<u8>]) -> Vec<Outline> {
    let outlines = frames.iter().map(|frame| outline(frame));
    outlines.collect::<Result<_, _>>().expect("dnstap")
}

fn template(frames: &[Vec<u8>], rounds: usize) {
    let rewrite = Rewrite::new(true, &FieldValues::default());
    let template = Template::new("{remote}:{port} {name} {type} {rcode}");
    let (mut value, mut field) = (Value::default(), ExtraField::default());
    let mut out = BytesMut::new();
    for frame in frames.iter().cycle().take(rounds * frames.len()) {
        out.clear();
        let tapped = Tapped {
            frame: black_box(frame),
            ..Tapped::default()
        };
        template.evaluate(&tapped, &mut value);
        field.set(value.bytes());
        rewrite
            .apply_with_extra(frame, &field, &mut out)
            .expect("dnstap");
    }
}
