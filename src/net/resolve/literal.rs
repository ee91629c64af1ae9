//! Addresses that are written as numbers and therefore need no name server.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::Arc,
};

use super::ResolveError;
use crate::net::{Authority, Host};

/// An IP address with a port, as written.
///
/// The zone is looked up at each use, because an interface may appear after the start and get another index.
#[derive(Debug, Clone)]
pub(crate) struct Literal {
    ip: IpAddr,
    zone: Option<Arc<str>>,
    port: u16,
}

// === impl Literal ===

impl Literal {
    pub(crate) fn new(ip: IpAddr, zone: Option<Arc<str>>, port: u16) -> Self {
        Self { ip, zone, port }
    }

    /// Returns the address to dial.
    ///
    /// # Errors
    /// [`ResolveError::UnknownZone`] if no interface has the name of the zone.
    pub(crate) fn address(&self) -> Result<SocketAddr, ResolveError> {
        match (self.ip, &self.zone) {
            (IpAddr::V6(ip), Some(zone)) => {
                Ok(SocketAddrV6::new(ip, self.port, 0, scope_id(zone)?).into())
            }
            (ip, _) => Ok(SocketAddr::new(ip, self.port)),
        }
    }
}

impl From<SocketAddr> for Literal {
    /// Writes the zone as its index.
    fn from(address: SocketAddr) -> Self {
        let zone = match address {
            SocketAddr::V6(six) if six.scope_id() != 0 => Some(six.scope_id().to_string().into()),
            _ => None,
        };
        Self::new(address.ip(), zone, address.port())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Authority::from(self.clone()).fmt(f)
    }
}

// === impl Authority ===

impl From<Literal> for Authority {
    fn from(literal: Literal) -> Self {
        let Literal { ip, zone, port } = literal;
        let host = Host::Ip { address: ip, zone };
        Self { host, port }
    }
}

impl From<SocketAddr> for Authority {
    /// Writes the zone as its index.
    fn from(address: SocketAddr) -> Self {
        Literal::from(address).into()
    }
}

/// Reads a zone: the name of an interface or its index (RFC 4007, section 11.2).
fn scope_id(zone: &str) -> Result<u32, ResolveError> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let unknown = || ResolveError::UnknownZone(zone.to_owned());
    // The name becomes part of a path, so it must not lead to another folder.
    if zone.is_empty() || zone.starts_with('.') || zone.contains('/') {
        return Err(unknown());
    }
    let index = fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
    let index = index.ok().and_then(|index| index.trim().parse().ok());
    index.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_dialled_as_written() {
        for text in ["192.0.2.1:6000", "[2001:db8::1]:6000", "[fe80::1%7]:6000"] {
            let address: SocketAddr = text.parse().expect("an address");
            let literal = Literal::from(address);
            assert_eq!(literal.address().ok(), Some(address));
        }
    }

    #[test]
    fn a_zone_that_is_no_interface_is_an_error() {
        for zone in ["", "no-such0", "../lo", "."] {
            let literal = Literal::new(
                [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
                Some(zone.into()),
                6000,
            );
            assert!(
                matches!(literal.address(), Err(ResolveError::UnknownZone(_))),
                "{zone}"
            );
        }
    }

    #[test]
    fn a_zone_may_be_an_interface_name() {
        let Ok(interfaces) = fs::read_dir("/sys/class/net") else {
            return;
        };
        for interface in interfaces.flatten() {
            let Ok(index) = fs::read_to_string(interface.path().join("ifindex")) else {
                continue;
            };
            let name = interface.file_name().into_string().expect("ASCII");
            assert_eq!(scope_id(&name).expect("known").to_string(), index.trim());
        }
    }
}
