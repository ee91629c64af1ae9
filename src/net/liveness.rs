//! The time since the peer's kernel last answered. The kernel answers even if the peer's program hangs.

use std::time::Duration;

/// A connection that can report when its peer's kernel was last heard.
pub(crate) trait Liveness {
    /// Returns the time since the peer's kernel acknowledged anything. It is available even after the connection has
    /// failed.
    ///
    /// A kernel acknowledges data, and reports a full receive buffer, even while the program reads nothing. So this
    /// time distinguishes a hung collector from a lost machine or network. `None` for a unix socket, or if the
    /// operating system does not report it.
    fn last_heard(&self) -> Option<Duration>;

    /// Returns whether our kernel has retransmitted data or probed the peer, and the peer has not answered yet. True if
    /// the operating system does not report it.
    ///
    /// If the peer's receive buffer is full, our kernel probes the peer at intervals that double (RFC 9293, 3.8.6.1).
    /// So the last answer may be long ago even if the peer answers every probe.
    fn awaits_answer(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream, UnixStream},
        time::{Instant, sleep, timeout},
    };

    use super::*;
    use crate::net::Stream;

    #[tokio::test]
    async fn last_heard_is_the_time_since_the_last_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let mut stream = Stream::from(TcpStream::connect(address).await.expect("connected"));
        let begun = Instant::now();
        let (_theirs, _) = listener.accept().await.expect("accepted");
        let silence = Duration::from_millis(50);
        loop {
            let (before, heard) = (begun.elapsed(), stream.last_heard().expect("known"));
            // The kernel's clock can be as coarse as 10 ms.
            assert!(heard + Duration::from_millis(20) >= before, "{heard:?}");
            if heard >= silence {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        // The peer's kernel acknowledges data even if no program reads it.
        stream.write_all(b"unread").await.expect("written");
        while stream.last_heard().expect("known") >= silence {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_answers_window_probes_owes_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let mut stream = Stream::from(TcpStream::connect(address).await.expect("connected"));
        let (_theirs, _) = listener.accept().await.expect("accepted");
        // More data than both kernels can buffer.
        let data = vec![0; 64 << 20];
        let write = stream.write_all(&data);
        timeout(Duration::from_secs(1), write)
            .await
            .expect_err("no room");
        // Just after a probe, the kernel awaits the answer for a moment. If the peer were gone, every check would find
        // that the kernel awaits an answer.
        let deadline = Instant::now() + Duration::from_secs(20);
        while stream.awaits_answer() {
            assert!(Instant::now() < deadline, "no probe was answered");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_unix_socket_has_no_last_heard() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(Stream::Unix(ours).last_heard(), None);
    }
}
