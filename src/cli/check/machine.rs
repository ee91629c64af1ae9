//! Warnings about what would keep `tapfan run` from starting on this machine: sockets that cannot be bound, and folders
//! that do not exist.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use procfs::{net::UnixState, process};

use crate::{
    config::{Admin, AdminAddress, Endpoint, Listen, ListenAddress, Loaded, Part, UnixAddress},
    net::{BindError, probe_tcp, probe_unix},
};

/// The sockets that other processes listen on.
struct Taken {
    /// True if a router runs on this machine. Its sockets are probably those of the Tapfile, so they are no problem.
    by_router: bool,
    /// The paths of unix sockets, as they were bound. An abstract name has an `@` before it.
    unix: Vec<PathBuf>,
}

const REFUSED: &str = "`tapfan run` by this user would not start";

/// Adds the warnings to a configuration without errors.
pub(super) fn check(loaded: &mut Loaded) {
    let Some(config) = loaded.config.clone() else {
        return;
    };
    let taken = Taken::on_this_machine();
    for (index, listen) in config.listeners.iter().enumerate() {
        if let Err(error) = taken.check_listener(listen) {
            loaded.warn(Part::Listener(index), error.to_string(), REFUSED);
        }
    }
    for (index, sink) in config.sinks.iter().enumerate() {
        if let Endpoint::File(pattern) = &sink.endpoint
            && let Some(problem) = unusable(pattern.folder())
        {
            let label = "no file can be written, and the frames wait";
            loaded.warn(Part::Sink(index), problem, label);
        }
    }
    for (part, address) in admin_addresses(&config.admin) {
        if let Err(error) = taken.check_tcp(address) {
            loaded.warn(part, error.to_string(), REFUSED);
        }
    }
}

/// The addresses of the admin endpoint that must be free. Without an `admin` line, the router starts without the
/// endpoint if the default address is in use.
fn admin_addresses(admin: &Admin) -> impl Iterator<Item = (Part, SocketAddr)> {
    let at = match admin.address {
        AdminAddress::At(address) => Some((Part::Admin, address)),
        _ => None,
    };
    let probes = admin.probes.map(|address| (Part::Probes, address));
    at.into_iter().chain(probes)
}

/// The reason why a file sink cannot write to a folder.
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
        let sockets = procfs::net::unix().unwrap_or_default();
        // A listening socket is not connected itself. The connections that it has accepted have the same path.
        let listening = sockets
            .into_iter()
            .filter(|socket| socket.state == UnixState::UNCONNECTED);
        Self {
            by_router: router_runs(),
            unix: listening.filter_map(|socket| socket.path).collect(),
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
        }
    }

    fn check_unix(&self, path: &Path) -> Result<(), BindError> {
        if self.by_router || !self.unix.iter().any(|taken| taken == path) {
            return Ok(());
        }
        Err(BindError::InUse {
            path: path.to_owned(),
            by: None,
        })
    }

    fn check_tcp(&self, address: SocketAddr) -> Result<(), BindError> {
        match probe_tcp(address) {
            Err(BindError::PortInUse(_)) if self.by_router => Ok(()),
            probed => probed,
        }
    }
}

/// Returns whether a process of this machine is `tapfan run`.
fn router_runs() -> bool {
    let runs = |process: process::Process| {
        let words = process.cmdline().unwrap_or_default();
        let program = words.first().map(Path::new).and_then(Path::file_name);
        program.is_some_and(|name| name == "tapfan") && words.iter().skip(1).any(|it| it == "run")
    };
    let processes = process::all_processes().into_iter().flatten();
    processes.flatten().any(runs)
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
    fn a_socket_in_use_is_reported_unless_a_router_runs() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let text = format!("listen tcp://{address}\nlisten @held\nlisten @free\ndnstap @out");
        let taken = |by_router| Taken {
            by_router,
            unix: vec!["@held".into()],
        };
        let said = warnings(&text, &taken(false));
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("is in use"), "{said:?}");
        assert!(said[1].contains("@held is in use"), "{said:?}");
        assert_eq!(warnings(&text, &taken(true)), Vec::<String>::new());
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
    }
}
