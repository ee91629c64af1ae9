//! Listening sockets that the process was started with: systemd's socket activation (`sd_listen_fds(3)`).
//!
//! Whoever starts the process holds them too, so that senders can connect before it runs and while it is restarted.

use std::{
    env,
    fmt::{self, Display},
    io,
    net::{SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixSocketAddr, UnixListener},
    },
    path::{self, Path},
};

use listenfd::ListenFd;
use socket2::SockRef;
use thiserror::Error;

use super::{BindError, BoundUnix, UnixAddress};

/// Sockets that the process was given, each known by the address it is bound to. None by default.
///
/// Each use is a clone: a socket stays here when its listener is gone, for a listener that comes later.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
}

/// Why sockets that the process was given cannot be used.
#[derive(Debug, Error)]
pub enum InheritError {
    /// A datagram socket, a FIFO, a file.
    #[error("{given} is not a stream socket, unix or TCP; tapfan takes what `ListenStream=` makes")]
    Kind {
        /// Which it is.
        given: Given,
    },
    /// A connection, not a listener.
    #[error("{given} does not listen; the socket unit must say `Accept=no`, which is the default")]
    NotListening {
        /// Which it is.
        given: Given,
    },
    /// It cannot be known again: no path, no name that is text.
    #[error("{given} is bound to no address that a `listen` line can say")]
    NoAddress {
        /// Which it is.
        given: Given,
    },
    /// Anything else.
    #[error("{given} cannot be used: {source}")]
    Io {
        /// Which it is.
        given: Given,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A socket as whoever started the process counts and calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its place among those given, from 0.
    pub place: usize,
    /// `FileDescriptorName=`; for systemd the name of the socket unit unless set.
    pub name: Option<String>,
}

#[derive(Debug)]
struct Socket {
    given: Given,
    listening: Listening,
}

#[derive(Debug)]
enum Listening {
    Unix(UnixAddress, UnixListener),
    Tcp(SocketAddr, TcpListener),
}

// === impl Inherited ===

impl Inherited {
    /// Takes the sockets that the environment tells of: `LISTEN_FDS` of them from descriptor 3 on, called
    /// `LISTEN_FDNAMES`, if `LISTEN_PID` is this process. No child of this process is told of them.
    ///
    /// Removes variables from the environment and takes descriptors by number: call it once, at the start, while the
    /// process has one thread.
    ///
    /// # Errors
    /// If one of them cannot be listened on.
    pub fn from_environment() -> Result<Self, InheritError> {
        // Without it listenfd takes them to be for whoever comes, other than sd_listen_fds(3) has it.
        if env::var_os("LISTEN_PID").is_none_or(|pid| pid.is_empty()) {
            return Ok(Self::default());
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for place in 0..given.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let who = Given {
                place,
                name: name.map(str::to_owned),
            };
            if let Ok(Some(unix)) = given.take_unix_listener(place) {
                inherited.add_unix(who, unix)?;
            } else if let Ok(Some(tcp)) = given.take_tcp_listener(place) {
                inherited.add_tcp(who, tcp)?;
            } else {
                return Err(InheritError::Kind { given: who });
            }
        }
        Ok(inherited)
    }

    /// Adds a unix socket.
    ///
    /// # Errors
    /// If it does not listen, or has no address.
    pub fn add_unix(&mut self, given: Given, listener: UnixListener) -> Result<(), InheritError> {
        let address = match listener.local_addr() {
            Ok(address) => address,
            Err(source) => return Err(InheritError::Io { given, source }),
        };
        check(&given, &SockRef::from(&listener))?;
        let Some(address) = address_of(&address) else {
            return Err(InheritError::NoAddress { given });
        };
        let listening = Listening::Unix(address, listener);
        self.sockets.push(Socket { given, listening });
        Ok(())
    }

    /// Adds a TCP socket.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn add_tcp(&mut self, given: Given, listener: TcpListener) -> Result<(), InheritError> {
        let address = match listener.local_addr() {
            Ok(address) => address,
            Err(source) => return Err(InheritError::Io { given, source }),
        };
        check(&given, &SockRef::from(&listener))?;
        let listening = Listening::Tcp(address, listener);
        self.sockets.push(Socket { given, listening });
        Ok(())
    }

