//! The connection between the DNS server under test and the program that reads its dnstap stream,
//! over each transport.

use std::path::Path;

use crate::{
    certificates::Certificates, collector::Collector, process::free_address, relay::Relay,
    server::Target, tapfan::Listening,
};

/// The transport of the DNS server's dnstap stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Unix,
    Tcp,
    TcpUnidirectional,
    Tls,
}

/// The listener of tapfan for the DNS server under test. If the transport is not encrypted, the
/// server connects to a relay in front of the listener. The relay keeps a copy of all data.
pub(crate) struct Ingress {
    /// The `listen` directive for the Tapfile.
    pub(crate) listen: String,
    pub(crate) listening: Listening,
    pub(crate) relay: Option<Relay>,
    /// The address in the configuration of the DNS server.
    pub(crate) target: Target,
}

// === impl Ingress ===

impl Ingress {
    pub(crate) fn new(dir: &Path, via: Via) -> Self {
        match via {
            Via::Unix => {
                let (router, sender) = (dir.join("tapfan.sock"), dir.join("relay.sock"));
                Self {
                    listen: format!("listen unix://{}", router.display()),
                    relay: Some(Relay::unix(&sender, router.clone())),
                    listening: Listening::Unix(router),
                    target: Target::Unix(sender),
                }
            }
            Via::Tcp | Via::TcpUnidirectional => {
                let router = free_address();
                let (relay, sender) = Relay::tcp(router);
                Self {
                    listen: format!("listen tcp://{router}"),
                    relay: Some(relay),
                    listening: Listening::Tcp(router),
                    target: if via == Via::Tcp {
                        Target::Tcp(sender)
                    } else {
                        Target::TcpUnidirectional(sender)
                    },
                }
            }
            Via::Tls => {
                let router = free_address();
                let certificates = Certificates::make(&dir.join("listener"));
                let (cert, key) = (certificates.cert.display(), certificates.key.display());
                Self {
                    listen: format!("listen tls://{router} {{\n    cert {cert}\n    key {key}\n}}"),
                    relay: None,
                    listening: Listening::Tcp(router),
                    target: Target::Tls(router, certificates.ca),
                }
            }
        }
    }

    /// Makes a listener on a unix socket, without a relay.
    pub(crate) fn bare(dir: &Path) -> Self {
        let router = dir.join("tapfan.sock");
        Self {
            listen: format!("listen unix://{}", router.display()),
            relay: None,
            listening: Listening::Unix(router.clone()),
            target: Target::Unix(router),
        }
    }
}

/// Starts a collector that records all frames. Returns the collector, and its address for the
/// configuration of the DNS server.
pub(crate) fn reader(dir: &Path, via: Via) -> (Collector, Target) {
    match via {
        Via::Unix => {
            let path = dir.join("direct.sock");
            (Collector::unix(&path), Target::Unix(path))
        }
        Via::Tcp => {
            let (collector, address) = Collector::tcp();
            (collector, Target::Tcp(address))
        }
        Via::TcpUnidirectional => {
            let (collector, address) = Collector::tcp();
            (collector, Target::TcpUnidirectional(address))
        }
        Via::Tls => {
            let certificates = Certificates::make(&dir.join("direct"));
            let (collector, address) = Collector::tls(&certificates);
            (collector, Target::Tls(address, certificates.ca))
        }
    }
}
