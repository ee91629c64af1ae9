//! Measures the memory of the router's process before an outage, at the end of the outage, and
//! afterwards. The frames are small.

#[path = "../../benches/handshake/mod.rs"]
pub(crate) mod handshake;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tapfan::internals::Control;
use tempfile::TempDir;

/// The resident memory of the router's process, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The memory after the senders have connected, and before they send a frame.
    pub(crate) before: u64,
    /// The memory while all frames are in the queue.
    pub(crate) peak: u64,
    /// The memory after the outage, measured several times. Each value has the time since the queue
    /// became empty.
    pub(crate) after: Vec<(Duration, u64)>,
}

/// The number of senders. They write frame by frame, like DNS servers with a light load.
const SENDERS: u64 = 4;

/// The pause of a sender after each write. Because of this pause, each read of the router gets only
/// a few frames.
const PAUSE: Duration = Duration::from_micros(50);

/// The size of the field `extra` in bytes. The frames of this test have no DNS message.
const PAYLOAD: usize = 100;

/// The timeout of this test's waits. It is long, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Measures the memory of `program` in an outage: sends `frames` frames while the collector is
/// away, then lets the collector return.
///
/// When the queue is empty, measures the memory every second, until `seen` returns true or the time
/// `most` has passed. Meanwhile one sender keeps sending a few frames.
pub(crate) fn measure(
    program: &Path,
    frames: u64,
    most: Duration,
    seen: impl Fn(&Memory) -> bool,
) -> io::Result<Memory> {
    let folder = tempfile::tempdir()?;
    let queue = frames / 10_000 + 1;
    let tapfile =
        format!("admin off\ndrain 1s\nlisten unix://in\ndnstap unix://out full 1 {queue}\n");
    let mut router = Router::start(program, &folder, &tapfile)?;
    let each = frames / SENDERS;
    let senders: io::Result<Vec<_>> = (0..SENDERS).map(|_| router.sender()).collect();
    let before = router.resident()?;
    let writing: Vec<_> = senders?
        .into_iter()
        .map(|sender| thread::spawn(move || send(sender, each)))
        .collect();
    for sender in writing {
        joined(sender)?;
    }
    let peak = router.resident()?;
    let out = UnixListener::bind(folder.path().join("out"))?;
    let (mut collector, _) = out.accept()?;
    handshake::accept(&mut collector)?;
    let wire = each * SENDERS * frame().len() as u64;
    let read = io::copy(&mut (&collector).take(wire), &mut io::sink())?;
    if read != wire {
        let short = format!("the collector has read {read} bytes of {wire}");
        return Err(io::Error::other(short));
    }
    let empty = Instant::now();
    let mut trickle = router.sender()?;
    let reading = thread::spawn(move || io::copy(&mut collector, &mut io::sink()));
    let mut memory = Memory {
        before,
        peak,
        after: vec![(Duration::ZERO, router.resident()?)],
    };
    while empty.elapsed() < most && !seen(&memory) {
        let next = empty.elapsed() + Duration::from_secs(1);
        while empty.elapsed() < next {
            trickle.write_all(&frame())?;
            thread::sleep(Duration::from_millis(2));
        }
        memory.after.push((next, router.resident()?));
    }
    drop(trickle);
    router.stop()?;
    joined(reading)?;
    Ok(memory)
}

/// A running router that listens on the unix socket `in` in a folder.
pub(crate) struct Router {
    process: Child,
    socket: std::path::PathBuf,
}

impl Router {
    /// Starts `program` with a Tapfile. Relative paths in the Tapfile are relative to the folder.
    pub(crate) fn start(program: &Path, folder: &TempDir, tapfile: &str) -> io::Result<Self> {
        let path = |name: &str| folder.path().join(name);
        fs::write(path("Tapfile"), tapfile)?;
        let process = Command::new(program.canonicalize()?)
            .args(["run", "--log-level", "error"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()?;
        let socket = path("in");
        Ok(Self { process, socket })
    }

    pub(crate) fn sender(&self) -> io::Result<UnixStream> {
        let deadline = Instant::now() + TIMEOUT;
        let mut stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_micros(200)),
            }
        };
        handshake::open(&mut stream)?;
        Ok(stream)
    }

    /// Returns the resident memory of the router's process, in bytes.
    fn resident(&self) -> io::Result<u64> {
        self.memory("VmRSS:")
    }

    /// Returns the value of a line in `/proc/PID/status`, in bytes.
    pub(crate) fn memory(&self, line: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|it| it.strip_prefix(line));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        number
            .map(|kib| kib << 10)
            .ok_or(io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn stop(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // The process has exited already, unless an error occurred.
        let _ = self.stop();
    }
}

/// Sends `frames` frames one by one and ends the stream. Returns after the router has passed all of
/// them on to the sink.
fn send(mut stream: UnixStream, frames: u64) -> io::Result<()> {
    let frame = frame();
    for _ in 0..frames {
        stream.write_all(&frame)?;
        thread::sleep(PAUSE);
    }
    stream.write_all(&Control::stop().encode())?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Creates a small dnstap frame with its length prefix.
pub(crate) fn frame() -> Vec<u8> {
    // Writes the field `extra`, and then the field `message` with a message of type `AUTH_QUERY`.
    let mut payload = vec![0x1a, u8::try_from(PAYLOAD).expect("short")];
    payload.resize(2 + PAYLOAD, b'x');
    payload.extend(b"\x72\x02\x08\x01\x78\x01");
    let length = u32::try_from(payload.len()).expect("short");
    [&length.to_be_bytes(), payload.as_slice()].concat()
}

pub(crate) fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    let panicked = |_| Err(io::Error::other("a thread panicked"));
    thread.join().unwrap_or_else(panicked)
}
