//! The listener to which the frames are sent.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use tokio::time::timeout;

use super::{
    args::{DEADLINE, ReplayArgs},
    error::ReplayError,
};
use crate::net::{
    self, Authority, Connector, Destination, Endpoint, Host, Resolver, ResolverSettings, Stream,
    TcpSettings,
};

/// The listener, and the settings that a connection to it needs.
#[derive(Debug, Clone)]
pub(super) struct Target {
    endpoint: Endpoint,
    tls: Option<Arc<Connector>>,
}

// === impl Target ===

impl Target {
    /// Reads the certificates if the listener uses TLS.
    pub(super) fn new(args: &ReplayArgs) -> Result<Self, ReplayError> {
        let endpoint = args.to.clone();
        let settings = args.tls();
        let host = match &endpoint {
            Endpoint::Tls(authority) => Some(authority.host.clone()),
            Endpoint::TlsSrv(name) => Some(Host::Name(name.domain().into())),
            _ => None,
        };
        let tls = match host {
            None if args.has_tls_options() => return Err(ReplayError::NotTls),
            None => None,
            Some(host) => {
                let config = net::client_config(&settings)?;
                Some(Connector::new(config, &host, &settings)?)
            }
        };
        Ok(Self { endpoint, tls })
    }

    /// Returns whether connections use TCP without TLS.
    pub(super) fn is_plain_tcp(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tcp(_) | Endpoint::TcpSrv(_))
    }

    /// Opens a connection.
    pub(super) async fn dial(&self) -> Result<Stream, ReplayError> {
        let failed = |source| ReplayError::Dial {
            to: self.endpoint.to_string(),
            source,
        };
        let destination = match &self.endpoint {
            Endpoint::Unix(address) => {
                let stream = in_time("accept", net::dial_unix(address)).await?;
                return stream.map(Stream::Unix).map_err(failed);
            }
            Endpoint::Tcp(authority) | Endpoint::Tls(authority) => host(authority),
            Endpoint::TcpSrv(name) | Endpoint::TlsSrv(name) => Destination::Service(name.clone()),
            Endpoint::File(_) | Endpoint::Kafka(_) | Endpoint::Listen(_) => {
                return Err(failed(io::ErrorKind::Unsupported.into()));
            }
        };
        let resolver = Resolver::new(ResolverSettings::default())?;
        let answer = resolver.resolve(&destination).await?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in answer.addresses.in_order() {
            match self.dial_tcp(address).await? {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    async fn dial_tcp(&self, address: SocketAddr) -> Result<io::Result<Stream>, ReplayError> {
        let settings = TcpSettings::default();
        let tcp = net::dial_tcp(address, &settings);
        let tcp = match in_time("accept", tcp).await? {
            Ok(tcp) => tcp,
            Err(error) => return Ok(Err(error)),
        };
        let Some(connector) = &self.tls else {
            return Ok(Ok(tcp.into()));
        };
        timeout(DEADLINE, connector.connect(tcp))
            .await
            .map_err(|_| ReplayError::SilentTls)
    }
}

fn host(authority: &Authority) -> Destination {
    Destination::Host(authority.clone())
}

/// Awaits `step`, a step of a connection, for at most [`DEADLINE`].
pub(super) async fn in_time<F: Future>(
    what: &'static str,
    step: F,
) -> Result<F::Output, ReplayError> {
    timeout(DEADLINE, step)
        .await
        .map_err(|_| ReplayError::Silent(what))
}
