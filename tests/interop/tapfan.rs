//! The program under test, run as a user runs it.

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
}

/// Where tapfan listens, for the test to wait until it does.
#[derive(Debug, Clone)]
pub(crate) enum Listening {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

// === impl Tapfan ===

impl Tapfan {
    /// Starts it on `tapfile`, a configuration's text, and waits until it listens.
    pub(crate) fn start(dir: &Path, tapfile: &str, listening: &Listening) -> Self {
        Self::start_at(dir, tapfile, listening, "info")
    }

    /// The same, and it tells of everything.
    pub(crate) fn start_verbose(dir: &Path, tapfile: &str, listening: &Listening) -> Self {
        Self::start_at(dir, tapfile, listening, "debug")
    }

    fn start_at(dir: &Path, tapfile: &str, listening: &Listening, level: &str) -> Self {
        let path = unused(dir, "Tapfile");
        fs::write(&path, tapfile).expect("a file in a directory of our own");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tapfan"));
        command.arg("run").arg("-c").arg(path);
        command.arg("--log-level").arg(level);
        let mut process = Process::start(dir, command);
        eventually("tapfan to listen", || {
            process.must_run();
            match listening {
                Listening::Unix(path) => UnixStream::connect(path).map(drop),
                Listening::Tcp(address) => TcpStream::connect(address).map(drop),
            }
        });
        Self { process }
    }

    /// Ends it with SIGTERM: it must drain and exit with status 0. Gives what it printed.
    pub(crate) fn stop(mut self) -> String {
        let (status, _) = self.process.terminate();
        // Shown if the test fails later: what was dropped, and why, stands in its ledgers.
        let output = self.process.output();
        eprintln!("--- tapfan printed:\n{output}");
        assert!(status.success(), "tapfan: {status}");
        output
    }
}
