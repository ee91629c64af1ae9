//! Measures the processor time per frame of a whole router process with one unix sender and two
//! unix collectors. No frame is dropped.
//!
//! `cargo bench --bench fan_out` sends the recorded traffic of `tests/data` repeatedly, in bulk,
//! through each of these programs:
//! - the floor: a process that reads 256 KiB at a time and writes these bytes to both collectors,
//!   without any framing;
//! - `tapfan run`, with two `full` sinks, and with two sinks that edit each frame;
//! - golang-dnstap's `dnstap`, if it is installed.
//!
//! For each program it prints the user and system time per frame. The operating system reports
//! these times when the process has ended. For tapfan it also prints the cost of monitoring: the
//! admin thread's share of the processor time at full load, with one scrape a second and one page
//! open. The sender stays at most [`WINDOW`] frames ahead of the slower collector, so that no
//! program has to drop frames. Compare only ratios within one run. Figures of different runs cannot
//! be compared.
//!
//! `cargo test --bench fan_out` is a trial of a few seconds: it runs the same programs and scrapes
//! with a few thousand frames each. It fails unless every frame arrives once and the admin endpoint
//! answers. Ignore the figures of a trial.

mod admin;
mod handshake;
mod recorded;

use std::{
    env, fs, io,
    io::{BufRead, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tapfan::internals::Control;

use handshake::{accept, open};

/// The number of frames that the sender may be ahead of the slower collector. This number of frames
/// plus one write is less than the 10,000 frames that a queue holds.
const WINDOW: u64 = 5_000;
const WRITE: usize = 256 << 10;
const FLOOR: &str = "TAPFAN_BENCH_FLOOR";
/// The deadline of every step except sending the traffic.
const PATIENCE: Duration = Duration::from_secs(20);

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The recorded frames as the bytes of a stream, and their number.
struct Traffic {
    wire: Vec<u8>,
    frames: u64,
}

/// The cost of one program.
struct Cost {
    processor: Duration,
    frames: u64,
}

/// A collector that reads everything and counts the frames.
struct Collector {
    read: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

fn main() -> ExitCode {
    if let Some(folder) = env::var_os(FLOOR) {
        return report(floor(Path::new(&folder)));
    }
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if given("--list") {
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes `--bench`, but `cargo test` passes nothing. So this run is a trial
    // unless `--bench` was passed.
    let is_trial = given("--test") || !given("--bench");
    report(compare(is_trial))
}

fn report(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fan_out: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(is_trial: bool) -> Result<()> {
    let traffic = Traffic::recorded()?;
    let rounds = match env::var("ROUNDS") {
        _ if is_trial => 2,
        Ok(rounds) => rounds.parse()?,
        Err(_) => 400,
    };
    println!(
        "{} frames, {} bytes in the mean, {rounds} times over; processor time of the router's process:",
        traffic.frames,
        traffic.wire.len() as u64 / traffic.frames,
    );
    println!("{:<44}{:>12}{:>10}", "", "µs/frame", "× floor");
    let folder = tempfile::tempdir()?;
    let floor = run("floor", folder.path(), &traffic, rounds, |folder| {
        Ok(Command::new(env::current_exe()?)
            .env(FLOOR, folder)
            .stdin(Stdio::null())
            .spawn()?)
    })?;
    floor.print("the floor: read, write to both", &floor);
    let edits = "{\n identity edge-1\n version bench\n extra site-7\n}";
    for (name, options) in [
        ("tapfan, two full sinks", "full"),
        ("tapfan, two sinks that edit", edits),
    ] {
        let cost = run("tapfan", folder.path(), &traffic, rounds, |folder| {
            tapfan(folder, options, "off")
        })?;
        cost.print(name, &floor);
    }
    if is_trial {
        return watched(folder.path(), &traffic, rounds, &floor);
    }
    watched(folder.path(), &traffic, rounds * 20, &floor)?;
    match run(
        "golang-dnstap",
        folder.path(),
        &traffic,
        (rounds / 10).max(1),
        golang_dnstap,
    ) {
        Ok(cost) => cost.print("golang-dnstap, dnstap -u IN -U A -U B", &floor),
        Err(error) => println!("golang-dnstap: not measured ({error})"),
    }
    Ok(())
}

/// Runs tapfan with two full sinks, a scraper and an open page. Prints the cost of serving the
/// scraper and the page.
fn watched(folder: &Path, traffic: &Traffic, rounds: u64, floor: &Cost) -> Result<()> {
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (over, is_over) = mpsc::channel::<()>();
    let (watching, is_watching) = mpsc::channel::<()>();
    let mut watcher = None;
    let cost = run("tapfan", folder, traffic, rounds, |folder| {
        let child = tapfan(folder, "full", &admin.to_string())?;
        let pid = child.id();
        watcher = Some(thread::spawn(move || watch(admin, pid, watching, &is_over)));
        // Waits until the watcher has started. If the watcher fails, the failure is reported below.
        let _ = is_watching.recv_timeout(PATIENCE);
        Ok(child)
    })?;
    drop(over);
    let watcher = watcher.ok_or("it was not started")?;
    let shares = watcher.join().map_err(|_| "the watcher panicked")?;
    cost.print("tapfan, two full sinks, watched", floor);
    let (scrapes, admin, all) = shares.map_err(|error| format!("the watcher: {error}"))?;
    #[allow(clippy::cast_precision_loss)]
    let percent = admin as f64 * 100.0 / all as f64;
    println!(
        "  {scrapes} scrapes, one a second, and a page: {percent:.2} % of the router's processor time"
    );
    Ok(())
}

/// Scrapes the metrics of the process once a second while it runs. At the same time, reads the
/// events of the page. After the first event and the first scrape, drops `watching`, because the
/// caller waits for that. Returns the number of scrapes, and the processor times of the admin
/// endpoint's thread and of all threads, in nanoseconds, at the last scrape.
fn watch(
    admin: SocketAddr,
    pid: u32,
    watching: mpsc::Sender<()>,
    is_over: &mpsc::Receiver<()>,
) -> io::Result<(u64, u64, u64)> {
    let (event, has_event) = mpsc::channel();
    let page = thread::spawn(move || page(admin, &event));
    // If reading the page fails, the sender of the channel is dropped before an event has arrived.
    let mut is_open = has_event.recv_timeout(PATIENCE).is_ok();
    if is_open {
        scrape(admin)?;
        drop(watching);
    }
    let (mut scrapes, mut used) = (1, processor_time(pid)?);
    while is_open
        && is_over.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout)
    {
        is_open = TcpStream::connect(admin).is_ok();
        if is_open {
            scrape(admin)?;
            scrapes += 1;
            used = processor_time(pid)?;
        }
    }
    let bytes = page
        .join()
        .map_err(|_| io::Error::other("the page panicked"))??;
    if bytes < 2 * (scrapes - 1) * 1024 {
        return Err(io::Error::other(format!("{bytes} bytes of events only")));
    }
    Ok((scrapes, used.0, used.1))
}

fn scrape(admin: SocketAddr) -> io::Result<()> {
    let accept = "accept: application/openmetrics-text\r\n";
    let mut answer = admin::get(admin, "/metrics", accept)?;
    let mut text = String::new();
    answer.read_to_string(&mut text)?;
    if text.ends_with("# EOF\n") {
        Ok(())
    } else {
        Err(io::Error::other("no metrics"))
    }
}

/// Reads the events of the page until the router ends. After the first event, sends a message to
/// `event`. Returns the number of bytes that were read.
fn page(admin: SocketAddr, event: &mpsc::Sender<()>) -> io::Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(admin).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let mut stream = admin::get(admin, "/events", "")?;
    let (mut line, mut bytes) = (String::new(), 0);
    while !line.starts_with("data:") {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the page got no event"));
        }
        bytes += line.len() as u64;
    }
    let _ = event.send(());
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(bytes),
            Ok(read) => bytes += read as u64,
        }
    }
}

