//! Measures how fast a sink writes records to Kafka, and the processor time per record, compared with Kafka's own
//! producer benchmark.
//!
//! `cargo bench --bench kafka` starts one broker. With each compression, tapfan and `ProducerPerformance` write a
//! million records in turn, each to a topic of its own with three partitions. Both use `acks=all` and idempotence, and
//! wait 5 ms to fill a batch. Without compression, tapfan also writes records with the key of `record_key client`, each
//! client with a thousandth of the records. The environment variables `RECORDS` and `ROUNDS` change the number of records and of
//! measurements. The environment variable `TAPFAN` can name another program to measure.
//!
//! `cargo test --bench kafka` is a trial with few records. It fails unless every record is stored. Without Kafka, which
//! `tests/interop/install.sh` installs, nothing is measured.

#[path = "../admin/mod.rs"]
mod admin;
mod broker;
#[allow(dead_code, reason = "other benchmarks play collectors")]
#[path = "../handshake/mod.rs"]
mod handshake;
#[path = "../router/mod.rs"]
mod router;

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::resource::{UsageWho, getrusage},
    time::ClockId,
    unistd::Pid,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    broker::{Broker, java},
    router::{Result, Router, connect},
};

const COMPRESSIONS: [&str; 3] = ["none", "lz4", "zstd"];
/// The length of a record's value, in bytes.
const RECORD: usize = 148;
/// The number of different records. `ProducerPerformance` chooses among them at random.
const KINDS: usize = 1000;
/// The largest number of unconfirmed frames. The queue has room for them.
const WINDOW: u64 = 200_000;
/// The number of frames in one write.
const WRITE: u64 = 1500;

/// Records per second, and processor time per record in microseconds.
#[derive(Debug, Clone, Copy)]
struct Figures {
    rate: f64,
    cost: f64,
}

/// A router with one sink.
struct Sink(Router);

