//! Attempts to connect to a collector: the lookup of the name, the dial, the TLS handshake and the Frame Streams
//! handshake.

mod attempt;
pub(crate) mod dial;
mod error;
mod kind;
mod race;
mod standing;
mod target;
mod transport;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::Service;

pub(crate) use self::error::{ConnectCause, ConnectError};
pub(super) use self::kind::kind_of_lookup;
#[cfg(feature = "kafka")]
pub(super) use self::kind::of_io;
pub(super) use self::race::AT_ONCE as ATTEMPTS_AT_ONCE;
#[cfg(feature = "kafka")]
pub(super) use self::race::race;
#[cfg(not(feature = "kafka"))]
use self::race::race;
pub(crate) use self::target::{Place, Target};
use self::{attempt::Offer, standing::Standings, transport::Transport};
#[cfg(feature = "kafka")]
use super::Kafka;
use super::{
    Connection, Established, Term, confirmation::Confirmation, connection::Deadlines, file::Files,
};
use crate::{
    health::{Event, Reporter, Stage},
    net::{Connector, OwnListeners, Stream, TcpSettings},
};

/// A service that makes connections to one collector.
///
/// If a name has several addresses, the attempts to connect to them run at the same time, and the first collector that
/// sends ACCEPT wins. A TCP connection or a TLS session is not enough to win: for a dead collector, proxies and service
/// meshes accept both. Only the winner gets START, so no other collector sees a stream that starts and is cut off.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    target: Target,
    deadlines: Deadlines,
    max_age: Option<Duration>,
    confirmation: Confirmation,
    own: OwnListeners,
    status: Reporter,
    abort: CancellationToken,
    /// The task that looks up the name. It ends when the last clone of this handle is dropped.
    _resolving: Option<Arc<AbortOnDropHandle<()>>>,
}

/// The time in which the collector must read the remaining data and answer STOP with FINISH. After this time, the
/// connection is closed without FINISH.
pub(crate) const FINISH_DEADLINE: Duration = Duration::from_secs(4);

/// The age at which a connection with `confirm finish` is replaced if the collector has not sent FINISH on earlier
/// connections. The replacement gives the collector another chance to answer STOP with FINISH.
const RETRY_FINISH: Duration = Duration::from_secs(10 * 60);

// === impl Connect ===

impl Connect {
    /// Creates a service that connects to `target` and reports to `status`. If the target has a name, starts the
    /// lookups of this name.
    ///
    /// A connection ends when `abort` is cancelled, or when the collector takes no data for `write_timeout`. A
    /// connection that reaches the age `max_age` must be replaced. `confirmation` says how the collector confirms frames.
    /// `own` lists the listeners of this router. A
    /// connection that leads to one of them is closed before any data is sent.
    pub(in crate::sink) fn new(
        target: Target,
        write_timeout: Duration,
        max_age: Option<Duration>,
        confirmation: Confirmation,
        own: OwnListeners,
        status: Reporter,
        abort: CancellationToken,
    ) -> Self {
        let resolving = match &target {
            Target::Tcp {
                place: Place::Named(resolution),
                ..
            } => Some(resolution.start(status.clone())),
            _ => None,
        };
        Self {
            target,
            deadlines: Deadlines {
                write: write_timeout,
                finish: FINISH_DEADLINE,
            },
            max_age,
            confirmation,
            own,
            status,
            abort,
            _resolving: resolving.map(Arc::new),
        }
    }

