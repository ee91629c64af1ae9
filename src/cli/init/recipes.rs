//! The configuration lines for each DNS server, and the lines of the Tapfile that belong to them. README.md has the
//! same lines, with explanations.

use clap::ValueEnum;

/// A DNS server, or a place where DNS servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Server {
    Coredns,
    Bind,
    Unbound,
    Knot,
    Dnsdist,
    Recursor,
    Kubernetes,
}

/// The lines for one DNS server.
pub(super) struct Recipe {
    /// The name of the server, which is also its heading in README.md.
    pub(super) name: &'static str,
    /// The configuration file of the server, which needs `lines`.
    pub(super) file: &'static str,
    /// The lines to add to `file`.
    pub(super) lines: &'static str,
    pub(super) tapfile: &'static str,
    /// Further steps and facts for the user. README.md has the same sentences. Empty if there are none.
    pub(super) note: &'static str,
    /// The `AppArmor` profile of the server on Debian and Ubuntu, if there is one.
    pub(super) profile: Option<&'static str>,
}

/// The path of the socket in the recipes.
pub(super) const SOCKET: &str = "/run/tapfan/dnstap.sock";

// === impl Server ===

impl Server {
    pub(super) fn recipe(self) -> &'static Recipe {
        match self {
            Self::Coredns => &COREDNS,
            Self::Bind => &BIND,
            Self::Unbound => &UNBOUND,
            Self::Knot => &KNOT,
            Self::Dnsdist => &DNSDIST,
            Self::Recursor => &RECURSOR,
            Self::Kubernetes => &KUBERNETES,
        }
    }
}

// === impl Recipe ===

impl Recipe {
    /// Returns the lines for the server and the lines for the Tapfile, with headings.
    pub(super) fn text(&self) -> String {
        let Self {
            file,
            lines,
            tapfile,
            ..
        } = self;
        let note = self.note_below();
        let permission = self.permission(SOCKET);
        format!("In {file}:\n\n{lines}{note}{permission}\nIn the Tapfile:\n\n{tapfile}")
    }

    /// Returns the commands with which `AppArmor` lets the server use the socket, with an empty line before them.
    pub(super) fn permission(&self, socket: &str) -> String {
        let Some(profile) = self.profile else {
            return String::new();
        };
        format!(
            "\necho \"{socket} rw,\" >> /etc/apparmor.d/local/{profile}\napparmor_parser -r /etc/apparmor.d/{profile}\n"
        )
    }

    /// Returns the note with an empty line before it.
    pub(super) fn note_below(&self) -> String {
        match self.note {
            "" => String::new(),
            note => format!("\n{note}\n"),
        }
    }

    /// Returns the lines for the server, with another path of the socket.
    pub(super) fn lines_for(&self, socket: &str) -> String {
        self.lines.replace(SOCKET, socket)
    }
}

const COREDNS: Recipe = Recipe {
    name: "CoreDNS",
    file: "the Corefile",
    lines: ". {
    dnstap /run/tapfan/dnstap.sock full
    forward . /etc/resolv.conf
}
",
    tapfile: "listen unix:///run/tapfan/dnstap.sock {
    group coredns
}

dnstap tcp://collector.example.net:6000
dnstap tls://siem.example.net:6443 full 4 8 {
    identity edge-1
}
",
    note: "The option `group` names the group of the process `coredns`. Leave the option out if CoreDNS runs as root.
Write `full` in the Corefile: without it, CoreDNS leaves out the DNS messages, and no sink can get them.
CoreDNS 1.14.4 and later can also wait for tapfan: see `connect` in docs/configuration.md.",
    profile: None,
};

const BIND: Recipe = Recipe {
    name: "BIND",
    file: "named.conf",
    lines: r#"options {
    dnstap { all; };
    dnstap-output unix "/run/tapfan/dnstap.sock";
    dnstap-identity "ns1";
};
"#,
    tapfile: "listen unix:///run/tapfan/dnstap.sock {
    group bind
}

dnstap tcp://collector.example.net:6000 full
",
    note: "Add the three `dnstap` lines to your own `options` block. On Debian, this block is in the file
`named.conf.options`. `rndc reconfig` applies the change without a restart.
On Debian and Ubuntu, AppArmor must allow the connection (docs/guide.md#unix-sockets-and-permissions).",
    profile: Some("usr.sbin.named"),
};

const UNBOUND: Recipe = Recipe {
    name: "Unbound",
    file: "unbound.conf",
    lines: r#"dnstap:
    dnstap-enable: yes
    dnstap-socket-path: "/run/tapfan/dnstap.sock"
    dnstap-send-identity: yes
    dnstap-send-version: yes
    dnstap-log-client-query-messages: yes
    dnstap-log-client-response-messages: yes
    dnstap-log-resolver-query-messages: yes
    dnstap-log-resolver-response-messages: yes
"#,
    tapfile: "listen unix:///run/tapfan/dnstap.sock {
    group unbound
}

dnstap tcp://collector.example.net:6000 full
",
    note: "If Unbound has a `chroot`, the socket must be inside it.
On Debian and Ubuntu, AppArmor must allow the connection (docs/guide.md#unix-sockets-and-permissions).",
    profile: Some("usr.sbin.unbound"),
};