fn main() -> ExitCode {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if given("--list") {
        return ExitCode::SUCCESS;
    }
    if !Broker::is_installed() {
        println!("kafka: nothing was measured, because tests/interop/install.sh did not run");
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes `--bench`, but `cargo test` passes nothing.
    let is_trial = given("--test") || !given("--bench");
    let number = |name, default| {
        let value = env::var(name).ok().and_then(|it| it.parse().ok());
        value.unwrap_or(default)
    };
    let records = number("RECORDS", if is_trial { 20_000 } else { 1_000_000 });
    let rounds = number("ROUNDS", if is_trial { 1 } else { 3 });
    match run(records, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafka: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(records: u64, rounds: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let values = values();
    let payload = folder.path().join("payload");
    fs::write(&payload, values.join("\n"))?;
    let topic =
        |program: &str, compression: &str, round| format!("{program}-{compression}-{round}");
    let all: Vec<_> = (0..rounds)
        .flat_map(|round| COMPRESSIONS.map(|compression| (compression, round)))
        .flat_map(|(compression, round)| {
            ["tapfan", "keyed", "reference"].map(|program| topic(program, compression, round))
        })
        .collect();
    let broker = Broker::start(folder.path(), &all)?;
    println!("{records} records of {RECORD} bytes, medians of {rounds} measurements");
    println!("| compression | program | records/s | × ProducerPerformance | µs/record |");
    println!("|---|---|---|---|---|");
    for compression in COMPRESSIONS {
        let of_tapfan = |name: &str, key: &str, round| {
            let topic = topic(name, compression, round);
            let target = format!("kafka://{}/{topic}", broker.address);
            let options = format!("compression {compression}\n record_key {key}");
            of_tapfan(folder.path(), &target, &options, &values, records)
        };
        let (mut tapfan, mut keyed, mut reference) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            tapfan.push(of_tapfan("tapfan", "none", round)?);
            if compression == "none" {
                keyed.push(of_tapfan("keyed", "client", round)?);
            }
            let target = topic("reference", compression, round);
            reference.push(of_reference(
                &broker,
                &target,
                compression,
                &payload,
                records,
            )?);
        }
        let (tapfan, reference) = (median(&tapfan), median(&reference));
        let keyed = (!keyed.is_empty()).then(|| ("tapfan, `record_key client`", median(&keyed)));
        let rows = [("tapfan", tapfan)].into_iter().chain(keyed);
        for (name, it) in rows.chain([("ProducerPerformance", reference)]) {
            let Figures { rate, cost } = it;
            let ratio = rate / reference.rate;
            println!("| {compression} | {name} | {rate:.0} | {ratio:.2} | {cost:.2} |");
        }
    }
    Ok(())
}

/// Returns the values of the records. They are the same in each run.
fn values() -> Vec<String> {
    let mut random = StdRng::seed_from_u64(1);
    let mut value = || -> String {
        let letters = (0..RECORD).map(|_| char::from(random.random_range(b'A'..=b'Z')));
        letters.collect()
    };
    (0..KINDS).map(|_| value()).collect()
}

/// Returns the medians of both figures.
fn median(figures: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut sorted: Vec<_> = figures.iter().map(figure).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    Figures {
        rate: of(|it| it.rate),
        cost: of(|it| it.cost),
    }
}

#[allow(clippy::cast_precision_loss)]
fn figures(records: u64, took: Duration, processor: Duration) -> Figures {
    Figures {
        rate: records as f64 / took.as_secs_f64(),
        cost: processor.as_secs_f64() * 1e6 / records as f64,
    }
}

/// Measures `ProducerPerformance`. The processor time includes the start of the program.
fn of_reference(
    broker: &Broker,
    topic: &str,
    compression: &str,
    payload: &Path,
    records: u64,
) -> Result<Figures> {
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let output = java("org.apache.kafka.tools.ProducerPerformance")
        .args(["--topic", topic, "--throughput", "-1", "--num-records"])
        .arg(records.to_string())
        .arg("--payload-file")
        .arg(payload)
        .arg("--bootstrap-server")
        .arg(broker.address.to_string())
        .arg("--command-property")
        .args(["acks=all", "linger.ms=5", "batch.size=262144"])
        .arg(format!("compression.type={compression}"))
        .output()?;
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The last line is `N records sent, RATE records/sec (…), …`.
    let rate = text.lines().last().and_then(|line| {
        let (_, rest) = line.split_once(" records sent, ")?;
        rest.split_once(' ')?.0.parse().ok()
    });
    let rate = rate.ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("ProducerPerformance printed {text}{complaint}")
    })?;
    let time = |it: nix::sys::resource::Usage| {
        let (user, system) = (it.user_time(), it.system_time());
        let microseconds =
            (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
        Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
    };
    let processor = time(after).saturating_sub(time(before));
    let cost = figures(records, Duration::from_secs(1), processor).cost;
    Ok(Figures { rate, cost })
}

/// Measures tapfan, from the first frame until the broker has stored all records.
fn of_tapfan(
    folder: &Path,
    target: &str,
    options: &str,
    values: &[String],
    records: u64,
) -> Result<Figures> {
    let sink = Sink::start(folder, target, options)?;
    let mut stream = connect(folder)?;
    let writes: Vec<_> = writes(values);
    sink.wait(|sink| sink["state"] == "up")?;
    let (began, before) = (Instant::now(), sink.processor()?);
    let mut sent = 0;
    for write in writes.iter().cycle() {
        let count = WRITE.min(records - sent);
        let bytes = usize::try_from(count)? * write.len() / usize::try_from(WRITE)?;
        stream.write_all(&write[..bytes])?;
        sent += count;
        if sent == records {
            break;
        }
        // `/status` is read rarely, so that it costs little.
        if sent % WINDOW < WRITE {
            sink.wait_for(sent.saturating_sub(WINDOW))?;
        }
    }
    sink.wait_for(records)?;
    Ok(figures(
        records,
        began.elapsed(),
        sink.processor()?.saturating_sub(before),
    ))
}

/// Returns buffers with [`WRITE`] frames each. Each text is in one of the frames.
fn writes(values: &[String]) -> Vec<Vec<u8>> {
    let frames: Vec<_> = (0..)
        .zip(values)
        .map(|(client, value)| frame(client, value))
        .collect();
    let all: Vec<_> = frames.iter().cycle().take(6 * KINDS).collect();
    let chunks = all.chunks_exact(usize::try_from(WRITE).expect("a small number"));
    chunks
        .map(|chunk| {
            chunk
                .iter()
                .flat_map(|frame| frame.iter().copied())
                .collect()
        })
        .collect()
}

/// Creates a frame of [`RECORD`] bytes: an `extra` with the first 133 letters of the text, and a message of type
/// `AUTH_QUERY` with the address of a client.
fn frame(client: u32, text: &str) -> Vec<u8> {
    let mut frame = u32::try_from(RECORD)
        .expect("a small number")
        .to_be_bytes()
        .to_vec();
    // Field 3, of 133 bytes.
    frame.extend(b"\x1a\x85\x01");
    frame.extend(&text.as_bytes()[..133]);
    frame.extend(b"\x72\x08\x08\x01\x22\x04");
    frame.extend(client.to_be_bytes());
    frame.extend(b"\x78\x01");
    frame
}

// === impl Sink ===

impl Sink {
    fn start(folder: &Path, target: &str, options: &str) -> Result<Self> {
        let sink = format!("dnstap {target} full 1 64 {{\n {options}\n linger 5ms\n}}\n");
        Router::start(folder, &sink).map(Self)
    }

    /// Returns the processor time that the process has used.
    fn processor(&self) -> Result<Duration> {
        let process = Pid::from_raw(i32::try_from(self.0.id())?);
        let time = ClockId::pid_cpu_clock_id(process)?.now()?;
        Ok(time.into())
    }

    /// Waits until the broker has stored this number of records.
    fn wait_for(&self, records: u64) -> Result<()> {
        self.wait(|sink| sink["ledger"]["delivered"].as_u64() >= Some(records))
    }

    /// Waits until the sink satisfies a condition. Fails if it has dropped a frame.
    fn wait(&self, condition: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let sinks = self.0.sinks()?;
            if sinks.first().is_some_and(&condition) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the records are not stored: {sinks:?}").into());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
