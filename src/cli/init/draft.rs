//! A first Tapfile for a described machine.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::machine::{Found, Machine};
use crate::config::AdminAddress;

/// A Tapfile that is not written yet.
pub(super) struct Draft {
    pub(super) text: String,
    /// The folder of the sockets. It must exist when tapfan starts.
    pub(super) folder: PathBuf,
    /// The socket for each DNS server that runs.
    pub(super) servers: Vec<(Found, PathBuf)>,
    /// The socket of the sink, at which `tapfan dump` listens.
    pub(super) dump: PathBuf,
    /// The reason why a DNS server cannot connect to its socket; `None` if every server can.
    pub(super) out_of_reach: Option<String>,
    /// The address of the page.
    pub(super) page: Option<String>,
}

// === impl Draft ===

impl Draft {
    /// Writes the Tapfile. Takes all facts from `machine`.
    pub(super) fn new(machine: &Machine) -> Self {
        let folder = machine.socket_folder();
        let mut draft = Self {
            text: HEAD.to_owned(),
            dump: folder.join("dump.sock"),
            out_of_reach: machine.out_of_reach(&folder),
            folder,
            servers: Vec::new(),
            page: machine.admin.map(|address| format!("http://{address}/")),
        };
        draft.listeners(machine);
        draft.sinks();
        draft.admin(machine);
        draft
    }

    /// Adds a listener for each DNS server. Each server gets its own socket, because the servers run as different
    /// groups.
    fn listeners(&mut self, machine: &Machine) {
        self.line("# Where dnstap comes in: the DNS server writes to this socket.");
        if let Some(why) = self.out_of_reach.clone() {
            self.line(&format!("# {why}"));
        }
        let several = machine.servers.len() > 1;
        for found in &machine.servers {
            let name = found.server.recipe().name;
            let socket = if several {
                let name = name.split(' ').next_back().unwrap_or(name).to_lowercase();
                self.folder.join(format!("{name}.sock"))
            } else {
                self.folder.join("dnstap.sock")
            };
            if several {
                self.line(&format!("\n# For {name}."));
            }
            self.listener(&socket, found.group.as_deref(), machine);
            self.servers.push((found.clone(), socket));
        }
        if machine.servers.is_empty() {
            let socket = self.folder.join("dnstap.sock");
            self.line(&format!(
                "listen {} {{\n    # group bind   # the group of the DNS server, so that it may connect\n}}",
                url(&socket)
            ));
        }
    }

    fn listener(&mut self, socket: &Path, group: Option<&str>, machine: &Machine) {
        let url = url(socket);
        let Some(group) = group else {
            self.line(&format!("listen {url}"));
            return;
        };
        let option = if machine.may_give_to(group) {
            format!("group {group}")
        } else {
            format!("# group {group}   # needs root, or a user in this group")
        };
        self.line(&format!("listen {url} {{\n    {option}\n}}"));
    }

    fn sinks(&mut self) {
        let dump = url(&self.dump);
        let show = self.dump.display().to_string();
        self.line(&format!(
            "\n# Where it goes. To see the frames, run `tapfan dump -u {show}`.\n\
             # Until then, the queue keeps as many frames as fit into it, and later ones are dropped.\n\
             dnstap {dump} full {{\n    name terminal\n}}\n\n\
             # A collector on the network. Each collector is one such line.\n\
             # dnstap tcp://collector.example.net:6000 full\n\n\
             # Files, for a folder that exists.\n\
             # dnstap file:///var/log/tapfan/%Y%m%d-%H%M%S.fstrm full {{\n\
             #     rotate 1h\n#     keep_files 24\n# }}"
        ));
    }

    fn admin(&mut self, machine: &Machine) {
        self.line("\n# The page, `tapfan status`, probes and metrics.");
        match machine.admin {
            Some(address) if address == AdminAddress::DEFAULT => {
                self.line(&format!("# admin {address}   # this is the default"));
            }
            Some(address) => self.line(&format!("admin {address}   # the default port is in use")),
            None => self.line("admin off   # every port that was tried is in use"),
        }
    }

    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{text}");
    }
}

// === impl Machine ===

impl Machine {
    /// Returns whether the user may give a socket to a group.
    fn may_give_to(&self, group: &str) -> bool {
        self.is_root || self.groups.iter().any(|own| own == group)
    }

