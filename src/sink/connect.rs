//! Makes one connection: resolve, dial, TLS, handshake.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{Connection, Reporter, connection::Deadlines};
use crate::{
    frame_stream::{self, HandshakeError},
    net::{self, Authority, ResolveError, Resolver, Stream, TcpSettings, UnixAddress},
};

/// Makes connections to one collector: looks the name up anew each time, and tries every address it gives.
#[derive(Debug, Clone)]
pub struct Connect {
    target: Target,
    resolver: Resolver,
    status: Reporter,
    abort: CancellationToken,
}

/// Where to connect to, and how.
#[derive(Debug, Clone)]
pub enum Target {
    /// A unix socket.
    Unix(UnixAddress),
    /// TCP, and TLS on it if there is a configuration for that.
    Tcp {
        /// Host and port.
        authority: Authority,
        /// What to set on the socket.
        settings: TcpSettings,
        /// How to speak TLS, if it is to be spoken.
        tls: Option<Tls>,
    },
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
    Resolve(#[from] ResolveError),
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

/// For each of: the look-up, each dial, each TLS handshake, each Frame Streams handshake. `CoreDNS` has the same.
const DEADLINE: Duration = Duration::from_secs(4);

/// A collector that hangs for longer is taken for dead.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// A collector has read what was sent and says FINISH by then, or it is done without.
const FINISH_DEADLINE: Duration = Duration::from_secs(4);

// === impl Connect ===

impl Connect {
    /// Connections to `target`, that tell `status` what they do and that `abort` ends.
    pub fn new(
        target: Target,
        resolver: Resolver,
        status: Reporter,
        abort: CancellationToken,
    ) -> Self {
        Self {
            target,
            resolver,
            status,
            abort,
        }
    }

    async fn connect(self) -> Result<Connection<Stream>, ConnectError> {
        let stream = match &self.target {
            Target::Unix(address) => self.connect_unix(address).await?,
            Target::Tcp {
                authority,
                settings,
                tls,
            } => self.connect_name(authority, settings, tls.as_ref()).await?,
        };
        let deadlines = Deadlines {
            write: WRITE_DEADLINE,
            finish: FINISH_DEADLINE,
        };
        Ok(Connection::new(stream, deadlines, self.abort))
    }

    async fn connect_unix(&self, address: &UnixAddress) -> Result<Stream, ConnectError> {
        let endpoint = net::Endpoint::Unix(address.clone()).to_string();
        self.status.connecting(&endpoint);
        let dial = within(DEADLINE, net::dial_unix(address), ConnectCause::Dial).await;
        let stream = dial.map_err(|cause| ConnectError::new(Stage::Connect, &endpoint, cause))?;
        self.handshake(Stream::Unix(stream), &endpoint).await
    }

    async fn connect_name(
        &self,
        authority: &Authority,
        settings: &TcpSettings,
        tls: Option<&Tls>,
    ) -> Result<Stream, ConnectError> {
        self.status.resolving();
        let resolve = within(
            DEADLINE,
            self.resolver.resolve(authority),
            ConnectCause::Resolve,
        )
        .await;
        let addresses = resolve
            .map_err(|cause| ConnectError::new(Stage::Resolve, &authority.to_string(), cause))?;
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
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(ConnectError { others, ..error }),
            }
        }
        // The resolver never gives an empty answer: that is one of its errors.
        Err(last.unwrap_or_else(|| {
            let cause = ConnectCause::Dial(io::ErrorKind::AddrNotAvailable.into());
            ConnectError::new(Stage::Resolve, &authority.to_string(), cause)
        }))
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
    type Response = Connection<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection<Stream>, ConnectError>> + Send>>;

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
        Some(rustls::Error::InvalidMessage(_)) => "; does this port speak TLS?",
        _ => "",
    }
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
