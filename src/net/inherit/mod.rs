//! Listening sockets that the process was started with: systemd's socket activation (`sd_listen_fds(3)`).
//!
//! The parent process also keeps these sockets open, so senders can connect before the router runs and while it
//! restarts.

#[cfg(feature = "cli")]
use std::env;
use std::{
    fmt::{self, Display},
    io,
    net::{SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixSocketAddr, UnixListener},
    },
    path::{self, Path},
};

#[cfg(feature = "cli")]
use listenfd::ListenFd;
use socket2::SockRef;
use thiserror::Error;

use super::{Authority, BindError, BoundUnix, UnixAddress};

/// The sockets that the process inherited, each identified by its address.
///
/// Listeners use clones of these sockets. A socket stays in this list after its listener has ended, so that a later
/// listener can use it.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
}

/// The reason why an inherited socket cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// Neither TCP nor a unix stream socket.
    #[error("{0} is neither a unix stream socket nor TCP; use `ListenStream=` in the socket unit")]
    Kind(Given),
    /// A connection, not a listening socket.
    #[error("{0} does not listen; the socket unit must say `Accept=no`, which is the default")]
    NotListening(Given),
    /// A unix socket without a path or abstract name in UTF-8. A `listen` line cannot contain its address.
    #[error("{0} has no address that can be written in a `listen` line")]
    NoAddress(Given),
    /// Any other error.
    #[error("{given} cannot be used: {source}")]
    Io {
        /// The socket.
        given: Given,
        /// The operating system's error.
        source: io::Error,
    },
}

/// A socket with the number and name that the parent process gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its index among the inherited sockets, from 0.
    pub place: usize,
    /// `FileDescriptorName=` of the socket unit; systemd's default is the name of the unit.
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
    /// Takes the sockets that the environment describes, if `LISTEN_PID` is the id of this process. `LISTEN_FDS` is the
    /// number of sockets, descriptor 3 is the first socket, and `LISTEN_FDNAMES` lists their names. Child processes of
    /// this process do not inherit the sockets.
    ///
    /// This function removes variables from the environment and takes descriptors by number. Call it once, at the
    /// start, while the process has only one thread.
    ///
    /// # Errors
    /// If one of the sockets is not a listening stream socket.
    #[cfg(feature = "cli")]
    pub fn from_environment() -> Result<Self, InheritError> {
        // listenfd takes the sockets even without LISTEN_PID, although sd_listen_fds(3) requires the variable.
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
                return Err(InheritError::Kind(who));
            }
        }
        Ok(inherited)
    }

    /// Adds a unix socket.
    ///
    /// # Errors
    /// If it does not listen, or has no address.
    pub fn add_unix(&mut self, given: Given, listener: UnixListener) -> Result<(), InheritError> {
        check(&given, &SockRef::from(&listener))?;
        let address = listener.local_addr().map_err(given.failed())?;
        let Some(address) = address_of(&address) else {
            return Err(InheritError::NoAddress(given));
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
        check(&given, &SockRef::from(&listener))?;
        let address = listener.local_addr().map_err(given.failed())?;
        let listening = Listening::Tcp(address, listener);
        self.sockets.push(Socket { given, listening });
        Ok(())
    }

    /// Returns a clone of the unix socket bound to `address`, if there is one. Its file belongs to the parent process
    /// and is not touched.
    pub fn unix(&self, address: &UnixAddress) -> Option<Result<BoundUnix, BindError>> {
        let listener = self.sockets.iter().find_map(|socket| socket.unix(address));
        let taken = listener?.try_clone().and_then(BoundUnix::of_another);
        Some(taken.map_err(|source| BindError::io(address, source)))
    }

    /// Returns a clone of the TCP socket bound to `address`, if there is one. Port 0 matches no socket.
    pub fn tcp(&self, address: SocketAddr) -> Option<Result<tokio::net::TcpListener, BindError>> {
        let listener = self.sockets.iter().find_map(|socket| socket.tcp(address));
        let taken = listener?.try_clone();
        let taken = taken.and_then(tokio::net::TcpListener::from_std);
        Some(taken.map_err(|source| BindError::io(&address, source)))
    }

    /// Returns the sockets that no listener at these addresses uses. The kernel lets clients connect to them, but
    /// nothing accepts these connections.
    pub fn unused(&self, unix: &[&UnixAddress], tcp: &[SocketAddr]) -> Vec<String> {
        // If two sockets have the same address, only the first is used.
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

/// Checks that the socket listens, and makes it non-blocking. The backlog is not changed.
fn check(given: &Given, socket: &SockRef<'_>) -> Result<(), InheritError> {
    if !socket.is_listener().map_err(given.failed())? {
        return Err(InheritError::NotListening(given.clone()));
    }
    socket.set_nonblocking(true).map_err(given.failed())
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

/// Returns whether two paths lead to the same file, however they are spelled. For example, systemd writes `/var/run` as
/// `/run`, and a Tapfile can contain relative paths.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let both = |resolve: fn(&Path) -> io::Result<path::PathBuf>| {
        resolve(one)
            .and_then(|one| Ok(one == resolve(other)?))
            .unwrap_or(false)
    };
    both(|path| path::absolute(path)) || both(Path::canonicalize)
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
    /// Writes the address as in a `listen` line, then the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listening {
            Listening::Unix(address, _) => address.fmt(f)?,
            Listening::Tcp(address, _) => write!(f, "tcp://{}", Authority::from(*address))?,
        }
        match &self.given.name {
            Some(name) => write!(f, " ({})", name.escape_debug()),
            None => Ok(()),
        }
    }
}

// === impl Given ===

impl Given {
    fn failed(&self) -> impl FnOnce(io::Error) -> InheritError + '_ {
        |source| InheritError::Io {
            given: self.clone(),
            source,
        }
    }
}

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
