//! One connection attempt to one address. It dials, does the TLS handshake, sends READY and waits for ACCEPT. If this
//! attempt is the first to succeed, it also sends START.

use std::net::SocketAddr;

use super::{
    ConnectCause, ConnectError,
    dial::{self, DEADLINE},
    standing::{Standing, Standings},
};
use crate::{
    frame_stream,
    health::Stage,
    net::{Connector, Endpoint, OwnListeners, Stream, TcpSettings, TlsWords, UnixAddress},
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

/// Dials a unix socket.
pub(super) async fn unix<'a>(
    address: &UnixAddress,
    own: &OwnListeners,
    standings: &'a Standings<'a>,
    offer: Offer,
) -> Result<Accepted<'a>, ConnectError> {
    let endpoint = Endpoint::Unix(address.clone()).to_string();
    let standing = standings.begin(0, endpoint);
    let dialled = dial::unix(address, own).await;
    let stream = dialled.map_err(|(stage, cause)| standing.error(stage, cause))?;
    Accepted::by(stream, standing, offer, TlsWords::default()).await
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
    let words = tls.map(Connector::words).unwrap_or_default();
    let at_tls = || standing.reach(Stage::Tls);
    let dialled = dial::tcp(address, settings, tls, own, at_tls).await;
    let stream = dialled.map_err(|(stage, cause)| standing.error(stage, cause))?;
    Accepted::by(stream, standing, offer, words).await
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
