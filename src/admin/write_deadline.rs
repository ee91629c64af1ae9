//! A deadline for writes that make no progress, because the peer takes no data.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::{Patience, Uptake};

/// A stream whose writes fail if the peer takes no data for the time `allowed`.
#[derive(Debug)]
pub(super) struct WriteDeadline<Io> {
    io: Io,
    allowed: Duration,
    /// The deadline of a write that waits for the peer.
    waiting: Option<Patience>,
}

// === impl WriteDeadline ===

impl<Io> WriteDeadline<Io> {
    pub(super) fn new(io: Io, allowed: Duration) -> Self {
        Self {
            io,
            allowed,
            waiting: None,
        }
    }
}

impl<Io: Uptake> WriteDeadline<Io> {
    fn judge<T>(
        &mut self,
        write: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.waiting = None;
            return write;
        }
        let allowed = self.allowed;
        let waiting = self.waiting.get_or_insert_with(|| Patience::new(allowed));
        waiting
            .poll(&self.io, cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for WriteDeadline<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Uptake + Unpin> AsyncWrite for WriteDeadline<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.judge(write, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.judge(write, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flush = Pin::new(&mut this.io).poll_flush(cx);
        this.judge(flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shutdown = Pin::new(&mut this.io).poll_shutdown(cx);
        this.judge(shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::sleep,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_fails_the_write_and_a_slow_one_does_not() {
        let (near, mut far) = duplex(4);
        let mut near = WriteDeadline::new(near, Duration::from_secs(10));
        let slow = async {
            for _ in 0..4 {
                sleep(Duration::from_secs(9)).await;
                far.read_exact(&mut [0; 4]).await.expect("data");
            }
        };
        let (written, ()) = tokio::join!(near.write_all(&[1; 20]), slow);
        written.expect("a slow peer is waited for");
        let error = near.write_all(&[1; 20]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
