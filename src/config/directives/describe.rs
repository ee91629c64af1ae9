//! All settings of a configuration as text, for `tapfan check`.

use std::fmt::Write as _;

use super::{
    super::{Config, ListenAddress},
    connect, dnstap, listen, resolver, router,
    row::described,
};
use crate::net::{Authority, Endpoint};

/// The length of the longest name of a setting.
pub(super) const WIDTH: usize = "unfinished_frames".len();

/// The settings of one directive, or the settings of the router itself, which have their own lines in a Tapfile.
pub(crate) struct Section {
    /// `listen`, `connect`, `dnstap`, `router` or `resolver`.
    pub(crate) directive: &'static str,
    /// The name of a listener or a sink.
    pub(crate) name: Option<String>,
    /// The names and values of all settings, with their defaults.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Config {
    /// Returns a table for people with all settings and their values, including settings that have their default value.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for section in self.sections() {
            let gap = if text.is_empty() { "" } else { "\n" };
            let name = section.name.map(|name| format!(" {name}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{gap}{}{}",
                section.directive,
                name.unwrap_or_default()
            );
            for (name, value) in section.settings {
                let _ = writeln!(text, "    {name:WIDTH$}  {value}");
            }
        }
        text
    }

    /// Returns all settings with their values, in the order of the file.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let listeners = self.listeners.iter().map(|listen| {
            let (directive, rows) = match listen.remote() {
                Some(_) => ("connect", connect::OPTIONS),
                None => ("listen", listen::OPTIONS),
            };
            Section {
                directive,
                name: Some(listen.name.to_string()),
                settings: [("address", shown(&listen.address))]
                    .into_iter()
                    .chain(described(rows, listen))
                    .collect(),
            }
        });
        let sinks = self.sinks.iter().map(|sink| Section {
            directive: "dnstap",
            name: Some(sink.name.to_string()),
            settings: [("address", sink.endpoint.to_string())]
                .into_iter()
                .chain(described(dnstap::ARGUMENTS, sink))
                .chain(described(dnstap::OPTIONS, sink))
                .collect(),
        });
        let router = Section {
            directive: "router",
            name: None,
            settings: described(router::LINES, self).collect(),
        };
        let resolver = Section {
            directive: "resolver",
            name: None,
            settings: described(resolver::OPTIONS, &self.resolver).collect(),
        };
        listeners.chain(sinks).chain([router, resolver]).collect()
    }
}

fn shown(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Unix(address, _) => Endpoint::Unix(address.clone()).to_string(),
        ListenAddress::Tcp(address) => format!("tcp://{}", Authority::from(*address)),
        ListenAddress::Tls(address, _) => format!("tls://{}", Authority::from(*address)),
        ListenAddress::Remote(remote) => remote.endpoint.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config;

    #[test]
    fn a_zone_is_written_so_that_it_is_read_again() {
        // In a URL, `%` is written as `%25` (RFC 6874). So `%255` means zone 5, and `%25255` means zone 255.
        let text = "listen tcp://[fe80::1%25255]:6000\ndnstap @out\n";
        let loaded = config::parse("Tapfile".as_ref(), text, &|_| None);
        let described = loaded.config.expect("no errors").describe();
        assert!(
            described.contains(" tcp://[fe80::1%25255]:6000\n"),
            "{described}"
        );
    }

    #[cfg(all(feature = "resolver", feature = "tls"))]
    #[test]
    fn the_table_shows_every_setting() {
        let text = r#"listen /run/tapfan/dnstap.sock { group dns }
            listen @in
            listen tcp://0.0.0.0:6000 { max_connections 10 }
            listen tls://[::]:6443 {
                cert tls.crt
                key tls.key
                client_ca clients.crt
            }
            admin 127.0.0.1:9180 { host edge-1.example 192.0.2.7 }
            drain 1m30s
            memory 1GiB
            dnstap /run/collector.sock full
            dnstap tcp://collector.example:6000 {
                identity "edge 1"
                version ""
            }
            dnstap tls://siem.example:6443 full 4 8 {
                name siem
                server_name dns.example
                cert client.crt
                key client.key
            }
            dnstap tls://siem.example:6443 {
                skipverify
                extra "a	b"
            }
            dnstap tls+srv://_dnstap._tcp.collector.example. {
                endpoints balance
                refresh 1s 1m30s
                write_timeout 5s
                max_age 1h
            }
            resolver {
                nameserver 10.96.0.10 [fd00::a]:5353
                search dns-obs.svc.cluster.local svc.cluster.local
                ndots 5
            }"#;
        let loaded = config::parse("Tapfile".as_ref(), text, &|_| None);
        insta::assert_snapshot!(loaded.config.expect("a good configuration").describe());
    }
}
