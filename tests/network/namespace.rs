//! A network namespace without a name.

use std::{
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    panic::resume_unwind,
    process::{Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with its own interfaces, addresses, routes and sockets.
///
/// It has no name, only this descriptor, so tests that run in parallel cannot clash. A run that is
/// killed leaves nothing behind: the kernel removes the namespace with its interfaces when the last
/// descriptor, socket and process of it is gone.
pub(crate) struct Namespace(File);

impl Namespace {
    /// A namespace with only a loopback interface.
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            File::open("/proc/thread-self/ns/net").expect("the namespace of this thread")
        });
        let namespace = Self(made.join().expect("a namespace"));
        namespace.ip("link set lo up");
        namespace
    }

    /// Moves this thread, and the processes that it starts from now on, into the namespace.
    pub(crate) fn move_in(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may");
    }

    /// Runs `act` in the namespace. A socket that `act` creates stays in the namespace, even if
    /// another thread uses it.
    pub(crate) fn visit<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let result = thread::scope(|scope| {
            let visit = scope.spawn(|| {
                self.move_in();
                act()
            });
            visit.join()
        });
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs commands of `ip`, one per line.
    pub(crate) fn ip(&self, commands: &str) {
        let output = self.visit(|| {
            let mut ip = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("tests/network/install.sh installs iproute2");
            let mut stdin = ip.stdin.take().expect("piped");
            stdin.write_all(commands.as_bytes()).expect("written");
            drop(stdin);
            ip.wait_with_output().expect("it ends")
        });
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}\n{complaint}");
    }

    /// Returns a path to the namespace for `ip`. The path is valid until this value is dropped.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
