//! Makes one connection: resolve, dial, TLS, handshake.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{sync::watch, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::Service;

use super::{Connection, Established, Reporter, Resolution, Term, connection::Deadlines};
use crate::{
    frame_stream::{self, HandshakeError},
    net::{
        self, Addresses, Authority, Destination, ResolveError, Resolver, Stream, TcpSettings,
        UnixAddress,
    },
};

/// Makes connections to one collector: tries every address that its name has at the time.
#[derive(Debug, Clone)]
pub struct Connect {
    target: Target,
    deadlines: Deadlines,
    max_age: Option<Duration>,
    resolver: Resolver,
    status: Reporter,
    abort: CancellationToken,
    /// Looks the name up, for as long as there is one of these.
    _resolving: Option<Arc<AbortOnDropHandle<()>>>,
}

/// Where to connect to, and how.
#[derive(Debug, Clone)]
pub enum Target {
    /// A unix socket.
    Unix(UnixAddress),
    /// TCP, and TLS on it if there is a configuration for that.
    Tcp {
        /// What to dial.
        place: Place,
        /// What to set on the socket.
        settings: TcpSettings,
        /// How to speak TLS, if it is to be spoken.
        tls: Option<Tls>,
    },
}

/// Where a TCP connection goes.
#[derive(Debug, Clone)]
pub enum Place {
    /// To an address that needs no name server.
    Fixed(Authority),
    /// To where a name leads.
    Named(Resolution),
}

/// How a sink speaks TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What every handshake from now on is done with. Shared by all stacks of the sink, so that certificates can be
    /// replaced while it runs.
    pub config: Arc<ArcSwap<ClientConfig>>,
    /// The name to verify.
    pub name: ServerName<'static>,
}

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Looking the name up.
    Resolve,
    /// Dialling.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The Frame Streams handshake.
    Handshake,
    /// Writing, on a connection that was up.
    Write,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{stage} {endpoint}: {}", self.sentence())]
pub struct ConnectError {
    /// What was being done.
    pub stage: Stage,
    /// With which address, or name.
    pub endpoint: String,
    /// What went wrong.
    #[source]
    pub cause: ConnectCause,
    /// How many other addresses of the same name had failed before.
    pub others: usize,
}

/// What went wrong in an attempt.
#[derive(Debug, thiserror::Error)]
pub enum ConnectCause {
    /// The name gave no address.
    #[error(transparent)]
    Resolve(Arc<ResolveError>),
    /// Dialling failed.
    #[error("{0}{hint}", hint = dial_hint(.0))]
    Dial(io::Error),
    /// The TLS handshake failed.
    #[error("{0}{hint}", hint = tls_hint(.0))]
    Tls(io::Error),
    /// The Frame Streams handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The collector's side did nothing for so long.
    #[error("no answer for {0:?}")]
    Timeout(Duration),
}

/// For each of: each dial, each TLS handshake, each Frame Streams handshake. `CoreDNS` has the same. The look-up has the
/// resolver's.
const DEADLINE: Duration = Duration::from_secs(4);

/// A collector has read what was sent and says FINISH by then, or it is done without.
const FINISH_DEADLINE: Duration = Duration::from_secs(4);

// === impl Connect ===

