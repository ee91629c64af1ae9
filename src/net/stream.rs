//! One connection: unix, TCP or TLS.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{
    Counted, Liveness, PeerProcess, TcpSettings, Uptake, UptakeLevel,
    tcp_info::{awaits_answer, last_acknowledged, sending},
};

/// A connection that a listener accepted or a sink opened.
///
/// A vectored write is one call to the operating system, or to the TLS layer.
#[derive(Debug)]
pub enum Stream {
    /// A unix stream socket.
    Unix(UnixStream),
    /// TCP.
    Tcp(Counted),
    /// TLS over TCP, as a client or as a server.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::TlsStream<Counted>>),
}

// === impl Stream ===

macro_rules! each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Stream::Unix($io) => $call,
            Stream::Tcp($io) => $call,
            #[cfg(feature = "tls")]
            Stream::Tls($io) => $call,
        }
    };
}

impl Stream {
    /// Describes the peer for log lines: its address, or on a unix socket its process.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # let _guard = runtime.enter();
    /// let (ours, _theirs) = tokio::net::UnixStream::pair()?;
    /// let peer = tapfan::internals::Stream::Unix(ours).peer();
    /// assert!(peer.starts_with(&format!("pid {}, uid ", std::process::id())));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer(&self) -> String {
        let Self::Unix(io) = self else {
            let address = self.tcp().and_then(|io| io.peer_addr().ok());
            return address.map_or_else(|| "a peer that is gone".to_owned(), |it| it.to_string());
        };
        PeerProcess::of(io).map_or_else(
            || "an unknown process".to_owned(),
            |process| process.to_string(),
        )
    }

    /// Returns the process at the other end of a unix socket, or `None` for TCP or if the system does not report it.
    pub(crate) fn process(&self) -> Option<PeerProcess> {
        let Self::Unix(io) = self else {
            return None;
        };
        PeerProcess::of(io)
    }

    /// Sets the options of an accepted connection to which frames are written. A unix socket has no such options.
    pub(crate) fn prepare(&self, settings: &TcpSettings) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |socket| settings.set_on(socket))
    }

    /// Returns the TCP connection, which may carry TLS. It is `None` for a unix socket.
    fn tcp(&self) -> Option<&TcpStream> {
        self.counted().map(Counted::tcp)
    }

    fn counted(&self) -> Option<&Counted> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(io) => Some(io),
            #[cfg(feature = "tls")]
            Self::Tls(io) => Some(io.get_ref().0),
        }
    }

    /// Returns whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Self::Unix(_) | Self::Tcp(_))
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(io) => io.as_raw_fd(),
            Self::Tcp(io) => io.tcp().as_raw_fd(),
            #[cfg(feature = "tls")]
            Self::Tls(io) => io.get_ref().0.tcp().as_raw_fd(),
        }
    }
}

impl From<TcpStream> for Stream {
    /// Wraps a TCP connection on which nothing was sent yet.
    fn from(io: TcpStream) -> Self {
        Self::Tcp(io.into())
    }
}

impl Liveness for Stream {
    fn last_heard(&self) -> Option<Duration> {
        last_acknowledged(self.tcp()?)
    }

    fn awaits_answer(&self) -> bool {
        self.tcp().and_then(awaits_answer).unwrap_or(true)
    }
}

impl Uptake for Stream {
    /// Returns the uptake of the connection; with TLS, that of the underlying TCP connection.
    fn uptake(&self) -> Option<UptakeLevel> {
        if let Self::Unix(io) = self {
            return io.uptake();
        }
        self.tcp()?.uptake()
    }

    fn sent(&self) -> Option<u64> {
        self.counted().map(Counted::sent)
    }

    fn discard_on_close(&self) {
        if let Some(tcp) = self.tcp() {
            // With this option, closing the connection sends a reset and discards unsent data. If the option cannot be
            // set, the collector may get some frames twice.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    fn acknowledged(&self) -> Option<u64> {
        let sending = sending(self.tcp()?)?;
        // Our SYN counts as one byte, and so does our FIN after the shutdown.
        let bytes = sending.acknowledged.saturating_sub(1);
        self.sent().map(|sent| bytes.min(sent))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn slices_go_out_in_one_write() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut ours = Stream::Unix(ours);
        assert!(ours.is_write_vectored());
        assert!(!ours.is_tls());
        let slices = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        let written = ours.write_vectored(&slices).await.expect("written");
        assert_eq!(written, 7);
        ours.shutdown().await.expect("shut down");
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.expect("read");
        assert_eq!(read, "one two");
    }

    #[tokio::test]
    async fn a_tcp_peer_is_its_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let address = listener.local_addr().expect("an address");
        let dialled = TcpStream::connect(address).await.expect("connected");
        assert_eq!(Stream::from(dialled).peer(), address.to_string());
    }
}
