//! Measures the longest write of a well-behaved DNS server while another peer misbehaves.
//!
//! `cargo bench --bench stalls` starts `tapfan run` once for each case below. A sender writes 2,000 frames a second
//! through a unix socket, and a collector reads everything. At the same time one peer misbehaves for `FOR` seconds
//! (default 10). The benchmark prints the longest write of the good sender. It fails if the good collector misses a
//! frame, or if a write took longer than [`LONGEST`].
//!
//! The measured time includes the machine's scheduling delays. In the first case no peer misbehaves, so its result
//! shows how large these delays are.

mod handshake;

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tapfan::internals::Control;
use tempfile::TempDir;

/// One kind of misbehaviour.
struct Case {
    name: &'static str,
    /// Lines that this case adds to the Tapfile.
    tapfile: &'static str,
    /// Shell commands to run before the router starts.
    before: &'static str,
    /// True if stderr is a pipe that no process reads.
    unread: bool,
    start: fn(&Path, &Arc<AtomicBool>),
}

const CASES: [Case; 6] = [
    Case {
        name: "nothing goes wrong",
        tapfile: "",
        before: "",
        unread: false,
        start: |_, _| (),
    },
    Case {
        name: "1 nobody reads stderr, two senders of garbage",
        tapfile: "",
        before: "export RUST_LOG=trace;",
        unread: true,
        start: |folder, stop| {
            for _ in 0..2 {
                each_until(folder, stop, |stream, _| {
                    stream.write_all(b"\0\0\0\x03bad")?;
                    io::copy(stream, &mut io::sink()).map(drop)
                });
            }
        },
    },
    Case {
        name: "2 a sender that floods",
        tapfile: "",
        before: "",
        unread: false,
        start: |folder, stop| each_until(folder, stop, flood),
    },
    Case {
        name: "3 300 senders that stop inside a frame of 1 MiB",
        tapfile: "unfinished_frames 16MiB\n",
        before: "",
        unread: false,
        start: |folder, stop| {
            for _ in 0..300 {
                each_until(folder, stop, |stream, stop| {
                    let length = 1_u32 << 20;
                    stream.write_all(&length.to_be_bytes())?;
                    stream.write_all(&vec![0; length as usize - 1000])?;
                    wait(stop);
                    Ok(())
                });
            }
        },
    },
    Case {
        name: "4 a sink that stalls, with a queue larger than the memory",
        tapfile: "memory 72MiB\ndnstap unix://stalled full 1 4096\n",
        before: "",
        unread: false,
        start: |folder, stop| {
            let listener = UnixListener::bind(folder.join("stalled")).expect("a socket");
            let stop_stalled = Arc::clone(stop);
            thread::spawn(move || {
                let stream = listener.accept().and_then(|(mut stream, _)| {
                    handshake::accept(&mut stream)?;
                    Ok(stream)
                });
                wait(&stop_stalled);
                drop(stream);
            });
            // Sends large frames, but no faster than the good collector reads them.
            each_until(folder, stop, |stream, stop| {
                let frames = frame(LOUD, 4000).repeat(16);
                while !stop.load(Relaxed) {
                    stream.write_all(&frames)?;
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            });
        },
    },
    Case {
        name: "5 64 descriptors and 80 senders that come back",
        tapfile: "",
        before: "ulimit -n 64;",
        unread: false,
        start: |folder, stop| {
            for _ in 0..80 {
                each_until(folder, stop, |stream, stop| {
                    // If the router has reached its connection limit, it closes the connection immediately. If not, the
                    // connection stays idle.
                    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
                    while !stop.load(Relaxed) && stream.read(&mut [0]).map_or(true, |n| n > 0) {}
                    thread::sleep(Duration::from_millis(20));
                    Ok(())
                });
            }
        },
    },
];

/// The lowest number that other senders give to their frames. The numbers of the good sender's frames are lower.
const LOUD: u64 = 1 << 40;

/// The longest write that is allowed. A longer write would delay a DNS server noticeably. A trial does not check this
/// limit, because the machine may be busy.
const LONGEST: Duration = Duration::from_millis(100);

/// The good sender writes two frames each millisecond.
const TICK: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if given("--list") {
        return ExitCode::SUCCESS;
    }
    // `cargo bench` passes `--bench`, but `cargo test` passes nothing. So this run is a trial unless `--bench` was
    // passed.
    let is_trial = given("--test") || !given("--bench");
    let seconds = env::var("FOR").ok().and_then(|it| it.parse().ok());
    let lasts = Duration::from_secs(seconds.unwrap_or(if is_trial { 1 } else { 10 }));
    let program = env::var_os("TAPFAN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tapfan").into());
    println!("{:<60}{:>10}{:>10}", "", "writes", "longest");
    let mut too_long = false;
    for case in &CASES {
        match run(case, Path::new(&program), lasts) {
            Ok((writes, longest)) => {
                let milliseconds = longest.as_secs_f64() * 1e3;
                println!("{:<60}{writes:>10}{milliseconds:>7.1} ms", case.name);
                too_long |= !is_trial && longest > LONGEST;
            }
            Err(error) => {
                eprintln!("stalls: {}: {error}", case.name);
                return ExitCode::FAILURE;
            }
        }
    }
    if too_long {
        eprintln!("stalls: a write took longer than {LONGEST:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Returns the number of writes of the good sender, and the duration of the longest write.
fn run(case: &Case, program: &Path, lasts: Duration) -> Result<(u64, Duration), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let got = collect(&folder.path().join("good"))?;
    let _router = Router::start(case, program, &folder)?;
    let mut sender = connect(&folder.path().join("in"))?;
    let stop = Arc::<AtomicBool>::default();
    (case.start)(folder.path(), &stop);
    let (mut writes, mut longest, begun) = (0, Duration::ZERO, Instant::now());
    while begun.elapsed() < lasts {
        let frames = [frame(2 * writes, 100), frame(2 * writes + 1, 100)].concat();
        let before = Instant::now();
        sender.write_all(&frames)?;
        longest = longest.max(before.elapsed());
        writes += 1;
        thread::sleep(TICK);
    }
    stop.store(true, Relaxed);
    let deadline = Instant::now() + Duration::from_secs(30);
    while got.lock().expect("no panic").len() < usize::try_from(2 * writes)? {
        if Instant::now() > deadline {
            let missed = 2 * writes - got.lock().expect("no panic").len() as u64;
            return Err(format!("the collector misses {missed} frames").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok((writes, longest))
}

/// A router that is killed when dropped.
struct Router {
    process: Child,
}

impl Router {
    fn start(case: &Case, program: &Path, folder: &TempDir) -> io::Result<Self> {
        let tapfile = format!(
            "admin off\nlisten unix://in\n{}dnstap unix://good full\n",
            case.tapfile
        );
        fs::write(folder.path().join("Tapfile"), tapfile)?;
        let stderr = if case.unread {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let process = Command::new("sh")
            .args(["-c", &format!("{} exec \"$0\" run", case.before)])
            .arg(fs::canonicalize(program)?)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()?;
        Ok(Self { process })
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Ignores errors: the process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `body` on one connection after another, on a thread of its own, until `stop` is set.
fn each_until(
    folder: &Path,
    stop: &Arc<AtomicBool>,
    body: fn(&mut UnixStream, &AtomicBool) -> io::Result<()>,
) {
    let (socket, stop): (PathBuf, _) = (folder.join("in"), Arc::clone(stop));
    thread::spawn(move || {
        while !stop.load(Relaxed) {
            // Ignores errors: this case makes the router close the connection.
            let _ = UnixStream::connect(&socket).and_then(|mut stream| {
                stream.write_all(&Control::start().encode())?;
                body(&mut stream, &stop)
            });
        }
    });
}

fn flood(stream: &mut UnixStream, stop: &AtomicBool) -> io::Result<()> {
    let frames = frame(LOUD, 100).repeat(2000);
    while !stop.load(Relaxed) {
        stream.write_all(&frames)?;
    }
    Ok(())
}

fn wait(stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Connects once the router listens, and starts a stream.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    handshake::open(&mut stream)?;
    Ok(stream)
}

/// Starts a collector on its own thread. For each frame of the good sender that it receives, the
/// collector adds the number of the frame to the returned set.
fn collect(socket: &Path) -> io::Result<Arc<Mutex<BTreeSet<u64>>>> {
    let listener = UnixListener::bind(socket)?;
    let got = Arc::<Mutex<BTreeSet<u64>>>::default();
    let shared = Arc::clone(&got);
    thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        handshake::accept(&mut stream)?;
        let mut stream = io::BufReader::with_capacity(256 << 10, stream);
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut payload = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut payload)?;
            // In the short frames of the good sender, the content of `extra` starts at the third byte. In the longer
            // frames of other senders, the eight bytes that are read here begin with a byte of the length. Read as a
            // number, they are larger than any number of the good sender.
            let number = u64::from_be_bytes(payload[2..10].try_into().expect("eight bytes"));
            if number < LOUD {
                shared.lock().expect("no panic").insert(number);
            }
        }
    });
    Ok(got)
}

/// Creates a dnstap frame with its length prefix: an `extra` of `size` bytes that starts with `number`, and an empty
/// message.
fn frame(number: u64, size: usize) -> Vec<u8> {
    let mut payload = vec![0x1a];
    let mut left = size;
    while left >= 0x80 {
        payload.push(u8::try_from(left & 0x7f | 0x80).expect("seven bits and a flag"));
        left >>= 7;
    }
    payload.push(u8::try_from(left).expect("seven bits"));
    let start = payload.len();
    payload.extend(number.to_be_bytes());
    payload.resize(start + size, 0xff);
    // `type: MESSAGE`, with a message of type `AUTH_QUERY`.
    payload.extend(b"\x72\x02\x08\x01\x78\x01");
    let length = u32::try_from(payload.len()).expect("short");
    [&length.to_be_bytes(), payload.as_slice()].concat()
}
