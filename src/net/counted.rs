//! A TCP connection that counts what it sends.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A TCP connection that counts the bytes that the kernel has accepted for sending.
///
/// The kernel reports how many bytes the peer has acknowledged. The comparison of the two numbers shows whether all
/// bytes are acknowledged. Under TLS, both numbers are of encrypted bytes.
#[derive(Debug)]
pub struct Counted {
    io: TcpStream,
    sent: u64,
}

// === impl Counted ===

impl Counted {
    /// Returns the connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.io
    }

    /// Returns the number of bytes that the kernel has taken so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    fn count(&mut self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if let Ok(bytes) = written {
            self.sent += bytes as u64;
        }
        Poll::Ready(written)
    }
}

impl From<TcpStream> for Counted {
    /// Wraps a connection on which nothing was sent yet.
    fn from(io: TcpStream) -> Self {
        Self { io, sent: 0 }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices));
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
