//! A router in a process of its own.

use std::{
    env,
    error::Error,
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{admin, handshake};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A router that is killed when dropped.
pub(crate) struct Router {
    process: Child,
    admin: SocketAddr,
}

// === impl Router ===

impl Router {
    /// Starts a router in `folder`. It listens at the socket `in` of this folder. `sinks` are the other lines of the
    /// Tapfile.
    pub(crate) fn start(folder: &Path, sinks: &str) -> Result<Self> {
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let tapfile = format!("admin {admin}\nlisten unix://in\n{sinks}");
        fs::write(folder.join("Tapfile"), tapfile)?;
        let program = env::var_os("TAPFAN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tapfan").into());
        let process = Command::new(fs::canonicalize(PathBuf::from(program))?)
            .args(["run", "--log-level", "error"])
            .current_dir(folder)
            .spawn()?;
        Ok(Self { process, admin })
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the status of each sink, or nothing if the admin endpoint does not listen yet. Fails if a sink has dropped a
    /// frame.
    pub(crate) fn sinks(&self) -> Result<Vec<Value>> {
        let Ok(mut answer) = admin::get(self.admin, "/status", "") else {
            return Ok(Vec::new());
        };
        let mut text = String::new();
        answer.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").ok_or("/status has no body")?;
        let mut status: Value = serde_json::from_str(body)?;
        let sinks = status["sinks"].as_array_mut().map(std::mem::take);
        let sinks = sinks.ok_or("no sinks")?;
        for sink in &sinks {
            let dropped = sink["ledger"]["dropped"].as_object().ok_or("no ledger")?;
            if dropped.values().any(|frames| frames.as_u64() != Some(0)) {
                return Err(format!("frames were dropped: {dropped:?}").into());
            }
        }
        Ok(sinks)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Ignores errors: the process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Connects to the router in `folder` once it listens, and starts a stream.
pub(crate) fn connect(folder: &Path) -> Result<UnixStream> {
    let socket = folder.join("in");
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    handshake::open(&mut stream)?;
    Ok(stream)
}
