//! Parsing of a host with its port, and of an address that a listener can bind.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
};

use super::{AddressError, Authority, Host, host};

/// The handling of port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortZero {
    /// The system chooses a port.
    Allowed,
    Refused,
}

// === impl Authority ===

impl FromStr for Authority {
    type Err = AddressError;

    /// Reads a host and a port.
    ///
    /// ```
    /// use tapfan::config::Authority;
    ///
    /// assert_eq!("collector.example:6000".parse::<Authority>()?.port, 6000);
    /// assert_eq!("[::1]:6000".parse::<Authority>()?.to_string(), "[::1]:6000");
    /// assert!("collector.example".parse::<Authority>().is_err());
    /// # Ok::<(), tapfan::config::AddressError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, AddressError> {
        read_authority(text, text, PortZero::Refused)
    }
}

/// Reads a broker of a Kafka cluster: a host, and a port if it is not `default`. `whole` is the address that contains
/// `text`.
pub(super) fn read_broker(
    text: &str,
    whole: &str,
    default: u16,
) -> Result<Authority, AddressError> {
    let (host, port) = split(text, whole)?;
    let port = match port {
        Some(port) => read_port(port, PortZero::Refused)?,
        None => default,
    };
    Ok(Authority { host, port })
}

/// Returns the part of `text` before the path. Returns an error if the path is anything but a single slash.
pub(super) fn before_path(text: &str) -> Result<&str, AddressError> {
    let end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (text, after) = text.split_at(end);
    if text.is_empty() {
        return Err(AddressError::MissingHost);
    }
    // CoreDNS parses with Go's URLs, which ignore a trailing slash.
    if !matches!(after, "" | "/") {
        return Err(AddressError::AfterPort(after.to_owned()));
    }
    if text.contains(char::is_whitespace) {
        return Err(AddressError::Space);
    }
    if text.contains('@') && !text.starts_with('[') {
        return Err(AddressError::UserInfo);
    }
    Ok(text)
}

/// Reads a host and a port. `whole` is the address that contains `text`. A proposed correction is a corrected copy of
/// `whole`.
pub(super) fn read_authority(
    text: &str,
    whole: &str,
    zero: PortZero,
) -> Result<Authority, AddressError> {
    let (host, port) = split(text, whole)?;
    Ok(Authority {
        host,
        port: read_port(port.unwrap_or_default(), zero)?,
    })
}

/// Reads a host, and returns the text of its port; `None` if there is no port. `whole` is the address that contains
/// `text`.
fn split<'a>(text: &'a str, whole: &str) -> Result<(Host, Option<&'a str>), AddressError> {
    let text = before_path(text)?;
    let Some(inside) = text.strip_prefix('[') else {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if host.contains(':') {
            return Err(many_colons(text, whole));
        }
        return Ok((host::unbracketed(host)?, port));
    };
    let (inside, after) = inside
        .split_once(']')
        .ok_or(AddressError::UnclosedBracket)?;
    let host = host::bracketed(inside)?;
    match after.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if after.is_empty() => Ok((host, None)),
        None => Err(AddressError::AfterBracket(after.to_owned())),
    }
}

/// Returns the error for a host and port with more than one colon.
fn many_colons(text: &str, whole: &str) -> AddressError {
    let is_ipv6 = |host: &str| {
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        address.parse::<Ipv6Addr>().is_ok()
    };
    match text.rsplit_once(':') {
        // In `2001:db8::1:6000`, the last number can be the port or a part of the IPv6 address. It counts as the port,
        // because missing brackets are a more common mistake than a missing port.
        Some((host, port)) if is_ipv6(host) && read_port(port, PortZero::Allowed).is_ok() => {
            AddressError::UnbracketedIpv6 {
                right: Some(whole.replacen(text, &format!("[{host}]:{port}"), 1)),
            }
        }
        _ if is_ipv6(text) => AddressError::UnbracketedIpv6 { right: None },
        _ => AddressError::ManyColons,
    }
}

fn read_port(text: &str, zero: PortZero) -> Result<u16, AddressError> {
    if text.is_empty() {
        return Err(AddressError::MissingPort);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::PortNotNumber(text.to_owned()));
    }
    match text.parse() {
        Ok(0) if zero == PortZero::Refused => Err(AddressError::PortZero),
        Ok(port) => Ok(port),
        Err(_) => Err(AddressError::PortTooLarge(text.to_owned())),
    }
}

/// Reads an address that a listener can bind. `whole` is the address that contains `text`. A proposed correction is a
/// corrected copy of `whole`.
pub(super) fn bindable(text: &str, whole: &str) -> Result<SocketAddr, AddressError> {
    if text.starts_with(':') && read_port(&text[1..], PortZero::Allowed).is_ok() {
        let right = whole.replacen(text, &format!("0.0.0.0{text}"), 1);
        return Err(AddressError::BindAnywhere(right));
    }
    if let Some(port) = text.strip_prefix("*:")
        && read_port(port, PortZero::Allowed).is_ok()
    {
        let with = |host: &str| whole.replacen(text, &format!("{host}:{port}"), 1);
        return Err(AddressError::BindStar {
            ipv4: with("0.0.0.0"),
            all: with("[::]"),
        });
    }
    let Authority { host, port } = read_authority(text, whole, PortZero::Allowed)?;
    match host {
        Host::Ip {
            address: IpAddr::V6(address),
            zone: Some(zone),
        } => match zone.parse() {
            Ok(scope) => Ok(SocketAddrV6::new(address, port, 0, scope).into()),
            Err(_) => Err(AddressError::BindZone(zone.to_string())),
        },
        Host::Ip { address, .. } => Ok(SocketAddr::new(address, port)),
        Host::Name(name) => Err(AddressError::BindName {
            right: name
                .eq_ignore_ascii_case("localhost")
                .then(|| whole.replacen(&*name, "127.0.0.1", 1)),
            host: name.to_string(),
        }),
    }
}
