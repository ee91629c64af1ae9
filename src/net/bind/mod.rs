//! Listening sockets: unix sockets with their permissions, and TCP.

mod admitted;
mod error;
#[cfg(feature = "cli")]
mod probe;
mod socket_file;

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixListener as StdListener,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    unistd::{Group, User, getegid, geteuid},
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener, UnixStream};

pub(crate) use self::admitted::Admitted;
pub use self::error::BindError;
#[cfg(feature = "cli")]
pub(crate) use self::probe::{probe_tcp, probe_unix};
use self::socket_file::{Identity, SocketFile};
use super::{UNIX_PATH_LIMIT, UnixAddress, socket::abstract_path};
use crate::files::folder;

/// The permissions of a unix socket's file. Ignored for an abstract socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPermissions {
    /// Permission bits; `0o660` by default.
    pub mode: u32,
    /// A user's name or number; `None` keeps the process's own user.
    pub owner: Option<String>,
    /// A group's name or number; `None` keeps the process's own group.
    pub group: Option<String>,
}

/// A listening unix socket. Dropping this value removes the socket's file, unless another file is now at the path.
#[derive(Debug)]
pub struct BoundUnix {
    /// `None` for an abstract socket, or if the file belongs to another process.
    file: Option<SocketFile>,
    listener: UnixListener,
}

/// [`UnixPermissions`] with the names looked up.
#[derive(Debug)]
struct Resolved {
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
}

/// New permissions for the file of a socket that is already bound.
#[derive(Debug)]
pub struct PermissionChange {
    /// The permissions as configured.
    pub(crate) wanted: UnixPermissions,
    resolved: Resolved,
}

/// The backlog: the number of connections that can wait to be accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// In a directory with this bit, new files get the directory's group (inode(7)).
const SET_GROUP_ID: u32 = 0o2000;

/// Binds a unix socket and listens.
///
/// Replaces a socket file that no process listens on any more. A live socket or a file of another kind is an error.
/// Mode, owner and group are set between bind(2) and listen(2), while connections are still refused, so no client can
/// connect under other permissions.
///
/// Blocks briefly to look up users and groups. Must be called inside a tokio runtime.
///
/// # Errors
/// See [`BindError`]. If there is an error, no socket file is left behind.
pub(crate) fn bind_unix(
    address: &UnixAddress,
    permissions: &UnixPermissions,
) -> Result<BoundUnix, BindError> {
    match address {
        UnixAddress::Path(path) => bind_path(path, permissions),
        UnixAddress::Abstract(name) => bind_abstract(name),
    }
}

/// Binds a TCP port and listens. Port 0 lets the system choose. `[::]` accepts IPv4 as well, and if the kernel has no
/// IPv6, only IPv4.
///
/// Must be called inside a tokio runtime.
pub(crate) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = bound_tcp(address, new_tcp)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| BindError::from_tcp(address, source))
}

/// Creates a socket that is bound to `address`. `new` creates a socket that is not bound yet.
fn bound_tcp(address: SocketAddr, new: fn(Domain) -> io::Result<Socket>) -> io::Result<Socket> {
    let (address, socket) = match new(Domain::for_address(address)) {
        // A kernel with `ipv6.disable=1` creates no sockets for IPv6. All its addresses are those of IPv4.
        Err(error) if is_no_family(&error) && address.ip() == Ipv6Addr::UNSPECIFIED => {
            let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            (every, new(Domain::IPV4)?)
        }
        socket => (address, socket?),
    };
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn new_tcp(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM, None)
}

fn is_no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

fn bind_path(path: &Path, permissions: &UnixPermissions) -> Result<BoundUnix, BindError> {
    let length = path.as_os_str().len();
    if length > UNIX_PATH_LIMIT {
        return Err(BindError::TooLong {
            path: path.to_owned(),
            length,
        });
    }
    let failed = |source| BindError::from_unix(path, source);
    if path.file_name().is_none() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let permissions = Resolved::new(permissions)?;

    remove_stale(path)?;
    let address = SockAddr::unix(path).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    let replaced = || BindError::Replaced(path.to_owned());
    let file = SocketFile::of(path).map_err(failed)?.ok_or_else(replaced)?;
    permissions.set(&file)?;
    let listener = listen(socket).map_err(failed)?;
    // Before listen(2) the file looks stale, so another tapfan that starts at the same moment may have replaced it.
    if !file.is_there() {
        return Err(BindError::InUse {
            path: path.to_owned(),
            by: holder(&address).ok().flatten(),
        });
    }
    Ok(BoundUnix {
        file: Some(file),
        listener,
    })
}

fn bind_abstract(name: &str) -> Result<BoundUnix, BindError> {
    if name.len() > UNIX_PATH_LIMIT {
        return Err(BindError::TooLong {
            path: abstract_shown(name),
            length: name.len(),
        });
    }
    let failed = |source| BindError::from_unix(&abstract_shown(name), source);
    let address = SockAddr::unix(abstract_path(name)).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    match socket.bind(&address) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return Err(BindError::InUse {
                path: abstract_shown(name),
                by: holder(&address).ok().flatten(),
            });
        }
        Err(error) => return Err(failed(error)),
    }
    let listener = listen(socket).map_err(failed)?;
    Ok(BoundUnix {
        file: None,
        listener,
    })
}

