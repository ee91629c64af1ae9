//! The target of a sink's connections.

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::sync::watch;

#[cfg(feature = "kafka")]
use crate::sink::Kafka;
use crate::{
    config::{FileSettings, Refresh},
    net::{
        self, Addresses, Authority, ClientConfig, ClientTls, Connector, Destination, Endpoint,
        Host, Literal, ResolveError, SrvName, TcpSettings, UnixAddress,
    },
    sink::{Names, Resolution, SinkSetupError, file::Files},
};

/// The target of a sink's connections: an address, and the protocol that is spoken there.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Unix(UnixAddress),
    /// TCP, with TLS if it is configured.
    Tcp {
        /// The address or name to dial.
        place: Place,
        settings: TcpSettings,
        /// The TLS client that makes the sessions. `None` for plain TCP. All connections of the sink share this client.
        tls: Option<Arc<Connector>>,
    },
    /// Files.
    Files(Files),
    /// A Kafka topic.
    #[cfg(feature = "kafka")]
    Kafka(Box<Kafka>),
}

/// The destination of a TCP connection.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An IP address, which needs no lookup.
    Fixed(Literal),
    /// The current addresses of a name.
    Named(Resolution),
}

// === impl Target ===

impl Target {
    /// Returns the target at `endpoint`. `tls` has the TLS settings, and `config` the TLS configuration that contains
    /// their certificates and authorities. If the target uses TLS and `config` is `None`, reads the files.
    pub(crate) fn of(
        endpoint: &Endpoint,
        (tls, config): (Option<&ClientTls>, Option<Arc<ClientConfig>>),
        settings: TcpSettings,
        refresh: Refresh,
        names: &Names,
    ) -> Result<Self, SinkSetupError> {
        let encrypted = |host: &Host| {
            let tls = tls.cloned().unwrap_or_default();
            let config = match config {
                Some(config) => config,
                None => net::client_config(&tls)?,
            };
            Connector::new(config, host, &tls)
        };
        let (place, tls) = match endpoint {
            Endpoint::Unix(address) => return Ok(Self::Unix(address.clone())),
            Endpoint::Kafka(_) => return Err(SinkSetupError::NoKafka),
            Endpoint::Listen(_) => return Err(SinkSetupError::NotDialled(endpoint.clone())),
            Endpoint::File(pattern) => {
                return Ok(Self::Files(Files::new(
                    pattern.clone(),
                    FileSettings::default(),
                )));
            }
            Endpoint::Tcp(authority) => (host(authority, refresh, names)?, None),
            Endpoint::TcpSrv(name) => (service(name, refresh, names)?, None),
            Endpoint::Tls(authority) => {
                let place = host(authority, refresh, names)?;
                (place, Some(encrypted(&authority.host)?))
            }
            Endpoint::TlsSrv(name) => {
                let place = service(name, refresh, names)?;
                let domain = Host::Name(name.domain().into());
                (place, Some(encrypted(&domain)?))
            }
        };
        Ok(Self::Tcp {
            place,
            settings,
            tls,
        })
    }

    /// Takes over the certificates, keys, authorities and the password that were read for `fresh`. The next TLS handshake
    /// and the next login use them.
    pub(crate) fn adopt(&self, fresh: &Self) {
        match (self, fresh) {
            (Self::Tcp { tls: Some(old), .. }, Self::Tcp { tls: Some(new), .. }) => old.adopt(new),
            #[cfg(feature = "kafka")]
            (Self::Kafka(old), Self::Kafka(new)) => old.adopt(new),
            _ => {}
        }
    }

    /// Returns frames that were kept for the next connection to their queue.
    pub(crate) fn give_up(&self) {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.give_up(),
            _ => {}
        }
    }

    pub(crate) fn is_kafka(&self) -> bool {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
            Self::Unix(_) | Self::Tcp { .. } | Self::Files(_) => false,
        }
    }

    /// Returns the target at one address of the name.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        let mut target = self.clone();
        if let Self::Tcp { place, .. } = &mut target {
            *place = Place::Fixed(Literal::from(address));
        }
        target
    }

    /// Returns the lookups of the name. `None` if the target is a single address.
    pub(crate) fn resolution(&self) -> Option<&Resolution> {
        match self {
            Self::Tcp {
                place: Place::Named(resolution),
                ..
            } => Some(resolution),
            _ => None,
        }
    }

    /// Returns the text of an address of the name, as the log and the status show it.
    pub(crate) fn label(&self, address: SocketAddr) -> Arc<str> {
        let scheme = match self {
            Self::Tcp { tls: Some(_), .. } => "tls",
            _ => "tcp",
        };
        format!("{scheme}://{address}").into()
    }
}

fn host(authority: &Authority, refresh: Refresh, names: &Names) -> Result<Place, ResolveError> {
    match &authority.host {
        Host::Ip { address, zone } => {
            let literal = Literal::new(*address, zone.clone(), authority.port);
            Ok(Place::Fixed(literal))
        }
        Host::Name(_) => named(Destination::Host(authority.clone()), refresh, names),
    }
}

fn service(name: &SrvName, refresh: Refresh, names: &Names) -> Result<Place, ResolveError> {
    named(Destination::Service(name.clone()), refresh, names)
}

fn named(destination: Destination, refresh: Refresh, names: &Names) -> Result<Place, ResolveError> {
    let resolver = names.resolver()?;
    Ok(Place::Named(Resolution::new(
        destination,
        refresh,
        resolver,
    )))
}

// === impl Place ===

impl Place {
    /// Returns a receiver of the current addresses of the name. The receiver is notified when they change. `None` if
    /// the destination is an IP address.
    pub(super) fn addresses(&self) -> Option<watch::Receiver<Arc<Addresses>>> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(resolution) => Some(resolution.addresses()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(literal) => literal.fmt(f),
            Self::Named(resolution) => resolution.destination.fmt(f),
        }
    }
}