    /// Returns the reason why a DNS server cannot connect to a socket in `folder`; `None` if every server can.
    fn out_of_reach(&self, folder: &Path) -> Option<String> {
        let is_out = |found: &&Found| {
            let group = found.group.as_deref();
            !found.may_enter || group.is_some_and(|group| !self.may_give_to(group))
        };
        let out = self.servers.iter().filter(is_out);
        let mut names: Vec<_> = out.map(|found| found.server.recipe().name).collect();
        if self.servers.is_empty() && !self.is_open {
            names.push("A DNS server of another user");
        }
        if names.is_empty() {
            return None;
        }
        Some(format!(
            "{} cannot connect to a socket in {}; for that, run `tapfan init` and `tapfan run` as root.",
            names.join(" and "),
            folder.display()
        ))
    }
}

const HEAD: &str = "# The configuration of tapfan. `tapfan check` checks it; docs/configuration.md and Tapfile(5) describe it.
# A running router applies a change of this file by itself.

";

/// Returns the socket as it is written in the Tapfile.
fn url(socket: &Path) -> String {
    let url = format!("unix://{}", socket.display());
    if url.contains([' ', '#']) {
        format!("\"{url}\"")
    } else {
        url
    }
}

#[cfg(test)]
mod tests {
    use super::{super::recipes::Server, *};
    use crate::config;

    fn machine(servers: Vec<Found>) -> Machine {
        Machine {
            servers,
            is_root: true,
            groups: vec!["root".into()],
            runtime: "/run".into(),
            is_open: true,
            admin: Some(AdminAddress::DEFAULT),
        }
    }

    fn found(server: Server, group: &str) -> Found {
        Found {
            server,
            group: Some(group.into()),
            may_enter: true,
        }
    }

    /// Returns the Tapfile for a machine. Panics if the Tapfile causes an error or a warning.
    fn text(machine: &Machine) -> String {
        let draft = Draft::new(machine);
        let loaded = config::parse("Tapfile".as_ref(), &draft.text, &|_| None);
        assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
        draft.text
    }

    #[test]
    fn a_server_that_runs_gets_access() {
        insta::assert_snapshot!(text(&machine(vec![found(Server::Bind, "bind")])));
    }

    #[test]
    fn two_servers_get_a_socket_each_and_the_port_is_free() {
        let mut machine = machine(vec![
            found(Server::Unbound, "unbound"),
            found(Server::Recursor, "pdns"),
        ]);
        machine.admin = Some(([127, 0, 0, 1], 9181).into());
        let text = text(&machine);
        for part in [
            "listen unix:///run/tapfan/unbound.sock {\n    group unbound\n}",
            "listen unix:///run/tapfan/recursor.sock {\n    group pdns\n}",
            "\nadmin 127.0.0.1:9181 ",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_user_gets_a_folder_of_the_session_and_no_foreign_group() {
        let mut machine = machine(vec![found(Server::Knot, "knot")]);
        machine.is_root = false;
        machine.groups = vec!["me".into()];
        machine.runtime = "/run/user/1000".into();
        let refused = text(&machine);
        assert!(refused.contains("listen unix:///run/user/1000/tapfan/dnstap.sock"));
        assert!(refused.contains("    # group knot "), "{refused}");
        assert!(
            refused.contains("# Knot DNS cannot connect to a socket in "),
            "{refused}"
        );
        machine.groups.push("knot".into());
        let given = text(&machine);
        assert!(given.contains("    group knot\n"), "{given}");
        assert!(!given.contains("cannot connect"), "{given}");
        machine.servers[0].may_enter = false;
        assert!(text(&machine).contains("# Knot DNS cannot connect to a socket in "));
    }

    #[test]
    fn a_machine_without_a_server_gets_a_tapfile_too() {
        let mut machine = machine(Vec::new());
        machine.admin = None;
        machine.runtime = "/home/me/my taps".into();
        machine.is_open = false;
        let text = text(&machine);
        assert!(text.contains("listen \"unix:///home/me/my taps/tapfan/dnstap.sock\" {"));
        assert!(text.contains("admin off"), "{text}");
        assert!(text.contains("# A DNS server of another user cannot connect to "));
    }
}