fn abstract_shown(name: &str) -> PathBuf {
    format!("@{name}").into()
}

fn listen(socket: Socket) -> io::Result<UnixListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Removes a stale socket file. Anything else at `path` is an error.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::from_unix(path, source);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match holder(&SockAddr::unix(path).map_err(failed)?) {
        Ok(by) => Err(BindError::InUse {
            path: path.to_owned(),
            by,
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // Removes only the file that was found stale. Another process may have created a new file after the check.
            match fs::symlink_metadata(path) {
                Ok(now) if Identity::of(&now) == Identity::of(&metadata) => {
                    fs::remove_file(path).map_err(failed)
                }
                _ => Ok(()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Returns the process that listens on a unix socket, if the kernel reports one. Fails if none listens.
fn holder(address: &SockAddr) -> io::Result<Option<i32>> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => {
            let peer = UnixStream::from_std(probe.into())?.peer_cred()?;
            // 0 means that the process is outside our PID namespace.
            Ok(peer.pid().filter(|pid| *pid > 0))
        }
        // The backlog is full, or this is not a stream socket. In both cases, a process has the socket open, but the
        // kernel does not report which process.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => Ok(None),
        Err(error) => Err(error),
    }
}

fn user_id(owner: &str) -> Result<u32, BindError> {
    match User::from_name(owner) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => owner
            .parse()
            .map_err(|_| BindError::UnknownUser(owner.to_owned())),
    }
}

fn group_id(group: &str) -> Result<u32, BindError> {
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => group
            .parse()
            .map_err(|_| BindError::UnknownGroup(group.to_owned())),
    }
}

// === impl UnixPermissions ===

impl Default for UnixPermissions {
    /// Allows the process's own user and group to read and write.
    fn default() -> Self {
        Self {
            mode: 0o660,
            owner: None,
            group: None,
        }
    }
}

// === impl Resolved ===

impl Resolved {
    fn new(permissions: &UnixPermissions) -> Result<Self, BindError> {
        Ok(Self {
            mode: permissions.mode,
            owner: permissions.owner.as_deref().map(user_id).transpose()?,
            group: permissions.group.as_deref().map(group_id).transpose()?,
        })
    }

    fn set(&self, file: &SocketFile) -> Result<(), BindError> {
        let Self { mode, owner, group } = *self;
        let path = || file.path.clone();
        file.set_mode(mode).map_err(|source| BindError::Mode {
            path: path(),
            source,
        })?;
        if owner.is_some() || group.is_some() {
            let set = file.set_owner(owner, group);
            set.map_err(|source| BindError::Ownership {
                path: path(),
                source,
            })?;
        }
        Ok(())
    }
}

// === impl PermissionChange ===

impl PermissionChange {
    /// Looks up the user and the group. `None` for an abstract socket, which has no permissions. If no user or group is
    /// configured, the file gets the user and group of a newly created socket.
    pub fn new(
        address: &UnixAddress,
        permissions: &UnixPermissions,
    ) -> Result<Option<Self>, BindError> {
        let UnixAddress::Path(path) = address else {
            return Ok(None);
        };
        let wanted = permissions.clone();
        let mut permissions = Resolved::new(permissions)?;
        permissions.owner.get_or_insert(geteuid().as_raw());
        if permissions.group.is_none() {
            let folder = fs::metadata(folder(path));
            let folder = folder.map_err(|source| BindError::from_unix(path, source))?;
            permissions.group = Some(if folder.mode() & SET_GROUP_ID == 0 {
                getegid().as_raw()
            } else {
                folder.gid()
            });
        }
        Ok(Some(Self {
            wanted,
            resolved: permissions,
        }))
    }
}

// === impl BoundUnix ===

impl BoundUnix {
    /// Wraps a listening socket whose file belongs to another process.
    pub(super) fn of_another(listener: StdListener) -> io::Result<Self> {
        Ok(Self {
            file: None,
            listener: UnixListener::from_std(listener)?,
        })
    }

    /// Returns whether this process created a file for the socket. An abstract or inherited socket has no such file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Checks that the socket's path still leads to the socket's file.
    pub fn check_file(&self) -> Result<(), BindError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if file.is_there() {
            return Ok(());
        }
        let path = file.path.clone();
        Err(if file.is_path_taken() {
            BindError::Replaced(path)
        } else {
            BindError::Removed(path)
        })
    }

    /// Changes the permissions of the socket's file. Never changes the permissions of another file at the same path.
    pub fn change_permissions(&self, change: &PermissionChange) -> Result<(), BindError> {
        self.check_file()?;
        match &self.file {
            Some(file) => change.resolved.set(file),
            None => Ok(()),
        }
    }

    /// Waits for a connection. Cancel safe.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests;