/// Returns the processor time of the admin endpoint's thread, and that of all threads, in
/// nanoseconds.
fn processor_time(pid: u32) -> io::Result<(u64, u64)> {
    let (mut admin, mut all) = (0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        let time = fs::read_to_string(thread.join("schedstat"))?;
        let time = time.split(' ').next().and_then(|time| time.parse().ok());
        let time: u64 = time.ok_or(io::ErrorKind::InvalidData)?;
        all += time;
        if fs::read_to_string(thread.join("comm"))?.trim() == "tapfan-admin" {
            admin += time;
        }
    }
    Ok((admin, all))
}

fn tapfan(folder: &Path, options: &str, admin: &str) -> Result<Child> {
    let file = folder.join("Tapfile");
    let sink = |name| format!("dnstap unix://{} {options}\n", folder.join(name).display());
    let text = format!(
        "listen unix://{}\nadmin {admin}\n{}{}",
        folder.join("in").display(),
        sink("a"),
        sink("b")
    );
    fs::write(&file, text)?;
    // The environment variable `TAPFAN` can name another build to measure.
    let program = env::var_os("TAPFAN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tapfan").into());
    let mut command = Command::new(program);
    command.args(["run", "--log-level", "warn", "-c"]).arg(file);
    Ok(command.stdin(Stdio::null()).spawn()?)
}

