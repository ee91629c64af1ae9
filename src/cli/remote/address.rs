//! The address of an admin endpoint on the command line.

use std::{fmt, net::SocketAddr, str::FromStr};

use crate::net::{AddressError, Authority, Host};

/// The host and port of an admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Address {
    /// A name or an IP address. An IPv6 address has no brackets here.
    pub(super) host: String,
    pub(super) port: u16,
}

/// The reason why a text is not the address of an admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum BadAddress {
    #[error("the admin endpoint speaks plain HTTP, not TLS: use http:// or omit the scheme")]
    Https,
    #[error("give only the host and port, as in 127.0.0.1:9180; the path is always /status")]
    Path,
    #[error("{0}: give a host and a port, as in 127.0.0.1:9180 or [::1]:9180")]
    Authority(#[from] AddressError),
    #[error("an IPv6 address with a zone cannot be used here: omit the zone")]
    Zone,
}

// === impl Address ===

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.starts_with("https://") {
            return Err(BadAddress::Https);
        }
        let text = text.strip_prefix("http://").unwrap_or(text);
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        if !matches!(path, "" | "status") {
            return Err(BadAddress::Path);
        }
        let Authority { host, port } = authority.parse()?;
        let host = match host {
            Host::Name(name) => name.to_string(),
            Host::Ip {
                address,
                zone: None,
            } => address.to_string(),
            Host::Ip { zone: Some(_), .. } => return Err(BadAddress::Zone),
        };
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for Address {
    /// Returns the address to which a client connects in order to reach a socket that is bound to `bound`. If the
    /// socket is bound to all addresses, the client connects to loopback.
    fn from(bound: SocketAddr) -> Self {
        let host = match bound {
            SocketAddr::V4(bound) if bound.ip().is_unspecified() => "127.0.0.1".to_owned(),
            SocketAddr::V6(bound) if bound.ip().is_unspecified() => "::1".to_owned(),
            _ => bound.ip().to_string(),
        };
        Self {
            host,
            port: bound.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_ports_are_parsed() {
        for (text, shown) in [
            ("127.0.0.1:9180", "127.0.0.1:9180"),
            ("http://127.0.0.1:9180", "127.0.0.1:9180"),
            ("http://127.0.0.1:9180/", "127.0.0.1:9180"),
            ("http://edge-1.example.:9180/status", "edge-1.example.:9180"),
            ("[::1]:9180", "[::1]:9180"),
            ("localhost:1", "localhost:1"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn errors_name_the_problem() {
        let said: Vec<String> = [
            "https://127.0.0.1:9180",
            "127.0.0.1:9180/metrics",
            "127.0.0.1",
            "::1",
            "[::1]",
            "localhost:http",
            "localhost:0",
            "localhost:70000",
            ":9180",
            "a b:9180",
            "[x]:9180",
        ]
        .into_iter()
        .map(|text| {
            let error = text.parse::<Address>().expect_err(text);
            format!("{text}: {error}")
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn an_unspecified_address_becomes_loopback() {
        for (bound, shown) in [
            ("0.0.0.0:9180", "127.0.0.1:9180"),
            ("[::]:9180", "[::1]:9180"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            let bound: SocketAddr = bound.parse().expect(bound);
            assert_eq!(Address::from(bound).to_string(), shown);
        }
    }
}
