//! The program under test, `tapfan run`.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{Process, eventually, unused};

/// A running `tapfan run`.
pub(crate) struct Tapfan {
    process: Process,
    tapfile: PathBuf,
}

/// The address of a listener of tapfan. The test waits until tapfan listens there.
#[derive(Debug, Clone)]
pub(crate) enum Listening {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

// === impl Tapfan ===

impl Tapfan {
    /// Starts tapfan with `tapfile`, the text of its configuration, and waits until it listens.
    pub(crate) fn start(dir: &Path, tapfile: &str, listening: &Listening) -> Self {
        Self::start_at(dir, tapfile, listening, "info")
    }

    /// Starts tapfan with the log level `debug`.
    pub(crate) fn start_verbose(dir: &Path, tapfile: &str, listening: &Listening) -> Self {
        Self::start_at(dir, tapfile, listening, "debug")
    }

    fn start_at(dir: &Path, tapfile: &str, listening: &Listening, level: &str) -> Self {
        let path = unused(dir, "Tapfile");
        fs::write(&path, tapfile).expect("a file in a directory of our own");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
        command.arg("run").arg("-c").arg(&path);
        command.arg("--log-level").arg(level);
        let mut process = Process::start(dir, command);
        eventually("tapfan to listen", || {
            process.must_run();
            match listening {
                Listening::Unix(path) => UnixStream::connect(path).map(drop),
                Listening::Tcp(address) => TcpStream::connect(address).map(drop),
            }
        });
        Self {
            process,
            tapfile: path,
        }
    }

    /// Replaces the text of the configuration, and waits until tapfan has applied it.
    pub(crate) fn reload(&self, tapfile: &str) {
        let count = || {
            let output = self.process.output();
            output.matches("reloaded the configuration").count()
        };
        let before = count();
        let fresh = self.tapfile.with_extension("new");
        fs::write(&fresh, tapfile).expect("a file in a directory of our own");
        fs::rename(&fresh, &self.tapfile).expect("a file of our own");
        eventually("the reload", || {
            (count() > before).then_some(()).ok_or("not reloaded")
        });
    }

    /// Sends SIGTERM, and asserts that tapfan drains and exits with status 0. Returns the output of
    /// tapfan.
    pub(crate) fn stop(mut self) -> String {
        let (status, _) = self.process.terminate();
        // Prints the output of tapfan, so that it is shown if the test fails later. The ledgers in
        // it say how many frames were dropped, and why.
        let output = self.process.output();
        eprintln!("--- tapfan printed:\n{output}");
        assert!(status.success(), "tapfan: {status}");
        output
    }
}