fn golang_dnstap(folder: &Path) -> Result<Child> {
    let mut command = Command::new("dnstap");
    command.arg("-u").arg(folder.join("in"));
    for sink in ["a", "b"] {
        command.arg("-U").arg(folder.join(sink));
    }
    Ok(command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

/// Sends the traffic through the program that `start` starts. Returns the cost of the program after
/// all frames have arrived.
fn run(
    name: &str,
    folder: &Path,
    traffic: &Traffic,
    rounds: u64,
    start: impl FnOnce(&Path) -> Result<Child>,
) -> Result<Cost> {
    for stale in ["in", "a", "b"] {
        let _ = fs::remove_file(folder.join(stale));
    }
    let collectors = [
        Collector::start(folder.join("a"))?,
        Collector::start(folder.join("b"))?,
    ];
    let before = children_time()?;
    let mut child = start(folder)?;
    let outcome = send(&folder.join("in"), traffic, rounds, &collectors);
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    kill(pid, Signal::SIGTERM)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    outcome.map_err(|error| format!("{name}: {error}"))?;
    let frames = traffic.frames * rounds;
    for collector in collectors {
        // Ignores errors here: golang-dnstap resets its connections when it exits, but the
        // collectors have already counted all bytes.
        let _ = collector
            .thread
            .join()
            .map_err(|_| "a collector panicked")?;
        let read = collector.read.load(Relaxed);
        if read != frames {
            return Err(format!("{name}: a collector has read {read} frames of {frames}").into());
        }
    }
    Ok(Cost {
        processor: children_time()?.saturating_sub(before),
        frames,
    })
}

/// Writes the traffic and waits until both collectors have received it.
fn send(socket: &Path, traffic: &Traffic, rounds: u64, collectors: &[Collector]) -> Result<()> {
    let mut stream = connect(socket)?;
    open(&mut stream)?;
    let parts = traffic.parts();
    let mut sent = 0_u64;
    for _ in 0..rounds {
        for (wire, frames) in &parts {
            wait(collectors, sent.saturating_sub(WINDOW))?;
            stream.write_all(wire)?;
            sent += frames;
        }
    }
    wait(collectors, sent)
}

/// Waits until both collectors have read `frames` frames.
fn wait(collectors: &[Collector], frames: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while collectors
        .iter()
        .any(|collector| collector.read.load(Relaxed) < frames)
    {
        if Instant::now() > deadline {
            let read: Vec<_> = collectors
                .iter()
                .map(|collector| collector.read.load(Relaxed))
                .collect();
            return Err(format!(
                "the collectors have read {read:?} frames of {frames} and get no more"
            )
            .into());
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Runs the floor, a process that does the minimum work of a router between one sender and two
/// collectors.
fn floor(folder: &Path) -> Result<()> {
    let listener = UnixListener::bind(folder.join("in"))?;
    let mut sinks = [connect(&folder.join("a"))?, connect(&folder.join("b"))?];
    for sink in &mut sinks {
        open(sink)?;
    }
    let (mut source, _) = listener.accept()?;
    accept(&mut source)?;
    let mut buffer = vec![0; WRITE];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        for sink in &mut sinks {
            sink.write_all(&buffer[..read])?;
        }
    }
}

fn children_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Ok(Duration::from_micros(u64::try_from(
        micros(usage.user_time()) + micros(usage.system_time()),
    )?))
}

// === impl Traffic ===

impl Traffic {
    fn recorded() -> Result<Self> {
        let mut traffic = Self {
            wire: Vec::new(),
            frames: 0,
        };
        for frame in recorded::frames()? {
            traffic
                .wire
                .extend(u32::try_from(frame.len())?.to_be_bytes());
            traffic.wire.extend(&frame);
            traffic.frames += 1;
        }
        Ok(traffic)
    }

    /// Returns the traffic in parts of about [`WRITE`] bytes, each with its number of frames. No
    /// part ends within a frame.
    fn parts(&self) -> Vec<(&[u8], u64)> {
        let mut parts = Vec::new();
        let (mut start, mut at, mut frames) = (0, 0, 0);
        while let Some(length) = self.wire[at..].first_chunk::<4>() {
            at += 4 + u32::from_be_bytes(*length) as usize;
            frames += 1;
            if at - start >= WRITE || at == self.wire.len() {
                parts.push((&self.wire[start..at], frames));
                (start, frames) = (at, 0);
            }
        }
        parts
    }
}

// === impl Cost ===

impl Cost {
    // Both numbers are far below 2^52, so the conversion to `f64` is exact.
    #[allow(clippy::cast_precision_loss)]
    fn micros(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.frames as f64
    }

    fn print(&self, name: &str, floor: &Self) {
        let micros = self.micros();
        println!("{name:<44}{micros:>12.4}{:>10.1}", micros / floor.micros());
    }
}

// === impl Collector ===

impl Collector {
    fn start(socket: PathBuf) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let read = Arc::<AtomicU64>::default();
        let count = Arc::clone(&read);
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            accept(&mut stream)?;
            let mut buffer = vec![0; WRITE];
            let mut filled = 0;
            loop {
                let bytes = stream.read(&mut buffer[filled..])?;
                if bytes == 0 {
                    return Ok(());
                }
                filled += bytes;
                let (frames, end, stopped) = whole_frames(&buffer[..filled]);
                count.fetch_add(frames, Relaxed);
                if stopped {
                    return stream.write_all(&Control::finish().encode());
                }
                buffer.copy_within(end..filled, 0);
                filled -= end;
            }
        });
        Ok(Self { read, thread })
    }
}

/// Returns the number of whole frames, the offset at which they end, and whether STOP follows.
fn whole_frames(bytes: &[u8]) -> (u64, usize, bool) {
    let (mut frames, mut end) = (0, 0);
    while let Some(length) = bytes[end..].first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 {
            return (frames, end, true);
        }
        if bytes.len() < end + 4 + length {
            break;
        }
        end += 4 + length;
        frames += 1;
    }
    (frames, end, false)
}
