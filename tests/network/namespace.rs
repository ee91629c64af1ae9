//! A Linux network namespace that has no name.

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
/// The namespace has no name, only this descriptor, so the namespaces of tests that run in parallel
/// cannot clash. If a run is killed, it leaves nothing behind. The kernel removes the namespace and
/// its interfaces when no descriptor, socket or process uses the namespace any more.
pub(crate) struct Namespace(File);

impl Namespace {
    /// Makes a namespace that has only a loopback interface.
    pub(crate) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            File::open("/proc/thread-self/ns/net").expect("the namespace of this thread")
        });
        let namespace = Self(made.join().expect("a namespace"));
        namespace.ip("link set lo up");
        namespace
    }

    /// Moves this thread into the namespace. The processes that this thread starts from now on are
    /// in the namespace, too.
    pub(crate) fn move_in(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may");
    }

    /// Runs `act` on another thread, which is in the namespace. A socket that `act` creates stays
    /// in the namespace, also when other threads use it.
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

    /// Runs commands of the program `ip` in the namespace. `commands` has one command per line.
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

    /// Returns a path that names the namespace in commands of `ip`. The path is valid until this
    /// value is dropped.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
