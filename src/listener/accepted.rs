//! An accepted connection, and the TLS handshake on it.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use super::ErrorReason;
use crate::{
    frame_stream::LooksLike,
    net::{self, ServerConfig, ServerWords, Stream},
};

/// An accepted connection, before TLS.
pub(crate) enum Accepted {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream, SocketAddr),
}

/// The reason why an accepted connection has no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoStream {
    #[error("the peer closed the connection without sending anything, as a port probe does")]
    NothingSent,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("{}", net::server_failure(.0, *.1))]
    Tls(io::Error, ServerWords),
    #[error(
        "this socket speaks TLS, but the peer began with {0}; turn TLS on at the peer, or write `tcp://` instead of `tls://`"
    )]
    NotTls(LooksLike),
    #[error("the TLS handshake was not complete after {0:?}")]
    Timeout(Duration),
    #[error("the drain ended before the TLS handshake was complete")]
    Drained,
}

/// The first byte of every TLS connection: the type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

// === impl Accepted ===

impl Accepted {
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Unix(_) => "unix".to_owned(),
            Self::Tcp(_, peer) => peer.to_string(),
        }
    }

    /// Performs the TLS handshake if there is one, within `deadline`. `tls` has the certificate, and the names of the
    /// settings in error texts.
    pub(crate) async fn into_stream(
        self,
        tls: Option<(Arc<ServerConfig>, ServerWords)>,
        deadline: Duration,
    ) -> Result<Stream, NoStream> {
        let stream = match self {
            Self::Unix(stream) => return Ok(Stream::Unix(stream)),
            Self::Tcp(stream, _) => stream,
        };
        net::prepare_accepted(&stream).map_err(NoStream::Broken)?;
        let Some((tls, words)) = tls else {
            return Ok(stream.into());
        };
        let handshake = async {
            let mut opening = [0; 4];
            let length = peek(&stream, &mut opening).await;
            // A port probe must not reach TLS, which would report it as a failed handshake.
            if length == 0 {
                return Err(NoStream::NothingSent);
            }
            // TLS is started even if the first bytes are not TLS. The client then gets an alert, which it can log.
            net::accept_tls(tls, stream).await.map_err(|error| {
                if opening[0] == TLS_HANDSHAKE || length < opening.len() {
                    NoStream::Tls(error, words)
                } else {
                    NoStream::NotTls(LooksLike::from_first_bytes(opening))
                }
            })
        };
        match timeout(deadline, handshake).await {
            Ok(result) => result,
            Err(_) => Err(NoStream::Timeout(deadline)),
        }
    }
}

impl AsRawFd for Accepted {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tcp(stream, _) => stream.as_raw_fd(),
        }
    }
}

/// Waits for the peer's first bytes and returns the number of bytes so far, or 0 if the peer closed the connection. If
/// reading fails with an error other than a reset, returns 1. The caller then starts TLS, which gets the same error and
/// reports it.
async fn peek(stream: &tokio::net::TcpStream, opening: &mut [u8; 4]) -> usize {
    match stream.peek(opening).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        Err(_) => 1,
    }
}

// === impl NoStream ===

impl From<&NoStream> for ErrorReason {
    fn from(error: &NoStream) -> Self {
        match error {
            NoStream::NothingSent => Self::Probe,
            NoStream::Broken(_) => Self::Io,
            NoStream::Tls(..) | NoStream::NotTls(_) | NoStream::Timeout(_) | NoStream::Drained => {
                Self::Tls
            }
        }
    }
}