    async fn connect(self) -> Result<Established<Transport>, ConnectError> {
        let (stream, endpoint, place) = match &self.target {
            Target::Files(files) => return self.open(files).await,
            #[cfg(feature = "kafka")]
            Target::Kafka(kafka) => return self.link(kafka).await,
            Target::Unix(address) => {
                let standings = Standings::new(&self.status);
                let accepted = attempt::unix(address, &self.own, &standings, self.offer()).await?;
                let (stream, standing) = accepted.start().await?;
                (stream, Arc::clone(&standing.endpoint), None)
            }
            Target::Tcp {
                place,
                settings,
                tls,
            } => {
                let tls = tls.as_deref();
                let (stream, endpoint, address) = self.connect_tcp(place, settings, tls).await?;
                let place = place.addresses().map(|addresses| (address, addresses));
                (stream, endpoint, place)
            }
        };
        // The operator may have changed the collector so that it now sends FINISH. A new connection after this time
        // gives the collector another chance.
        let degraded = self.confirmation.is_degraded().then_some(RETRY_FINISH);
        let term = Term::new([self.max_age, degraded].into_iter().flatten().min(), place);
        let connection =
            Connection::new(stream, self.deadlines, self.abort).reporting_to(self.status);
        let (connection, checkpoint) = connection.confirming(self.confirmation);
        Ok(Established {
            connection: Transport::FrameStreams(connection),
            endpoint,
            term: match checkpoint {
                Some(checkpoint) => term.until_checkpoint(checkpoint),
                None => term,
            },
            reports_itself: false,
        })
    }

    async fn open(&self, files: &Files) -> Result<Established<Transport>, ConnectError> {
        let endpoint = files.to_string();
        self.status.report(&Event::Connecting(&endpoint));
        let abort = self.abort.clone();
        match files.open(self.deadlines.write, &self.status, abort).await {
            Ok(file) => Ok(Established {
                connection: Transport::File(file.connection),
                endpoint: file.endpoint,
                term: file.term,
                reports_itself: false,
            }),
            Err(error) => {
                let cause = ConnectCause::File(error);
                Err(ConnectError::new(Stage::Connect, &endpoint, cause))
            }
        }
    }

    #[cfg(feature = "kafka")]
    async fn link(&self, kafka: &Kafka) -> Result<Established<Transport>, ConnectError> {
        let endpoint = kafka.to_string().into();
        let (own, status) = (self.own.clone(), self.status.clone());
        let connection = kafka.open(own, status, self.deadlines, self.abort.clone());
        Ok(Established {
            connection: Transport::Kafka(connection.await?),
            endpoint,
            term: Term::new(None, None),
            reports_itself: true,
        })
    }

    async fn connect_tcp(
        &self,
        place: &Place,
        settings: &TcpSettings,
        tls: Option<&Connector>,
    ) -> Result<(Stream, Arc<str>, SocketAddr), ConnectError> {
        let addresses = self.addresses(place).await?;
        let standings = Standings::new(&self.status);
        let attempts = addresses.into_iter().enumerate().map(|(place, address)| {
            let (place, own, offer) = ((place, address), &self.own, self.offer());
            let attempt = attempt::tcp(place, settings, tls, own, &standings, offer);
            async move { attempt.await.map(|accepted| (accepted, address)) }
        });
        let opened = race(attempts, |(accepted, address)| async move {
            let (stream, standing) = accepted.start().await?;
            Ok((stream, standing, address))
        });
        match opened.await {
            Ok((stream, standing, address)) => {
                Ok((stream, Arc::clone(&standing.endpoint), address))
            }
            // The closure never runs. It would run only without addresses, but in that case the resolver returns an
            // error.
            Err(errors) => Err(ConnectError::most_telling(errors).unwrap_or_else(|| {
                let cause = ConnectCause::Dial(io::ErrorKind::AddrNotAvailable.into());
                ConnectError::new(Stage::Resolve, &place.to_string(), cause)
            })),
        }
    }

    /// Returns the READY for a new connection. Only frames that wait for FINISH need a request for the end of the stream.
    fn offer(&self) -> Offer {
        if self.confirmation.awaits_finish() {
            Offer::EndRequest
        } else {
            Offer::Plain
        }
    }

    /// Returns the addresses to try, in order.
    async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, ConnectError> {
        self.status.report(&Event::Resolving);
        let addresses = match place {
            Place::Fixed(literal) => literal
                .address()
                .map(|address| vec![address])
                .map_err(Arc::new),
            Place::Named(resolution) => resolution.for_attempt().await,
        };
        addresses.map_err(|error| {
            let cause = ConnectCause::Resolve(error);
            ConnectError::new(Stage::Resolve, &place.to_string(), cause)
        })
    }
}

impl Service<()> for Connect {
    type Response = Established<Transport>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