const KNOT: Recipe = Recipe {
    name: "Knot DNS",
    file: "knot.conf",
    lines: "mod-dnstap:
  - id: taps
    sink: unix:/run/tapfan/dnstap.sock
    log-queries: on
    log-responses: on

template:
  - id: default
    global-module: mod-dnstap/taps
",
    tapfile: "listen unix:///run/tapfan/dnstap.sock {
    group knot
}

dnstap tcp://collector.example.net:6000 full
",
    note: "On Debian, the module is in the package `knot-module-dnstap`.",
    profile: None,
};

const DNSDIST: Recipe = Recipe {
    name: "dnsdist",
    file: "dnsdist.conf",
    lines: r#"taps = newFrameStreamUnixLogger("/run/tapfan/dnstap.sock")
addAction(AllRule(), DnstapLogAction("edge-1", taps))
addResponseAction(AllRule(), DnstapLogResponseAction("edge-1", taps))
addCacheHitResponseAction(AllRule(), DnstapLogResponseAction("edge-1", taps))
addSelfAnsweredResponseAction(AllRule(), DnstapLogResponseAction("edge-1", taps))
"#,
    tapfile: "listen unix:///run/tapfan/dnstap.sock {
    group _dnsdist
}

dnstap tcp://collector.example.net:6000 full
",
    note: "Put these lines above all other rules: after a rule that answers or drops a query, dnsdist applies no further
rules to that query.",
    profile: None,
};

const RECURSOR: Recipe = Recipe {
    name: "PowerDNS Recursor",
    file: "the file that `lua-config-file` names",
    lines: r#"dnstapFrameStreamServer({"/run/tapfan/dnstap.sock"}, {logQueries=true, logResponses=true})
"#,
    tapfile: "listen unix:///run/tapfan/dnstap.sock {
    group pdns
}

dnstap tcp://collector.example.net:6000 full
",
    note: "The Recursor taps the queries that it sends to other servers, and the responses of these servers.",
    profile: None,
};

const KUBERNETES: Recipe = Recipe {
    name: "Kubernetes",
    file: "the Corefile of the cluster",
    lines: ". {
    dnstap tcp://10.96.0.60:6000 full
    forward . /etc/resolv.conf
}
",
    tapfile: "listen tcp://0.0.0.0:6000
probes 0.0.0.0:9181

dnstap tcp://collector.dns-obs.svc.cluster.local.:6000 full {
    name collector
    max_age 1h
}
",
    note: "Instead of `10.96.0.60`, write the ClusterIP of the Service, because the cluster's CoreDNS cannot resolve
names of the cluster. To see it:
`kubectl --namespace dns-obs get service tapfan --output jsonpath='{.spec.clusterIP}'`",
    profile: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_readme_has_the_same_lines() {
        let readme = include_str!("../../../README.md");
        let recipes = readme.split("\n## Recipes\n").nth(1).expect("a section");
        let recipes = recipes.split("\n## ").next().unwrap_or_default();
        let headings = recipes.lines().filter_map(|line| line.strip_prefix("### "));
        let servers = Server::value_variants().iter();
        let names: Vec<&str> = servers.clone().map(|server| server.recipe().name).collect();
        assert_eq!(names, headings.collect::<Vec<_>>());
        for server in servers {
            let Recipe {
                name,
                lines,
                tapfile,
                note,
                ..
            } = server.recipe();
            let heading = format!("### {name}\n");
            let (_, section) = recipes.split_once(&heading).expect(name);
            let section = section.split("\n### ").next().unwrap_or_default();
            for text in [*lines, *tapfile] {
                assert!(
                    section.contains(&format!("\n{text}```\n")),
                    "{name}: {text}"
                );
            }
            // In the note, a link is its text followed by the address in parentheses.
            let words = |text: &str| {
                let words: Vec<&str> = text.split_whitespace().collect();
                words.join(" ")
            };
            let said = words(&section.replace('[', "").replace("](", " ("));
            assert!(said.contains(&words(note)), "{name}: {note}");
        }
    }

    #[test]
    fn the_guide_has_the_same_commands_for_apparmor() {
        let guide = include_str!("../../../docs/guide.md");
        for recipe in [&BIND, &UNBOUND] {
            for command in recipe.permission(SOCKET).lines() {
                assert!(guide.contains(command), "{command}");
            }
        }
    }

    #[test]
    fn the_tapfile_of_a_recipe_is_good_and_the_server_writes_to_its_listener() {
        for server in Server::value_variants() {
            let recipe = server.recipe();
            let loaded = config::parse("Tapfile".as_ref(), recipe.tapfile, &|_| None);
            assert!(loaded.config.is_some(), "{}", loaded.diagnostics);
            assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
            if *server != Server::Kubernetes {
                assert!(recipe.lines.contains(SOCKET), "{}", recipe.name);
                assert!(recipe.tapfile.contains(SOCKET), "{}", recipe.name);
                assert!(recipe.lines_for("/x").contains("/x"), "{}", recipe.name);
                let mentions = recipe.note.contains("AppArmor");
                assert_eq!(recipe.profile.is_some(), mentions, "{}", recipe.name);
                assert_eq!(recipe.permission("/x").contains("/x rw,"), mentions);
            }
        }
    }
}
