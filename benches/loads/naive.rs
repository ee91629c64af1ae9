//! The floor: the simplest router that works. One thread for each sender reads frames, and writes
//! the frames that are complete to each collector. This router neither checks nor queues nor drops
//! frames.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    child::Parent,
    frames, handshake,
    socket::{Address, Socket},
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) listen: Address,
    pub(crate) sinks: Vec<Address>,
}

/// The largest number of bytes in one read.
const READ: usize = 256 << 10;

/// The size of a thread's stack. The default is 8 MiB, which is too much with 1,000 threads.
const STACK: usize = 64 << 10;

pub(crate) fn play(parent: &mut Parent) -> Result<()> {
    let plan: Plan = parent.plan()?;
    let sinks: Result<Vec<_>> = plan
        .sinks
        .iter()
        .map(|sink| {
            let mut socket = sink.connect()?;
            handshake::open(&mut socket)?;
            Ok(Mutex::new(socket))
        })
        .collect();
    let sinks = Arc::new(sinks?);
    let listener = plan.listen.listen()?;
    loop {
        let mut sender = listener.accept()?;
        let sinks = Arc::clone(&sinks);
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn(move || {
            if let Err(error) = copy(&mut sender, &sinks) {
                eprintln!("loads: the floor has lost a connection: {error}");
            }
        })?;
    }
}

/// Writes everything that `sender` sends to all sinks, until the sender closes its connection.
fn copy(sender: &mut Socket, sinks: &[Mutex<Socket>]) -> io::Result<()> {
    handshake::accept(sender)?;
    let mut buffer = vec![0; READ];
    let mut filled = 0;
    loop {
        let bytes = sender.read(&mut buffer[filled..])?;
        if bytes == 0 {
            return Ok(());
        }
        filled += bytes;
        let (end, _) = frames::cut(&buffer[..filled], |_| ());
        for sink in sinks {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.write_all(&buffer[..end])?;
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}
