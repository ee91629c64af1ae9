//! The reasons why a socket cannot be bound, in an operator's words.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::super::{Endpoint, UNIX_PATH_LIMIT};
use crate::files::folder;

/// The reason why a socket cannot be bound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is one to which tapfan connects, so it has no socket here.
    #[error("{0} is the address of a server to which tapfan connects; no socket is bound there")]
    Remote(Endpoint),
    /// Another process listens on the unix socket.
    #[error("{} is in use{}; stop that process, or use another path", path.display(), by_whom(*by))]
    InUse {
        /// The socket's path, or an `@` and the abstract name.
        path: PathBuf,
        /// The process that listens, if the kernel reports it.
        by: Option<i32>,
    },
    /// Something that is not a socket is at the path of the unix socket.
    #[error("{} exists and is not a socket; remove it, or use another path", .0.display())]
    NotASocket(PathBuf),
    /// Another process has removed the socket's file.
    #[error("{} was removed by another process", .0.display())]
    Removed(PathBuf),
    /// Another process has replaced the socket's file.
    #[error("{} is no longer the socket of this router: another process has put something else in its place", .0.display())]
    Replaced(PathBuf),
    /// The permission bits of the socket's file could not be changed.
    #[error("cannot change the mode of the socket {}: {source}; is /proc mounted?", path.display())]
    Mode {
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The path does not fit into a socket address.
    #[error("the socket path {} has {length} bytes; the limit is {UNIX_PATH_LIMIT}", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length, in bytes.
        length: usize,
    },
    /// The folder of the socket's path does not exist.
    #[error("cannot create the socket {}: the folder {} does not exist; create it first", path.display(), folder.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The process has no permission to write to the folder, or to replace the stale socket there.
    #[error("cannot create the socket {}: this process has no permission to write to {}", path.display(), folder.display())]
    FolderDenied {
        /// The path.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// No such user.
    #[error("there is no user \"{0}\"; write the name or number of a user")]
    UnknownUser(String),
    /// No such group.
    #[error(
        "there is no group \"{0}\"; write the name or number of a group to which the user of tapfan belongs (with systemd, name the group in `SupplementaryGroups=` of the unit)"
    )]
    UnknownGroup(String),
    /// The socket's owner or group could not be changed.
    #[error("cannot change the owner or group of the socket {}: {source}; only root can change the owner, and another user can choose only one of its own groups (with systemd, name the group in `SupplementaryGroups=` of the unit)", path.display())]
    Ownership {
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process listens on the port.
    #[error("{0} is in use; `ss -ltnp 'sport = :{port}'` shows the process", port = .0.port())]
    PortInUse(SocketAddr),
    /// The machine does not have the address.
    #[error("{0} cannot be bound: no interface of this machine has the address {ip}", ip = .0.ip())]
    NoSuchAddress(SocketAddr),
    /// The process has no permission to bind the port.
    #[error(
        "{0} cannot be bound: ports below 1024 need CAP_NET_BIND_SERVICE; use a higher port or grant it"
    )]
    PortDenied(SocketAddr),
    /// This router listens there already.
    #[error(
        "{address} is the socket of {holder} in this router until a reload removes it; remove it and add the new socket in two reloads, or restart tapfan"
    )]
    Own {
        /// The path or address.
        address: String,
        /// The name of the listener or sink that has the socket.
        holder: Arc<str>,
    },
    /// Any other error.
    #[error("{address} cannot be bound: {source}")]
    Io {
        /// The path or address.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
}

// === impl BindError ===

impl BindError {
    pub(super) fn from_unix(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let folder = folder(&path).to_owned();
        match source.kind() {
            // Another process bound the path after the file was checked.
            io::ErrorKind::AddrInUse => Self::InUse { path, by: None },
            io::ErrorKind::NotFound => Self::NoFolder { path, folder },
            io::ErrorKind::PermissionDenied => Self::FolderDenied { path, folder },
            _ => Self::io(&path.display(), source),
        }
    }

    pub(super) fn from_tcp(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse(address),
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress(address),
            io::ErrorKind::PermissionDenied => Self::PortDenied(address),
            _ => Self::io(&address, source),
        }
    }

    /// Returns the error of a socket that may be in use by this router. `holder` is the name of a listener or sink of this
    /// router that has the socket or one that overlaps with it.
    pub(crate) fn held_by(self, holder: Option<Arc<str>>) -> Self {
        let address = match &self {
            Self::InUse { path, .. } => path.display().to_string(),
            Self::PortInUse(address) => address.to_string(),
            _ => return self,
        };
        match holder {
            Some(holder) => Self::Own { address, holder },
            None => self,
        }
    }

    pub(crate) fn io(address: &impl ToString, source: io::Error) -> Self {
        let address = address.to_string();
        Self::Io { address, source }
    }
}

fn by_whom(pid: Option<i32>) -> String {
    match pid {
        None => String::new(),
        Some(pid) => match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!(" by {} (pid {pid})", name.trim_end().escape_debug()),
            Err(_) => format!(" by pid {pid}"),
        },
    }
}
