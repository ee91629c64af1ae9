//! Warnings about conditions that would keep `tapfan run` from starting on this machine: sockets that cannot be bound,
//! and folders that do not exist.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use procfs::{
    net::{TcpState, UnixState},
    process::{self, FDTarget, Process},
};

use super::spools::{Problem, problems, same_folders};
use crate::{
    config::{
        Admin, AdminAddress, Diagnostics, Endpoint, Listen, ListenAddress, Loaded, Part,
        UnixAddress,
    },
    net::{BindError, probe_tcp, probe_unix},
};

/// The sockets that processes of this machine listen on. Unix sockets of running tapfan routers are left out: such a
/// router probably uses the same Tapfile, so its sockets are not a conflict.
struct Taken {
    /// The paths of the listening unix sockets of other programs. An abstract name has an `@` before it.
    unix: Vec<PathBuf>,
    /// The TCP addresses that running tapfan routers listen on.
    of_routers: Vec<SocketAddr>,
}

/// Whether `tapfan run` by this user would start on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Start {
    Certain,
    /// It would not start at this moment. The other process may leave the socket, or pass it to the router, as systemd
    /// does.
    WhenFree,
    Refused,
}

/// The explanation in each warning about a condition that would keep `tapfan run` from starting.
pub(super) const REFUSED: &str = "`tapfan run` by this user would not start";

/// The explanation in each warning about an address that another process uses.
pub(super) const IN_USE: &str = "`tapfan run` would not start while another process has this address, unless that process is systemd and passes it to tapfan";

/// Returns the result of the warnings of [`check`].
pub(super) fn start(diagnostics: &Diagnostics) -> Start {
    let each = diagnostics.iter().map(|problem| match problem.cause() {
        Some(REFUSED) => Start::Refused,
        Some(IN_USE) => Start::WhenFree,
        _ => Start::Certain,
    });
    each.max().unwrap_or(Start::Certain)
}

/// Adds the warnings about this machine to a configuration that has no errors.
pub(super) fn check(loaded: &mut Loaded) {
    let Some(config) = loaded.config.clone() else {
        return;
    };
    let taken = Taken::on_this_machine();
    let is_running = process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .any(|it| is_router(&it));
    for (index, listen) in config.listeners.iter().enumerate() {
        if let Err(error) = taken.check_listener(listen) {
            loaded.warn(Part::Listener(index), error.to_string(), label(&error));
        }
    }
    for (index, sink) in config.sinks.iter().enumerate() {
        let bound = sink.bound().map(|address| Listen::new("", address));
        if let Some(Err(error)) = bound.map(|listen| taken.check_listener(&listen)) {
            loaded.warn(Part::Sink(index), error.to_string(), REFUSED);
        }
        if let Endpoint::File(pattern) = &sink.endpoint
            && let Some(problem) = unusable(pattern.folder())
        {
            let label = "no file can be written, and the frames wait";
            loaded.warn(Part::Sink(index), problem, label);
        }
        for problem in (sink.spool.iter()).flat_map(|it| problems(&sink.name, it, is_running)) {
            let (text, label) = match problem {
                Problem::Refuses(text) => (text, REFUSED),
                Problem::Warns(text) => (text, "the disk would be full before the spool is"),
            };
            loaded.warn(Part::Sink(index), text, label);
        }
    }
    for (index, problem) in same_folders(&config.sinks) {
        loaded.warn(Part::Sink(index), problem, REFUSED);
    }
    for (part, address) in admin_addresses(&config.admin) {
        if let Err(error) = taken.check_tcp(address) {
            loaded.warn(part, error.to_string(), label(&error));
        }
    }
}

fn label(error: &BindError) -> &'static str {
    match error {
        BindError::InUse { .. } | BindError::PortInUse(_) => IN_USE,
        _ => REFUSED,
    }
}

/// Returns the addresses in the `admin` and `probes` lines. Without an `admin` line, the default address is not
/// returned, because the router also starts if that address is in use.
fn admin_addresses(admin: &Admin) -> impl Iterator<Item = (Part, SocketAddr)> {
    let at = match admin.address {
        AdminAddress::At(address) => Some((Part::Admin, address)),
        _ => None,
    };
    let probes = admin.probes.map(|address| (Part::Probes, address));
    at.into_iter().chain(probes)
}

/// Returns the reason why a file sink cannot write to a folder; `None` if it can.
fn unusable(folder: &Path) -> Option<String> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Some(format!("the folder {shown} does not exist; create it"));
    }
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
        .err()
        .map(|error| format!("cannot write to the folder {shown}: {}", error.desc()))
}

// === impl Taken ===

impl Taken {
    fn on_this_machine() -> Self {
        let own = sockets_of_routers();
        let sockets = procfs::net::unix().unwrap_or_default();
        // Only sockets that listen have the state `UNCONNECTED`. The connections that they have accepted have the same
        // path, but another state.
        let listening = sockets
            .into_iter()
            .filter(|socket| socket.state == UnixState::UNCONNECTED);
        let others = listening.filter(|socket| !own.contains(&socket.inode));
        let tables = [procfs::net::tcp(), procfs::net::tcp6()];
        let tcp = tables.into_iter().flatten().flatten();
        let of_routers =
            tcp.filter(|socket| socket.state == TcpState::Listen && own.contains(&socket.inode));
        Self {
            unix: others.filter_map(|socket| socket.path).collect(),
            of_routers: of_routers.map(|socket| socket.local_address).collect(),
        }
    }

