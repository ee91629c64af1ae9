//! A sink that waits for collectors.

use super::{ListenAddress, Sink};
use crate::net::{BindAddress, Endpoint, ServerTls, UnixPermissions};

/// The settings of a sink that waits for collectors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectorSettings {
    /// The permissions of the socket's file.
    pub permissions: UnixPermissions,
    /// The largest number of collectors that are connected at the same time.
    pub most: usize,
}

// === impl Sink ===

impl Sink {
    /// Returns the address that the sink binds, if it waits for collectors.
    pub fn bound(&self) -> Option<ListenAddress> {
        let Endpoint::Listen(address) = &self.endpoint else {
            return None;
        };
        Some(match address {
            BindAddress::Unix(address) => {
                ListenAddress::Unix(address.clone(), self.collectors.permissions.clone())
            }
            BindAddress::Tcp(address) => ListenAddress::Tcp(*address),
            BindAddress::Tls(address) => {
                let tls = self.tls.clone().unwrap_or_default();
                let (cert, key) = tls.client.unwrap_or_default();
                let tls = ServerTls {
                    cert,
                    key,
                    client_ca: tls.ca,
                    // As in CoreDNS.
                    client_cert_optional: tls.skip_verify,
                };
                ListenAddress::Tls(*address, tls)
            }
        })
    }
}

// === impl CollectorSettings ===

impl Default for CollectorSettings {
    /// Returns the settings for at most 16 collectors.
    fn default() -> Self {
        Self {
            permissions: UnixPermissions::default(),
            most: 16,
        }
    }
}
