//! The amount of written data that the peer of a connection has taken.

use tokio::net::{TcpStream, UnixStream};

use super::tcp_info;

/// A connection that can report how much data its peer has taken.
pub(crate) trait Uptake {
    /// Returns the amount of data that the peer has taken so far; `None` if the operating system does not report it.
    ///
    /// It would be too coarse to wait until the socket is writable. Linux reports a socket as writable only when a
    /// third of a TCP send buffer, or three quarters of a unix socket's buffer, is free. With a slow peer, this can
    /// take longer than the deadline for a peer that reads nothing.
    fn uptake(&self) -> Option<UptakeLevel>;

    /// Returns the number of bytes, possibly encrypted, that this side has handed to the kernel. It is `None` if the
    /// peer's kernel never acknowledges bytes, as on a unix socket.
    fn sent(&self) -> Option<u64> {
        None
    }

    /// Returns the number of the [sent](Self::sent) bytes that the peer's kernel has acknowledged, or `None` if the
    /// operating system does not report it. It is available even after the connection has failed.
    fn acknowledged(&self) -> Option<u64> {
        None
    }

    /// Lets the kernel discard the data that it still holds when the connection is closed. Without this call, the
    /// kernel would still send this data, although its frames are sent again on another connection.
    fn discard_on_close(&self) {}
}

/// The amount that a peer had taken at one moment.
///
/// Over TCP, data counts as taken when the peer's kernel acknowledges it. If the peer's receive buffer was full, the
/// peer acknowledges more data only after a sixteenth of the buffer is free again (RFC 9293, 3.8.6.2.2;
/// `__tcp_select_window` in Linux). On a unix socket, data counts as taken when the peer's program has read it, in
/// pieces of up to 36 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UptakeLevel {
    /// The bytes taken since the connection began, if known.
    total: Option<u64>,
    waiting: u64,
}

// === impl UptakeLevel ===

impl UptakeLevel {
    /// Returns whether the peer has taken data since `before`. The caller must not have written data since `before`.
    pub(crate) fn is_past(self, before: Self) -> bool {
        match (self.total, before.total) {
            (Some(now), Some(then)) => now > then,
            _ => self.waiting < before.waiting,
        }
    }

    /// Returns the level of a peer that has acknowledged `total` bytes.
    pub(super) fn acknowledged(total: u64, waiting: u64) -> Self {
        Self {
            total: Some(total),
            waiting,
        }
    }

    /// Returns the level of a peer that has `bytes` left to read.
    pub(crate) fn unread(bytes: u64) -> Self {
        Self {
            total: None,
            waiting: bytes,
        }
    }

    /// Returns an upper bound on the bytes that were written and not yet taken. On a unix socket, this is the memory
    /// that holds these bytes.
    pub(crate) fn waiting(self) -> u64 {
        self.waiting
    }
}

// === impl Uptake ===

impl Uptake for TcpStream {
    fn uptake(&self) -> Option<UptakeLevel> {
        let sending = tcp_info::sending(self)?;
        Some(UptakeLevel::acknowledged(
            sending.acknowledged,
            sending.waiting,
        ))
    }
}

impl Uptake for UnixStream {
    fn uptake(&self) -> Option<UptakeLevel> {
        tcp_info::send_memory(self).map(UptakeLevel::unread)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use tokio::{
        io::{AsyncRead, AsyncReadExt, DuplexStream},
        net::TcpListener,
        time::{Instant, sleep},
    };

    use super::*;

    /// A connection in memory reports no uptake, because the operating system does not know such a connection.
    impl Uptake for DuplexStream {
        fn uptake(&self) -> Option<UptakeLevel> {
            None
        }
    }

    /// Writes until the buffer is full.
    async fn fill(mut write: impl AsyncFnMut() -> io::Result<usize>) -> u64 {
        let mut written = 0;
        loop {
            match write().await {
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return written,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until `condition` holds.
    async fn until(condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(10), "timed out");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets the peer read a part of the data, and then the remaining data. After the first part, the reported uptake
    /// must be larger, although the socket is not writable yet.
    async fn read_part_then_rest(
        ours: &impl Uptake,
        mut theirs: impl AsyncRead + Unpin,
        written: u64,
    ) {
        let look = || ours.uptake().expect("known");
        let full = look();
        assert!(full.waiting() > 0 && !full.is_past(full));
        let some = 64 << 10;
        assert!(some * 2 < written, "{written} bytes are too few");
        let mut read = vec![0; usize::try_from(some).expect("few")];
        theirs.read_exact(&mut read).await.expect("read");
        until(|| look().is_past(full)).await;
        let later = look();
        assert!(later.waiting() < full.waiting() && !full.is_past(later));
        let mut read = vec![0; usize::try_from(written - some).expect("few")];
        theirs.read_exact(&mut read).await.expect("read");
        until(|| look().waiting() == 0).await;
        assert!(look().is_past(later));
    }

    #[tokio::test]
    async fn tcp_uptake_shows_what_a_peer_has_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let ours = TcpStream::connect(address).await.expect("connected");
        let (theirs, _) = listener.accept().await.expect("accepted");
        ours.writable().await.expect("connected");
        let written = fill(async || ours.try_write(&[7; 10_000])).await;
        // Wait until the data in transit has reached the peer's buffer.
        until(|| {
            let before = ours.uptake();
            std::thread::sleep(Duration::from_millis(50));
            before == ours.uptake()
        })
        .await;
        read_part_then_rest(&ours, theirs, written).await;
    }

    #[tokio::test]
    async fn unix_uptake_shows_what_a_peer_has_read() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.writable().await.expect("connected");
        let written = fill(async || ours.try_write(&[7; 10_000])).await;
        // Small pieces of data take twice their size in memory. So the 208 KiB of the buffer hold only half as much
        // data.
        read_part_then_rest(&ours, theirs, written).await;
    }
}