    /// The unix socket that is bound to `address`; its file is not this process's and is left alone.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn unix(&self, address: &UnixAddress) -> Option<Result<BoundUnix, BindError>> {
        let listener = self.sockets.iter().find_map(|socket| socket.unix(address));
        let taken = listener?.try_clone().and_then(BoundUnix::of_another);
        Some(taken.map_err(|source| BindError::Io {
            address: shown(address),
            source,
        }))
    }

    /// The TCP socket that is bound to `address`. Port 0 is none.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn tcp(&self, address: SocketAddr) -> Option<Result<tokio::net::TcpListener, BindError>> {
        let listener = self.sockets.iter().find_map(|socket| socket.tcp(address));
        let taken = listener?
            .try_clone()
            .and_then(tokio::net::TcpListener::from_std);
        Some(taken.map_err(|source| BindError::Io {
            address: address.to_string(),
            source,
        }))
    }

    /// What no listener at these addresses uses: whoever connects there waits for nobody.
    pub fn unused(&self, unix: &[&UnixAddress], tcp: &[SocketAddr]) -> Vec<String> {
        // Of two at one address the first is used.
        let place_of = |uses: &dyn Fn(&Socket) -> bool| self.sockets.iter().position(uses);
        let unix = unix
            .iter()
            .filter_map(|address| place_of(&|socket| socket.unix(address).is_some()));
        let tcp = tcp
            .iter()
            .filter_map(|address| place_of(&|socket| socket.tcp(*address).is_some()));
        let used: Vec<usize> = unix.chain(tcp).collect();
        let sockets = self.sockets.iter().enumerate();
        sockets
            .filter(|(place, _)| !used.contains(place))
            .map(|(_, socket)| socket.to_string())
            .collect()
    }
}

/// Whether it listens; makes it non-blocking. Its backlog is as whoever made it wanted.
fn check(given: &Given, socket: &SockRef<'_>) -> Result<(), InheritError> {
    let failed = |source| InheritError::Io {
        given: given.clone(),
        source,
    };
    if !socket.is_listener().map_err(failed)? {
        return Err(InheritError::NotListening {
            given: given.clone(),
        });
    }
    socket.set_nonblocking(true).map_err(failed)
}

fn address_of(address: &UnixSocketAddr) -> Option<UnixAddress> {
    if let Some(path) = address.as_pathname() {
        return Some(UnixAddress::Path(path.to_owned()));
    }
    let name = std::str::from_utf8(address.as_abstract_name()?).ok()?;
    Some(UnixAddress::Abstract(name.into()))
}

fn is_same(one: &UnixAddress, other: &UnixAddress) -> bool {
    match (one, other) {
        (UnixAddress::Path(one), UnixAddress::Path(other)) => is_same_file(one, other),
        (one, other) => one == other,
    }
}

/// However it is spelled: systemd writes `/var/run` as `/run`, and a Tapfile may have relative paths.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let both = |resolve: fn(&Path) -> io::Result<path::PathBuf>| {
        resolve(one)
            .and_then(|one| Ok(one == resolve(other)?))
            .unwrap_or(false)
    };
    both(|path| path::absolute(path)) || both(Path::canonicalize)
}

fn shown(address: &UnixAddress) -> String {
    match address {
        UnixAddress::Path(path) => format!("unix://{}", path.display()),
        UnixAddress::Abstract(name) => format!("unix://@{name}"),
    }
}

// === impl Socket ===

impl Socket {
    fn unix(&self, wanted: &UnixAddress) -> Option<&UnixListener> {
        match &self.listening {
            Listening::Unix(address, listener) if is_same(address, wanted) => Some(listener),
            _ => None,
        }
    }

    fn tcp(&self, wanted: SocketAddr) -> Option<&TcpListener> {
        match &self.listening {
            Listening::Tcp(address, listener) if *address == wanted => Some(listener),
            _ => None,
        }
    }
}

impl Display for Socket {
    /// As a `listen` line says it, and the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listening {
            Listening::Unix(address, _) => f.write_str(&shown(address))?,
            Listening::Tcp(address, _) => write!(f, "tcp://{address}")?,
        }
        match &self.given.name {
            Some(name) => write!(f, " ({})", name.escape_debug()),
            None => Ok(()),
        }
    }
}

// === impl Given ===

impl Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inherited socket {}", self.place + 1)?;
        match &self.name {
            Some(name) => write!(f, " ({})", name.escape_debug()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
