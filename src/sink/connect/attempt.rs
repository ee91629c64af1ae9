//! One connection attempt to one address. It dials, does the TLS handshake, sends READY and waits for ACCEPT. If this
//! attempt is the first to succeed, it also sends START.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    ConnectCause, ConnectError,
    standing::{Standing, Standings},
};
use crate::{
    frame_stream,
    health::Stage,
    net::{self, Connector, OwnListeners, Stream, TcpSettings, TlsWords, UnixAddress},
};

/// A connection on which the collector has sent ACCEPT, but the sink has not sent START. The caller can drop the
/// connection, because the stream has not started yet.
#[derive(Debug)]
pub(super) struct Accepted<'a> {
    stream: Stream,
    standing: Standing<'a>,
    /// The names of the TLS settings in error texts.
    words: TlsWords,
}

/// The READY that the attempt sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Plain,
    /// READY says that the collector can ask for the end of the stream.
    EndRequest,
}

/// The deadline for each dial, each TLS handshake and each Frame Streams handshake. `CoreDNS` uses the same value. A
/// lookup does not use this deadline, because the resolver has its own.
const DEADLINE: Duration = Duration::from_secs(4);

/// Dials a unix socket.
pub(super) async fn unix<'a>(
    address: &UnixAddress,
    own: &OwnListeners,
    standings: &'a Standings<'a>,
    offer: Offer,
) -> Result<Accepted<'a>, ConnectError> {
    let endpoint = net::Endpoint::Unix(address.clone()).to_string();
    let standing = standings.begin(0, endpoint);
    let dial = within(DEADLINE, net::dial_unix(address), ConnectCause::Dial).await;
    let stream = dial.map_err(|cause| standing.error(Stage::Connect, cause))?;
    not_own(own.at_unix(&stream, address))
        .map_err(|cause| standing.error(Stage::Connect, cause))?;
    Accepted::by(Stream::Unix(stream), standing, offer, TlsWords::default()).await
}

/// Dials `address`. `place` is the position of this address among the addresses of its name.
pub(super) async fn tcp<'a>(
    (place, address): (usize, SocketAddr),
    settings: &TcpSettings,
    tls: Option<&Connector>,
    own: &OwnListeners,
    standings: &'a Standings<'a>,
    offer: Offer,
) -> Result<Accepted<'a>, ConnectError> {
    let scheme = if tls.is_some() { "tls" } else { "tcp" };
    let standing = standings.begin(place, format!("{scheme}://{address}"));
    let dial = net::dial_tcp(address, settings);
    let dial = within(DEADLINE, dial, ConnectCause::Dial).await;
    let tcp = dial.map_err(|cause| standing.error(Stage::Connect, cause))?;
    not_own(own.at_tcp(&tcp)).map_err(|cause| standing.error(Stage::Connect, cause))?;
    let words = tls.map(Connector::words).unwrap_or_default();
    let stream = match tls {
        None => tcp.into(),
        Some(tls) => {
            standing.reach(Stage::Tls);
            let failed = |error| ConnectCause::Tls(error, words);
            let tls = within(DEADLINE, tls.connect(tcp), failed).await;
            tls.map_err(|cause| standing.error(Stage::Tls, cause))?
        }
    };
    Accepted::by(stream, standing, offer, words).await
}

/// Fails if the connection leads to a listener of this router. Without this check, the router would receive its own
/// frames again.
fn not_own(listener: Option<Arc<str>>) -> Result<(), ConnectCause> {
    match listener {
        None => Ok(()),
        Some(listener) => Err(ConnectCause::OwnListener(listener)),
    }
}

/// Waits for `future`, but fails after `deadline`.
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

// === impl Accepted ===

impl<'a> Accepted<'a> {
    async fn by(
        mut stream: Stream,
        standing: Standing<'a>,
        offer: Offer,
        words: TlsWords,
    ) -> Result<Self, ConnectError> {
        standing.reach(Stage::Handshake);
        let offered = match offer {
            Offer::Plain => frame_stream::offer(&mut stream, DEADLINE).await,
            Offer::EndRequest => frame_stream::offer_with_end_request(&mut stream, DEADLINE).await,
        };
        match offered {
            Ok(()) => Ok(Self {
                stream,
                standing,
                words,
            }),
            Err(error) => {
                let cause = ConnectCause::Handshake(error, words);
                Err(standing.error(Stage::Handshake, cause))
            }
        }
    }

    /// Sends START, and returns the stream with its [`Standing`]. The caller must keep the standing until it has
    /// dropped all other attempts. This attempt is the furthest of all; as long as its standing exists, the end of
    /// another attempt does not change the state that the sink reports.
    pub(super) async fn start(mut self) -> Result<(Stream, Standing<'a>), ConnectError> {
        match frame_stream::start(&mut self.stream, DEADLINE).await {
            Ok(()) => Ok((self.stream, self.standing)),
            Err(error) => {
                let cause = ConnectCause::Handshake(error, self.words);
                Err(self.standing.error(Stage::Handshake, cause))
            }
        }
    }
}

// === impl Standing ===

impl Standing<'_> {
    fn error(&self, stage: Stage, cause: ConnectCause) -> ConnectError {
        ConnectError::new(stage, &self.endpoint, cause)
    }
}