    fn check_listener(&self, listen: &Listen) -> Result<(), BindError> {
        match &listen.address {
            ListenAddress::Unix(UnixAddress::Path(path), permissions) => {
                probe_unix(path, permissions)?;
                self.check_unix(path)
            }
            ListenAddress::Unix(UnixAddress::Abstract(name), _) => {
                self.check_unix(Path::new(&format!("@{name}")))
            }
            ListenAddress::Tcp(address) | ListenAddress::Tls(address, _) => {
                self.check_tcp(*address)
            }
            ListenAddress::Remote(_) => Ok(()),
        }
    }

    fn check_unix(&self, path: &Path) -> Result<(), BindError> {
        if !self.unix.iter().any(|taken| taken == path) {
            return Ok(());
        }
        Err(BindError::InUse {
            path: path.to_owned(),
            by: None,
        })
    }

    fn check_tcp(&self, address: SocketAddr) -> Result<(), BindError> {
        match probe_tcp(address) {
            Err(BindError::PortInUse(_)) if self.is_of_router(address) => Ok(()),
            probed => probed,
        }
    }

    /// Returns whether a running tapfan router listens on this address, or on the same port of all addresses.
    fn is_of_router(&self, address: SocketAddr) -> bool {
        let mut of_routers = self.of_routers.iter();
        of_routers.any(|router| {
            let any = router.ip().is_unspecified() || address.ip().is_unspecified();
            router.port() == address.port() && (any || router.ip() == address.ip())
        })
    }
}

/// Returns the inodes of all sockets of the running `tapfan run` processes. Only root can see the sockets of another
/// user's process.
fn sockets_of_routers() -> HashSet<u64> {
    let processes = process::all_processes().into_iter().flatten().flatten();
    let routers = processes.filter(is_router);
    let opened = routers.filter_map(|process| process.fd().ok()).flatten();
    opened
        .filter_map(|opened| match opened.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect()
}

fn is_router(process: &Process) -> bool {
    let words = process.cmdline().unwrap_or_default();
    let program = words.first().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name == "tapfan") && words.iter().skip(1).any(|it| it == "run")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config;

    fn warnings(text: &str, taken: &Taken) -> Vec<String> {
        let config = config::parse("Tapfile".as_ref(), text, &|_| None);
        let config = config.config.expect("no errors");
        let listeners = config.listeners.iter();
        let refused = listeners.filter_map(|listen| taken.check_listener(listen).err());
        refused.map(|error| error.to_string()).collect()
    }

    #[test]
    fn a_socket_in_use_is_reported_unless_a_router_holds_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let text = format!("listen tcp://{address}\nlisten @held\nlisten @free\ndnstap @out");
        let mut taken = Taken {
            unix: vec!["@held".into()],
            of_routers: Vec::new(),
        };
        let said = warnings(&text, &taken);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("is in use"), "{said:?}");
        assert!(said[1].contains("@held is in use"), "{said:?}");
        taken.of_routers.push(address);
        let said = warnings(&text, &taken);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("@held is in use"), "{said:?}");
    }

    #[test]
    fn a_missing_folder_is_reported_at_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let text = format!("listen {path}/no/in.sock\ndnstap file://{path}/none/f.fstrm\n");
        let mut loaded = config::parse("Tapfile".as_ref(), &text, &|_| None);
        check(&mut loaded);
        let problems = loaded.diagnostics.iter();
        let lines: Vec<_> = problems
            .map(|problem| loaded.diagnostics.position(problem).map(|it| it.line))
            .collect();
        assert_eq!(lines, [Some(1), Some(2)], "{}", loaded.diagnostics);
        let summary = super::super::summary("Tapfile".as_ref(), &loaded.diagnostics);
        assert_eq!(
            summary,
            "Tapfile has 2 warnings; `tapfan run` by this user would not start"
        );
    }

    /// systemd listens on the addresses of the socket unit, and passes them to the router.
    #[test]
    fn an_address_in_use_does_not_certainly_keep_the_router_from_starting() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        for part in ["listen", "admin", "probes"] {
            let text = format!("listen @in\n{part} tcp://{address}\ndnstap @out");
            let text = text
                .replace("admin tcp://", "admin ")
                .replace("probes tcp://", "probes ");
            let mut loaded = config::parse("Tapfile".as_ref(), &text, &|_| None);
            check(&mut loaded);
            assert_eq!(start(&loaded.diagnostics), Start::WhenFree, "{part}");
            let summary = super::super::summary("Tapfile".as_ref(), &loaded.diagnostics);
            assert_eq!(
                summary,
                "Tapfile has 1 warning; `tapfan run` would not start while an address is in use"
            );
        }
    }
}
