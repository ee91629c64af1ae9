//! The handshakes of a collector that has connected: TLS, and the sender's part of Frame Streams.

use std::{io, sync::Arc};

use super::settings::Settings;
use crate::{
    frame_stream::{self, Awaited, ControlKind, HandshakeError},
    listener::{Accepted, NoStream},
    net::{ServerWords, Stream},
    sink::dial::DEADLINE,
};

/// A collector that has sent ACCEPT. START was not sent to it yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) settings: Arc<Settings>,
}

/// The reason why a collector that has connected gets no frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    NoStream(NoStream),
    #[error("the options of the socket cannot be set: {0}")]
    Options(io::Error),
    #[error(transparent)]
    Handshake(HandshakeError),
    #[error("{0} collectors are connected, as many as max_collectors allows")]
    Full(usize),
    #[error("cannot accept connections: {0}")]
    Accept(io::Error),
}

/// Performs the handshakes with a collector, up to its ACCEPT. Each of the two has a [deadline](DEADLINE).
pub(super) async fn open(accepted: Accepted, settings: Arc<Settings>) -> Result<Opened, Refusal> {
    let tls = settings.tls.clone();
    let tls = tls.map(|tls| (tls, ServerWords::of_sink()));
    let stream = accepted.into_stream(tls, DEADLINE).await;
    let mut stream = stream.map_err(Refusal::NoStream)?;
    stream.prepare(&settings.tcp).map_err(Refusal::Options)?;
    let offered = frame_stream::offer(&mut stream, DEADLINE).await;
    offered.map_err(Refusal::Handshake)?;
    Ok(Opened { stream, settings })
}

// === impl Opened ===

impl Opened {
    /// Sends START.
    pub(super) async fn start(&mut self) -> Result<(), Refusal> {
        let started = frame_stream::start(&mut self.stream, DEADLINE).await;
        started.map_err(Refusal::Handshake)
    }
}

// === impl Refusal ===

impl Refusal {
    /// Returns whether the other end only tested the port: it closed the connection before it sent anything. A
    /// collector that has sent ACCEPT, or a part of it, is not a test of the port.
    pub(super) fn is_probe(&self) -> bool {
        match self {
            Self::NoStream(NoStream::NothingSent)
            | Self::Handshake(HandshakeError::Closed(Awaited::Accept)) => true,
            Self::Handshake(HandshakeError::Io {
                awaited: Awaited::Accept | Awaited::Room(ControlKind::Ready),
                source,
            }) => matches!(
                source.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            _ => false,
        }
    }
}