impl Connect {
    /// Connections to `target`, that tell `status` what they do and that `abort` ends. One that takes nothing for
    /// `write_timeout` is given up; one that reaches `max_age` is to be replaced. Starts to look the target's name up.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        target: Target,
        write_timeout: Duration,
        max_age: Option<Duration>,
        resolver: Resolver,
        status: Reporter,
        abort: CancellationToken,
    ) -> Self {
        let resolving = match &target {
            Target::Tcp {
                place: Place::Named(resolution),
                ..
            } => Some(resolution.start(resolver.clone(), status.clone())),
            _ => None,
        };
        Self {
            target,
            deadlines: Deadlines {
                write: write_timeout,
                finish: FINISH_DEADLINE,
            },
            max_age,
            resolver,
            status,
            abort,
            _resolving: resolving.map(Arc::new),
        }
    }

    async fn connect(self) -> Result<Established<Connection<Stream>>, ConnectError> {
        let (stream, endpoint, place) = match &self.target {
            Target::Unix(address) => {
                let (stream, endpoint) = self.connect_unix(address).await?;
                (stream, endpoint, None)
            }
            Target::Tcp {
                place,
                settings,
                tls,
            } => {
                let tls = tls.as_ref();
                let (stream, endpoint, address) = self.connect_tcp(place, settings, tls).await?;
                let place = place.addresses().map(|addresses| (address, addresses));
                (stream, endpoint, place)
            }
        };
        Ok(Established {
            connection: Connection::new(stream, self.deadlines, self.abort)
                .reporting_to(self.status),
            endpoint: endpoint.into(),
            term: Term::new(self.max_age, place),
        })
    }

    async fn connect_unix(&self, address: &UnixAddress) -> Result<(Stream, String), ConnectError> {
        let endpoint = net::Endpoint::Unix(address.clone()).to_string();
        self.status.connecting(&endpoint);
        let dial = within(DEADLINE, net::dial_unix(address), ConnectCause::Dial).await;
        let stream = dial.map_err(|cause| ConnectError::new(Stage::Connect, &endpoint, cause))?;
        let stream = self.handshake(Stream::Unix(stream), &endpoint).await?;
        Ok((stream, endpoint))
    }

    async fn connect_tcp(
        &self,
        place: &Place,
        settings: &TcpSettings,
        tls: Option<&Tls>,
    ) -> Result<(Stream, String, SocketAddr), ConnectError> {
        let addresses = self.addresses(place).await?;
        let mut last = None;
        for (others, address) in addresses.into_iter().enumerate() {
            let scheme = if tls.is_some() { "tls" } else { "tcp" };
            let endpoint = format!("{scheme}://{address}");
            self.status.connecting(&endpoint);
            let attempt = async {
                let dial = within(
                    DEADLINE,
                    net::dial_tcp(address, settings),
                    ConnectCause::Dial,
                )
                .await;
                let tcp =
                    dial.map_err(|cause| ConnectError::new(Stage::Connect, &endpoint, cause))?;
                let stream = match tls {
                    None => Stream::Tcp(tcp),
                    Some(Tls { config, name }) => {
                        let connector = TlsConnector::from(config.load_full());
                        let tls = within(
                            DEADLINE,
                            connector.connect(name.clone(), tcp),
                            ConnectCause::Tls,
                        )
                        .await;
                        let tls =
                            tls.map_err(|cause| ConnectError::new(Stage::Tls, &endpoint, cause))?;
                        Stream::TlsClient(Box::new(tls))
                    }
                };
                self.handshake(stream, &endpoint).await
            };
            match attempt.await {
                Ok(stream) => return Ok((stream, endpoint, address)),
                Err(error) => last = Some(ConnectError { others, ..error }),
            }
        }
        // There is no answer without addresses: that is one of the resolver's errors.
        Err(last.unwrap_or_else(|| {
            let cause = ConnectCause::Dial(io::ErrorKind::AddrNotAvailable.into());
            ConnectError::new(Stage::Resolve, &place.to_string(), cause)
        }))
    }

    /// The addresses to try, in order.
    async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, ConnectError> {
        self.status.resolving();
        let addresses = match place {
            Place::Fixed(authority) => {
                let address = Destination::Host(authority.clone());
                let answer = self.resolver.resolve(&address).await.map_err(Arc::new);
                answer.map(|answer| answer.addresses.in_order())
            }
            Place::Named(resolution) => resolution.for_attempt().await,
        };
        addresses.map_err(|error| {
            let cause = ConnectCause::Resolve(error);
            ConnectError::new(Stage::Resolve, &place.to_string(), cause)
        })
    }

    async fn handshake(&self, mut stream: Stream, endpoint: &str) -> Result<Stream, ConnectError> {
        self.status.handshaking();
        match frame_stream::open(&mut stream, DEADLINE).await {
            Ok(()) => Ok(stream),
            Err(error) => Err(ConnectError::new(Stage::Handshake, endpoint, error.into())),
        }
    }
}

impl Service<()> for Connect {
    type Response = Established<Connection<Stream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// What `future` gives, if it does so within `deadline`.
async fn within<T, E>(
    deadline: Duration,
    future: impl Future<Output = Result<T, E>>,
    cause: impl FnOnce(E) -> ConnectCause,
) -> Result<T, ConnectCause> {
    match timeout(deadline, future).await {
        Ok(result) => result.map_err(cause),
        Err(_) => Err(ConnectCause::Timeout(deadline)),
    }
}

// === impl Place ===

impl Place {
    /// The addresses of the name, as they are and as they change.
    fn addresses(&self) -> Option<watch::Receiver<Arc<Addresses>>> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(resolution) => Some(resolution.addresses()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(authority) => authority.fmt(f),
            Self::Named(resolution) => resolution.destination().fmt(f),
        }
    }
}

// === impl ConnectError ===

impl ConnectError {
    /// What went wrong, without the stage and the endpoint.
    pub fn sentence(&self) -> String {
        let Self { cause, others, .. } = self;
        match others {
            0 => cause.to_string(),
            1 => format!("{cause}; another address failed before it"),
            others => format!("{cause}; {others} other addresses failed before it"),
        }
    }

    fn new(stage: Stage, endpoint: &str, cause: ConnectCause) -> Self {
        Self {
            stage,
            endpoint: endpoint.to_owned(),
            cause,
            others: 0,
        }
    }
}

// === impl ConnectCause ===

fn dial_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the collector running, and listening there?",
        io::ErrorKind::NotFound => {
            "; the collector makes this socket when it starts: is it running?"
        }
        io::ErrorKind::PermissionDenied => "; may this user write to the collector's socket?",
        io::ErrorKind::WouldBlock => "; the collector's backlog is full: it does not accept",
        _ => "",
    }
}

fn tls_hint(error: &io::Error) -> &'static str {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "; name the authority with `ca`, or see what `skipverify` means"
        }
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => "; name what the certificate is for with `server_name`",
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)))
            if is_authority(other) =>
        {
            "; it is an authority's own certificate: make one for the collector, with basicConstraints=CA:FALSE"
        }
        Some(rustls::Error::InvalidMessage(_)) => "; does this port speak TLS?",
        _ => "",
    }
}

/// Whether the collector shows what only signs: what `openssl req -x509` makes unless told otherwise.
fn is_authority(error: &rustls::OtherError) -> bool {
    matches!(
        error.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

// === impl Stage ===

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Handshake => "handshake",
            Self::Write => "write",
        })
    }
}
