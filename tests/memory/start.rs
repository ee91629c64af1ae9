//! Measures the time until a new router has delivered its first frame, and the memory that the router needs when it is
//! idle.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::outage::{Router, frame, handshake, joined};

/// The results for a router that was started with three sinks and one sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// The time from the start of the router's process until each collector has received the first frame.
    pub(crate) delivered: Duration,
    /// Resident memory of the idle router, in bytes.
    pub(crate) resident: u64,
    /// The part of the resident memory that no other process can share. The other part is the code of the program,
    /// which the kernel shares between processes and can remove from memory.
    pub(crate) private: u64,
}

const SINKS: [&str; 3] = ["a", "b", "c"];

/// The time after which the router counts as idle.
const SETTLED: Duration = Duration::from_secs(2);

/// Starts `program`, and a sender that connects as soon as it can.
pub(crate) fn measure(program: &Path) -> io::Result<Start> {
    let folder = tempfile::tempdir()?;
    let mut tapfile = "admin 127.0.0.1:0\nlisten unix://in\n".to_owned();
    let mut collectors = Vec::new();
    for sink in SINKS {
        tapfile += &["dnstap unix://", sink, " full\n"].concat();
        let listener = UnixListener::bind(folder.path().join(sink))?;
        collectors.push(thread::spawn(move || first_frame(&listener)));
    }
    let begun = Instant::now();
    let mut router = Router::start(program, &folder, &tapfile)?;
    let mut sender = router.sender()?;
    sender.write_all(&frame())?;
    let mut delivered = Duration::ZERO;
    let mut connections = Vec::new();
    for collector in collectors {
        let (at, connection) = joined(collector)?;
        delivered = delivered.max(at - begun);
        connections.push(connection);
    }
    thread::sleep(SETTLED);
    let start = Start {
        delivered,
        resident: router.memory("VmRSS:")?,
        private: router.memory("RssAnon:")?,
    };
    router.stop()?;
    Ok(start)
}

/// Waits for the first frame. Returns the time at which the frame arrived, and the connection.
fn first_frame(listener: &UnixListener) -> io::Result<(Instant, impl Read + use<>)> {
    let (mut connection, _) = listener.accept()?;
    handshake::accept(&mut connection)?;
    connection.read_exact(&mut vec![0; frame().len()])?;
    Ok((Instant::now(), connection))
}
