//! How much of what was written to a peer it has taken.

use tokio::net::{TcpStream, UnixStream};

use super::tcp_info;

/// A connection that may know how much its peer has taken.
pub trait Uptake {
    /// Looks how far the peer is now; `None` if the operating system does not say.
    ///
    /// A socket that cannot be written to says little: Linux asks for more only when a third of a TCP send buffer is free, and
    /// three quarters of a unix socket's. A peer that reads slowly takes longer for that than one may want to wait for a
    /// peer that reads nothing.
    fn uptake(&self) -> Option<UptakeLevel>;
}

/// The amount that a peer has taken by one moment.
///
/// Over TCP the peer's system takes, by its acknowledgements. When it has no room left, it acknowledges more only when a
/// sixteenth of its receive buffer is free again (RFC 9293, 3.8.6.2.2; `__tcp_select_window` in Linux). On a unix socket the
/// peer itself takes, by reading, and one sees it when it has read the whole of a piece, of up to 36 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UptakeLevel {
    /// All that was ever taken, if that is known.
    total: Option<u64>,
    waiting: u64,
}

// === impl UptakeLevel ===

impl UptakeLevel {
    /// Whether the peer has taken something since `before`; nothing may have been written meanwhile.
    pub fn is_past(self, before: Self) -> bool {
        match (self.total, before.total) {
            (Some(now), Some(then)) => now > then,
            _ => self.waiting < before.waiting,
        }
    }

    /// The level of a peer that takes bytes by acknowledging them.
    pub(super) fn acknowledged(total: u64, waiting: u64) -> Self {
        Self {
            total: Some(total),
            waiting,
        }
    }

    /// So many bytes wait for a peer, which takes them by reading.
    pub(crate) fn unread(bytes: u64) -> Self {
        Self {
            total: None,
            waiting: bytes,
        }
    }

    /// The bytes that were written and not taken, at the most: on a unix socket the memory that holds them.
    pub fn waiting(self) -> u64 {
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

    /// In one process nobody knows.
    impl Uptake for DuplexStream {
        fn uptake(&self) -> Option<UptakeLevel> {
            None
        }
    }

    /// Writes until there is no more room.
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
            assert!(begun.elapsed() < Duration::from_secs(10), "in vain");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The peer reads some: that is seen, though there is no room for more yet. Then it reads all.
    async fn some_and_all(ours: &impl Uptake, mut theirs: impl AsyncRead + Unpin, written: u64) {
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
    async fn what_a_peer_takes_is_seen_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let ours = TcpStream::connect(address).await.expect("connected");
        let (theirs, _) = listener.accept().await.expect("accepted");
        ours.writable().await.expect("connected");
        let written = fill(async || ours.try_write(&[7; 10_000])).await;
        // What is on its way to the peer's buffer arrives there first.
        until(|| {
            let before = ours.uptake();
            std::thread::sleep(Duration::from_millis(50));
            before == ours.uptake()
        })
        .await;
        some_and_all(&ours, theirs, written).await;
    }

    #[tokio::test]
    async fn what_a_peer_takes_is_seen_on_a_unix_socket() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.writable().await.expect("connected");
        let written = fill(async || ours.try_write(&[7; 10_000])).await;
        // 208 KiB of memory hold half as much if the pieces are small.
        some_and_all(&ours, theirs, written).await;
    }
}
