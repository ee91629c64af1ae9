//! Programs that the tests start. The programs run in the foreground, write their output to a file,
//! and are killed at the end of the test.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The longest time that a test waits for a condition.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A running program. Dropping it kills the program, and prints its output if the test failed.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// The stdin of the program, if it is a pipe.
    _stdin: Option<ChildStdin>,
    log: PathBuf,
}

// === impl Process ===

impl Process {
    /// Starts `command`. Its output goes to a new file in `dir`.
    pub(crate) fn start(dir: &Path, command: Command) -> Self {
        Self::start_with(dir, command, Stdio::null())
    }

    /// Starts `command`, whose stdin is a pipe that stays open until the end of the test. If the
    /// whole test process is killed, the pipe ends, and so can the program.
    pub(crate) fn start_attached(dir: &Path, command: Command) -> Self {
        Self::start_with(dir, command, Stdio::piped())
    }

    fn start_with(dir: &Path, mut command: Command, stdin: Stdio) -> Self {
        let program = Path::new(command.get_program());
        let name = program.file_name().map_or_else(
            || program.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        let log = unused(dir, &name);
        let output = fs::File::create(&log).expect("a log file");
        let mut child = command
            .stdin(stdin)
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name}: {error}; tests/interop/install.sh installs what these tests need")
            });
        Self {
            name,
            _stdin: child.stdin.take(),
            child,
            log,
        }
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the program has printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Returns the number of sockets that the program has open. If it has more sockets than
    /// listeners, a peer is connected.
    pub(crate) fn sockets(&self) -> usize {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", self.child.id())) else {
            return 0;
        };
        descriptors
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Panics if the program has exited.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child to ask") {
            panic!("{} ended: {status}", self.name);
        }
    }

    /// Sends SIGTERM, and waits until the program has exited. Returns the exit status, and the time
    /// from the signal to the exit.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.end(Signal::SIGTERM)
    }

    /// Sends SIGINT, and waits until the program has exited. Returns the exit status, and the time
    /// from the signal to the exit.
    pub(crate) fn interrupt(&mut self) -> (ExitStatus, Duration) {
        self.end(Signal::SIGINT)
    }

    /// Kills the program with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Waits until the program exits.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, || {
            let ended = self.child.try_wait().expect("a child to ask");
            ended.ok_or("it still runs")
        })
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.must_run();
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("a signal to a child");
    }

    fn end(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(signal);
        (self.wait(), begun.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ignores errors, because in most tests the program has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} printed:\n{}", self.name, self.output());
        }
    }
}

/// Calls `ready` until it succeeds. Panics after [`TIMEOUT`] with the last error.
pub(crate) fn eventually<T, E: fmt::Display>(what: &str, ready: impl FnMut() -> Result<T, E>) -> T {
    eventually_within(TIMEOUT, what, ready)
}

/// Calls `ready` until it succeeds. Panics after `timeout` with the last error.
pub(crate) fn eventually_within<T, E: fmt::Display>(
    timeout: Duration,
    what: &str,
    mut ready: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        match ready() {
            Ok(answer) => return answer,
            Err(reason) => assert!(
                Instant::now() < deadline,
                "gave up after {timeout:?} waiting for {what}: {reason}"
            ),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns a loopback address whose port is free for UDP and TCP.
///
/// The kernel gives ports from a certain range to sockets that ask for any free port. The returned
/// port is below that range, so that no such socket gets it before the program under test binds it.
pub(crate) fn free_address() -> SocketAddr {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several runs of the tests may happen at the same time, so each process starts its search at a
    // different port.
    let start = std::process::id().wrapping_mul(61) % u32::from(COUNT);
    let start = u16::try_from(start).expect("a remainder of a u16");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + (start + step) % COUNT));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on loopback");
}

/// Returns a path in `dir` that no earlier call has returned.
pub(crate) fn unused(dir: &Path, name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    dir.join(format!("{name}.{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}
