//! A relay between a sender and tapfan. It keeps a copy of the bytes in both directions.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    frame_streams::{Frame, data, parse},
    process::eventually,
};

/// The bytes that were relayed on one connection.
#[derive(Debug, Clone, Default)]
struct Passed {
    from_sender: Vec<u8>,
    to_sender: Vec<u8>,
    /// Two flags: true if the sender's side has ended, and true if tapfan's side has ended.
    ended: (bool, bool),
}

/// A relay. Its threads end with the test process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Relay {
    connections: Arc<Mutex<Vec<Passed>>>,
}

/// A stream that two threads use, one for each direction.
trait Wire: Read + Write + Send + Sized + 'static {
    fn second_handle(&self) -> Self;
    /// Shuts down the write side. Ignores errors, because the peer may have closed the stream
    /// already.
    fn end_writing(&self);
}

// === impl Relay ===

impl Relay {
    /// Relays from a new unix socket at `path` to the unix socket at `to`.
    pub(crate) fn unix(path: &Path, to: PathBuf) -> Self {
        let listener = UnixListener::bind(path).expect("a new socket");
        let relay = Self::default();
        let accepting = relay.clone();
        thread::spawn(move || {
            for sender in listener.incoming() {
                // If tapfan is not running, the relay cannot connect, and closes the connection of
                // the sender immediately.
                if let Ok(router) = UnixStream::connect(&to) {
                    accepting.join(&sender.expect("a connection"), &router);
                }
            }
        });
        relay
    }

    /// Relays from a free port of loopback to `to`.
    pub(crate) fn tcp(to: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = listener.local_addr().expect("a bound socket");
        let relay = Self::default();
        let accepting = relay.clone();
        thread::spawn(move || {
            for sender in listener.incoming() {
                if let Ok(router) = TcpStream::connect(to) {
                    accepting.join(&sender.expect("a connection"), &router);
                }
            }
        });
        (relay, address)
    }

    /// Waits until every connection has ended. Returns the payloads that each sender wrote.
    pub(crate) fn sent(&self) -> Vec<Vec<Vec<u8>>> {
        let frames = |passed: Passed| data(parse(&passed.from_sender).0);
        self.finished().into_iter().map(frames).collect()
    }

    /// Waits until every connection has ended. Returns the frames that tapfan wrote to the sender,
    /// for each connection.
    pub(crate) fn answered(&self) -> Vec<Vec<Frame>> {
        let frames = |passed: Passed| parse(&passed.to_sender).0;
        self.finished().into_iter().map(frames).collect()
    }

    fn finished(&self) -> Vec<Passed> {
        eventually("the sender's connections to end", || {
            let mut connections = self.connections.lock().expect("no thread panics").clone();
            // Leaves out connections that ended without data. Unbound makes such a connection
            // first, to check its unix socket.
            connections.retain(|passed| !passed.ended.0 || !passed.from_sender.is_empty());
            let ended = connections
                .iter()
                .all(|passed| passed.ended == (true, true));
            ended.then_some(connections).ok_or("one is open")
        })
    }

    fn join<W: Wire>(&self, sender: &W, router: &W) {
        let at = {
            let mut connections = self.connections.lock().expect("no thread panics");
            connections.push(Passed::default());
            connections.len() - 1
        };
        let up = (sender.second_handle(), router.second_handle());
        let down = (router.second_handle(), sender.second_handle());
        let relay = self.clone();
        thread::spawn(move || {
            pump(up, |bytes| {
                relay.change(at, |passed| passed.from_sender.extend(bytes));
            });
            relay.change(at, |passed| passed.ended.0 = true);
        });
        let relay = self.clone();
        thread::spawn(move || {
            pump(down, |bytes| {
                relay.change(at, |passed| passed.to_sender.extend(bytes));
            });
            relay.change(at, |passed| passed.ended.1 = true);
        });
    }

    fn change(&self, at: usize, change: impl FnOnce(&mut Passed)) {
        change(&mut self.connections.lock().expect("no thread panics")[at]);
    }
}

/// Copies bytes in one direction until one of the two streams is closed.
fn pump<W: Wire>((mut from, mut to): (W, W), mut keep: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    to.end_writing();
}

// === impl Wire ===

impl Wire for UnixStream {
    fn second_handle(&self) -> Self {
        self.try_clone().expect("a descriptor")
    }

    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Wire for TcpStream {
    fn second_handle(&self) -> Self {
        self.try_clone().expect("a descriptor")
    }

    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}
