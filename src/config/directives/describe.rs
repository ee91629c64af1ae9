//! All settings of a configuration as text, for `tapfan check`.

use std::fmt::Write as _;

use super::{
    super::{Config, ListenAddress},
    dnstap, listen, resolver, router,
    row::described,
};
use crate::net::{Authority, Endpoint};

/// The length of the longest name of a setting.
pub(super) const WIDTH: usize = "unfinished_frames".len();

impl Config {
    /// All settings with their values as a table for people. Includes settings that have their default value.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut section = |heading: &str, lines: &mut dyn Iterator<Item = (&str, String)>| {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{heading}");
            for (name, value) in lines {
                let _ = writeln!(text, "    {name:WIDTH$}  {value}");
            }
        };
        for listen in &self.listeners {
            let lines = described(listen::OPTIONS, listen);
            let mut lines = [("address", shown(&listen.address))]
                .into_iter()
                .chain(lines);
            section(&format!("listen {}", listen.name), &mut lines);
        }
        for sink in &self.sinks {
            let arguments = described(dnstap::ARGUMENTS, sink);
            let options = described(dnstap::OPTIONS, sink);
            let address = [("address", sink.endpoint.to_string())];
            let mut lines = address.into_iter().chain(arguments).chain(options);
            section(&format!("dnstap {}", sink.name), &mut lines);
        }
        section("router", &mut described(router::LINES, self));
        let mut lines = described(resolver::OPTIONS, &self.resolver);
        section("resolver", &mut lines);
        text
    }
}

fn shown(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Unix(address, _) => Endpoint::Unix(address.clone()).to_string(),
        ListenAddress::Tcp(address) => format!("tcp://{}", Authority::from(*address)),
        ListenAddress::Tls(address, _) => format!("tls://{}", Authority::from(*address)),
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
