//! Measures how fast a sink sends the backlog in its spool after a restart of the router, and how this affects another
//! sink.
//!
//! `cargo bench --bench backlog` fills the spool of the sink `behind` with `BACKLOG` MiB (default 2048), kills the
//! router, and starts it again with a collector for `behind`. From then on, a sender writes 20,000 frames a second, 20
//! at a time, until five seconds after the backlog was sent. The benchmark measures the delays of these frames at the
//! sink `steady`, which has no spool. The spool is in the folder for temporary files (`TMPDIR`). The environment
//! variable `TAPFAN` can name another program to measure.
//!
//! `cargo test --bench backlog` is a trial with a small backlog. It fails unless every frame arrives once and in order.

mod admin;
mod handshake;
mod router;

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::router::{Result, Router, connect};

/// The length of a frame with its length prefix, in bytes.
const FRAME: usize = 152;

/// The number of frames in one write while the backlog grows. The queue has room for one write, so a slow disk loses no
/// frame.
const BURST: u64 = 20_000;

/// The number of frames in one write of the steady load, and the time between two writes.
const WRITE: u64 = 20;
const TICK: Duration = Duration::from_millis(1);

/// A collector that checks the numbers in the frames and measures their delays.
#[derive(Clone)]
struct Collector {
    /// The number that the next frame must have.
    next: Arc<AtomicU64>,
    /// The time at which the first frame arrived.
    first: Arc<Mutex<Option<Instant>>>,
    delays: Arc<Mutex<Vec<Duration>>>,
}

/// The times of the writes of the steady load, and the number of its first frame.
#[derive(Default)]
struct Sent {
    first: u64,
    times: Vec<Instant>,
}

