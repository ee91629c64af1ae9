//! The facts about a machine that `tapfan init` needs for a first Tapfile.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group, getegid, geteuid, getgroups};
use procfs::process::{self, Process};

use super::recipes::Server;
use crate::{config::AdminAddress, net::probe_tcp};

/// A description of the machine, and of the user that will run tapfan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// The DNS servers that run, each kind once.
    pub(super) servers: Vec<Found>,
    pub(super) is_root: bool,
    /// The names of the user's groups.
    pub(super) groups: Vec<String>,
    /// The folder in which the user can create a folder for the sockets.
    pub(super) runtime: PathBuf,
    /// True if every user may enter that folder.
    pub(super) is_open: bool,
    /// A free address for the admin endpoint. `None` if no address was found.
    pub(super) admin: Option<SocketAddr>,
}

/// A DNS server that runs on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) server: Server,
    /// The group of the server's process. `None` if the server runs as root, or if the group has no name.
    pub(super) group: Option<String>,
    /// True if the user of the server's process may enter the [folder](Machine::runtime) of the sockets.
    pub(super) may_enter: bool,
}

/// The identity of a process, for the permissions of files.
#[derive(Debug, Clone)]
struct Identity {
    user: u32,
    groups: Vec<u32>,
}

/// The process name of each DNS server.
const PROGRAMS: [(&str, Server); 6] = [
    ("named", Server::Bind),
    ("unbound", Server::Unbound),
    ("knotd", Server::Knot),
    ("dnsdist", Server::Dnsdist),
    ("pdns_recursor", Server::Recursor),
    ("coredns", Server::Coredns),
];

/// The number of ports that are tried for the admin endpoint, beginning with the default port.
const PORTS: u16 = 10;

// === impl Machine ===

impl Machine {
    /// Collects the facts about this machine.
    pub(super) fn look() -> Self {
        let is_root = geteuid().is_root();
        let runtime = runtime(is_root);
        let processes = process::all_processes().into_iter().flatten().flatten();
        let mut servers: Vec<Found> = Vec::new();
        for found in processes.filter_map(|process| Found::of(&process, &runtime)) {
            if !servers.iter().any(|known| known.server == found.server) {
                servers.push(found);
            }
        }
        servers.sort_by_key(|found| found.server as usize);
        let own = getgroups().unwrap_or_default();
        Self {
            servers,
            is_root,
            groups: own
                .into_iter()
                .chain([getegid()])
                .filter_map(name_of)
                .collect(),
            is_open: Identity::NOBODY.may_enter(&runtime),
            runtime,
            admin: free_admin(),
        }
    }

    /// Returns the folder for the sockets. It is called `tapfan`, or `tapfan-sockets` if there is a file `tapfan`: the
    /// working directory may contain the program itself.
    pub(super) fn socket_folder(&self) -> PathBuf {
        let folder = self.runtime.join("tapfan");
        if folder.is_file() {
            return self.runtime.join("tapfan-sockets");
        }
        folder
    }
}

/// Returns the folder in which the folder of the sockets is created: `/run` for root, and `$XDG_RUNTIME_DIR` for
/// another user. If that variable names no folder, the working directory is used.
fn runtime(is_root: bool) -> PathBuf {
    if is_root {
        return "/run".into();
    }
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    given
        .filter(|folder| folder.is_absolute() && folder.is_dir())
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_else(|| ".".into())
}

fn free_admin() -> Option<SocketAddr> {
    let default = AdminAddress::DEFAULT;
    let ports = (0..PORTS).filter_map(|more| default.port().checked_add(more));
    let mut addresses = ports.map(|port| SocketAddr::new(default.ip(), port));
    addresses.find(|address| probe_tcp(*address).is_ok())
}

fn name_of(group: Gid) -> Option<String> {
    Some(Group::from_gid(group).ok()??.name)
}

// === impl Found ===

impl Found {
    fn of(process: &Process, runtime: &Path) -> Option<Self> {
        let status = process.status().ok()?;
        let (_, server) = PROGRAMS.iter().find(|(name, _)| *name == status.name)?;
        let group = Some(status.egid).filter(|group| *group != 0);
        let mut groups = status.groups;
        groups.push(status.egid);
        let identity = Identity {
            user: status.euid,
            groups,
        };
        Some(Self {
            server: *server,
            group: group.map(Gid::from_raw).and_then(name_of),
            may_enter: identity.may_enter(runtime),
        })
    }
}

// === impl Identity ===

impl Identity {
    /// A user that owns no file and is in no group.
    const NOBODY: Self = Self {
        user: u32::MAX,
        groups: Vec::new(),
    };

    /// Returns whether the user may enter a folder and every folder above it. Checks only the permission bits, not
    /// access control lists.
    fn may_enter(&self, folder: &Path) -> bool {
        let Ok(folder) = fs::canonicalize(folder) else {
            return false;
        };
        folder.ancestors().all(|folder| {
            fs::metadata(folder).is_ok_and(|about| {
                let bit = if about.uid() == self.user {
                    0o100
                } else if self.groups.contains(&about.gid()) {
                    0o010
                } else {
                    0o001
                };
                self.user == 0 || about.mode() & bit != 0
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_closed_folder_above_keeps_other_users_out() {
        let outer = tempfile::tempdir().expect("a folder");
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).expect("the folder is ours");
        let set = |path: &Path, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(path, mode).expect("the folder is ours");
        };
        set(&inner, 0o755);
        let about = fs::metadata(&inner).expect("a folder");
        let owner = Identity {
            user: about.uid(),
            groups: Vec::new(),
        };
        let member = Identity {
            user: u32::MAX,
            groups: vec![about.gid()],
        };
        for (mode, of_group, of_others) in [
            (0o755, true, true),
            (0o750, true, false),
            (0o700, false, false),
        ] {
            set(outer.path(), mode);
            assert!(owner.may_enter(&inner));
            assert_eq!(member.may_enter(&inner), of_group, "{mode:o}");
            assert_eq!(Identity::NOBODY.may_enter(&inner), of_others, "{mode:o}");
        }
    }
}
