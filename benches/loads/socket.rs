//! Blocking sockets of the peers: unix, TCP, and TLS over TCP.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::tls;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
    Tls,
}

/// An address on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// An address for TLS, and the folder that contains the certificate.
    Tls(SocketAddr, PathBuf),
}

pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
    Tls(TcpListener, tls::Server),
}

pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    TlsClient(Box<tls::ClientStream>),
    TlsServer(Box<tls::ServerStream>),
}

/// The deadline of a connection attempt, during which a router may still be starting.
const PATIENCE: Duration = Duration::from_secs(20);

// === impl Transport ===

impl Transport {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Returns a new address at which nothing listens. For TLS, the certificate is in `folder`.
    pub(crate) fn free(self, folder: &Path, name: &str) -> io::Result<Address> {
        let port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
        Ok(match self {
            Self::Unix => Address::Unix(folder.join(name)),
            Self::Tcp => Address::Tcp(port()?),
            Self::Tls => Address::Tls(port()?, folder.to_owned()),
        })
    }
}

// === impl Address ===

impl Address {
    /// Returns the address in the form that a Tapfile has.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp(address) => format!("tcp://{address}"),
            Self::Tls(address, _) => format!("tls://{address}"),
        }
    }

    /// Connects to the address. If no process listens there yet, waits until a process listens.
    pub(crate) fn connect(&self) -> io::Result<Socket> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_connect() {
                Ok(socket) => return Ok(socket),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn try_connect(&self) -> io::Result<Socket> {
        let tcp = |address: &SocketAddr| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        Ok(match self {
            Self::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            Self::Tcp(address) => Socket::Tcp(tcp(address)?),
            Self::Tls(address, folder) => {
                Socket::TlsClient(Box::new(tls::connect(tcp(address)?, folder)?))
            }
        })
    }

    pub(crate) fn listen(&self) -> io::Result<Listener> {
        Ok(match self {
            Self::Unix(path) => Listener::Unix(UnixListener::bind(path)?),
            Self::Tcp(address) => Listener::Tcp(TcpListener::bind(address)?),
            Self::Tls(address, folder) => {
                Listener::Tls(TcpListener::bind(address)?, tls::Server::new(folder)?)
            }
        })
    }
}

// === impl Listener ===

impl Listener {
    pub(crate) fn accept(&self) -> io::Result<Socket> {
        let tcp = |listener: &TcpListener| {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        Ok(match self {
            Self::Unix(listener) => Socket::Unix(listener.accept()?.0),
            Self::Tcp(listener) => Socket::Tcp(tcp(listener)?),
            Self::Tls(listener, server) => {
                Socket::TlsServer(Box::new(server.accept(tcp(listener)?)?))
            }
        })
    }
}

// === impl Socket ===

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::TlsClient(stream) => stream.read(buffer),
            Self::TlsServer(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
            Self::TlsClient(stream) => stream.write(buffer),
            Self::TlsServer(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
            Self::TlsClient(stream) => stream.flush(),
            Self::TlsServer(stream) => stream.flush(),
        }
    }
}