fn main() -> ExitCode {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if given("--list") {
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes `--bench`, but `cargo test` passes nothing.
    let is_trial = given("--test") || !given("--bench");
    let backlog = env::var("BACKLOG").ok().and_then(|it| it.parse().ok());
    let backlog = backlog.unwrap_or(if is_trial { 16 } else { 2048 });
    let after = Duration::from_secs(if is_trial { 1 } else { 5 });
    match run(backlog << 20, after) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlog: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(backlog: u64, after: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sent = Arc::<Mutex<Sent>>::default();
    let steady = Collector::start(&folder.path().join("steady"), &sent)?;
    let router = start(folder.path())?;
    let frames = fill(folder.path(), &router, backlog)?;
    steady.await_frame(frames - 1, Duration::from_secs(60))?;
    drop(router);

    *sent.lock().expect("no panic") = Sent {
        first: frames,
        times: Vec::new(),
    };
    let behind = Collector::start(&folder.path().join("behind"), &Arc::default())?;
    steady.delays.lock().expect("no panic").clear();
    let started = Instant::now();
    let router = start(folder.path())?;
    let stop = Arc::<AtomicBool>::default();
    let load = {
        let (folder, sent, stop) = (
            folder.path().to_owned(),
            Arc::clone(&sent),
            Arc::clone(&stop),
        );
        thread::spawn(move || send(&folder, &sent, &stop))
    };
    behind.await_frame(frames - 1, Duration::from_secs(600))?;
    let done = Instant::now();
    let first = behind.first.lock().expect("no panic").unwrap_or(done);
    let meanwhile = std::mem::take(&mut *steady.delays.lock().expect("no panic"));
    thread::sleep(after);
    stop.store(true, Relaxed);
    let total = load.join().map_err(|_| "the sender has panicked")??;
    for collector in [&steady, &behind] {
        collector.await_frame(total - 1, Duration::from_secs(60))?;
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = frames as f64 / done.duration_since(first).as_secs_f64();
    println!(
        "backlog of {frames} frames, {} MiB: first frame {} ms after the start, then {rate:.0} frames/s; router: at most {} \
         MiB resident",
        backlog >> 20,
        first.duration_since(started).as_millis(),
        largest_memory(router.id())? >> 10,
    );
    let then = std::mem::take(&mut *steady.delays.lock().expect("no panic"));
    print_delays("until the backlog is sent", meanwhile);
    print_delays("afterwards", then);
    Ok(())
}

/// Prints the delays of the sink `steady`.
fn print_delays(when: &str, mut delays: Vec<Duration>) {
    delays.sort_unstable();
    let of = |per_mille: usize| {
        let at = (delays.len() * per_mille / 1000).min(delays.len().saturating_sub(1));
        delays
            .get(at)
            .map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3)
    };
    println!(
        "delay of the other sink {when}, ms: p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} ({} frames)",
        of(500),
        of(990),
        of(999),
        of(1000),
        delays.len(),
    );
}

/// Sends frames until the spool of `behind` has this many bytes of frames. Returns the number of frames.
fn fill(folder: &Path, router: &Router, backlog: u64) -> Result<u64> {
    let mut stream = connect(folder)?;
    let mut sent = 0;
    while sent * (FRAME as u64) < backlog {
        stream.write_all(&frames(sent, BURST))?;
        sent += BURST;
        let deadline = Instant::now() + Duration::from_secs(60);
        while spooled(router)? < sent {
            if Instant::now() > deadline {
                return Err("the frames do not reach the spool".into());
            }
            thread::sleep(TICK);
        }
    }
    Ok(sent)
}

/// Sends the steady load. Returns the number of all frames so far.
fn send(folder: &Path, sent: &Mutex<Sent>, stop: &AtomicBool) -> Result<u64> {
    let mut stream = connect(folder)?;
    let mut next = sent.lock().expect("no panic").first;
    let mut at = Instant::now();
    while !stop.load(Relaxed) {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        at += TICK;
        sent.lock().expect("no panic").times.push(Instant::now());
        stream.write_all(&frames(next, WRITE))?;
        next += WRITE;
    }
    Ok(next)
}

/// Creates `count` frames, with numbers from `first` on.
fn frames(first: u64, count: u64) -> Vec<u8> {
    (first..first + count).flat_map(frame).collect()
}

/// Creates a frame: an `extra` that begins with the number, and a message of type `AUTH_QUERY`.
fn frame(number: u64) -> [u8; FRAME] {
    let mut frame = [0xff; FRAME];
    frame[..4].copy_from_slice(&148_u32.to_be_bytes());
    // Field 3, of 139 bytes.
    frame[4..7].copy_from_slice(b"\x1a\x8b\x01");
    frame[7..15].copy_from_slice(&number.to_be_bytes());
    frame[FRAME - 6..].copy_from_slice(b"\x72\x02\x08\x01\x78\x01");
    frame
}

/// Starts a router with a sink that has a spool, and one that has none.
fn start(folder: &Path) -> Result<Router> {
    let sinks = "dnstap unix://steady full 1 64\ndnstap unix://behind full 1 64 {\n name behind\n spool spool 16GiB\n}\n";
    Router::start(folder, sinks)
}

/// Returns the number of frames in the spool.
fn spooled(router: &Router) -> Result<u64> {
    let sinks = router.sinks()?;
    let frames = sinks.get(1).map(|sink| &sink["spool"]["frames"]);
    Ok(frames.and_then(serde_json::Value::as_u64).unwrap_or(0))
}

/// Returns the largest resident memory of a process so far, in KiB.
fn largest_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the kernel does not report memory")?.parse()?)
}

// === impl Collector ===

impl Collector {
    fn start(socket: &Path, sent: &Arc<Mutex<Sent>>) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let this = Self {
            next: Arc::default(),
            first: Arc::default(),
            delays: Arc::default(),
        };
        let (collector, sent) = (this.clone(), Arc::clone(sent));
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A stream ends with the router.
                let _ = stream
                    .map_err(Into::into)
                    .and_then(|it| collector.read(it, &sent));
            }
        });
        Ok(this)
    }

    fn read(&self, mut stream: UnixStream, sent: &Mutex<Sent>) -> Result<()> {
        handshake::accept(&mut stream)?;
        let (mut buffer, mut filled) = (vec![0; 1 << 20], 0);
        loop {
            let read = stream.read(&mut buffer[filled..])?;
            if read == 0 {
                return Ok(());
            }
            let now = Instant::now();
            filled += read;
            let whole = filled - filled % FRAME;
            for frame in buffer[..whole].chunks_exact(FRAME) {
                let number = u64::from_be_bytes(frame[7..15].try_into()?);
                let expected = self.next.swap(number + 1, Relaxed);
                assert_eq!(number, expected, "in order, and none twice");
            }
            self.first.lock().expect("no panic").get_or_insert(now);
            self.note_delays(whole / FRAME, now, sent);
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }

    fn note_delays(&self, frames: usize, now: Instant, sent: &Mutex<Sent>) {
        let sent = sent.lock().expect("no panic");
        let end = self.next.load(Relaxed);
        let delays = (end - frames as u64..end).filter_map(|number| {
            let write = number.checked_sub(sent.first)? / WRITE;
            let time = sent.times.get(usize::try_from(write).ok()?)?;
            Some(now.saturating_duration_since(*time))
        });
        self.delays.lock().expect("no panic").extend(delays);
    }

    fn await_frame(&self, number: u64, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while self.next.load(Relaxed) <= number {
            if Instant::now() > deadline {
                let next = self.next.load(Relaxed);
                return Err(format!("frame {next} does not arrive").into());
            }
            thread::sleep(TICK);
        }
        Ok(())
    }
}
