//! The facts about a machine on which a first Tapfile depends.

use std::{net::SocketAddr, path::PathBuf};

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
    /// The folder in which the user may create a folder for sockets.
    pub(super) runtime: PathBuf,
    /// A free address for the admin endpoint. `None` if no address was found.
    pub(super) admin: Option<SocketAddr>,
}

/// A DNS server that runs on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) server: Server,
    /// The group of its process. `None` if it runs as root, or if the group has no name.
    pub(super) group: Option<String>,
}

/// The names of processes.
const PROGRAMS: [(&str, Server); 6] = [
    ("named", Server::Bind),
    ("unbound", Server::Unbound),
    ("knotd", Server::Knot),
    ("dnsdist", Server::Dnsdist),
    ("pdns_recursor", Server::Recursor),
    ("coredns", Server::Coredns),
];

/// The number of ports from the default one on at which the admin endpoint may be.
const PORTS: u16 = 10;

// === impl Machine ===

impl Machine {
    /// Looks at this machine.
    pub(super) fn look() -> Self {
        let processes = process::all_processes().into_iter().flatten().flatten();
        let mut servers: Vec<Found> = Vec::new();
        for found in processes.filter_map(|process| Found::of(&process)) {
            if !servers.iter().any(|known| known.server == found.server) {
                servers.push(found);
            }
        }
        servers.sort_by_key(|found| found.server as usize);
        let is_root = geteuid().is_root();
        let own = getgroups().unwrap_or_default();
        Self {
            servers,
            is_root,
            groups: own
                .into_iter()
                .chain([getegid()])
                .filter_map(name_of)
                .collect(),
            runtime: runtime(is_root),
            admin: free_admin(),
        }
    }
}

/// The folder for the folder of sockets: `/run` for root, and the runtime folder of another user. A user without one
/// gets the working directory.
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
    fn of(process: &Process) -> Option<Self> {
        let status = process.status().ok()?;
        let (_, server) = PROGRAMS.iter().find(|(name, _)| *name == status.name)?;
        let group = Some(status.egid).filter(|group| *group != 0);
        Some(Self {
            server: *server,
            group: group.map(Gid::from_raw).and_then(name_of),
        })
    }
}
