//! Whether the machine at the other end still answers, whatever its program does.

use std::{os::fd::AsFd, time::Duration};

use super::tcp_info;

/// A connection that may know when its peer's system was heard last.
pub trait Liveness {
    /// How long ago the peer's system acknowledged anything; also after the connection has failed.
    ///
    /// A system acknowledges what has come, and says that it has no room for more, while the program there reads nothing.
    /// So this tells a collector that hangs from one whose machine or network is gone. `None` if there is no network
    /// between the two, or the operating system does not say.
    fn last_heard(&self) -> Option<Duration>;
}

/// When the peer of a TCP socket acknowledged anything.
pub(super) fn last_acknowledged(socket: &impl AsFd) -> Option<Duration> {
    let milliseconds = tcp_info::last_acknowledged(socket)?;
    Some(Duration::from_millis(milliseconds.into()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream, UnixStream},
        time::{Instant, sleep},
    };

    use super::*;
    use crate::net::Stream;

    #[tokio::test]
    async fn the_time_since_the_last_acknowledgement_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let mut stream = Stream::Tcp(TcpStream::connect(address).await.expect("connected"));
        let begun = Instant::now();
        let (_theirs, _) = listener.accept().await.expect("accepted");
        let silence = Duration::from_millis(50);
        loop {
            let (before, heard) = (begun.elapsed(), stream.last_heard().expect("known"));
            // A tick of the kernel's clock may be as long as 10 ms.
            assert!(heard + Duration::from_millis(20) >= before, "{heard:?}");
            if heard >= silence {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        // The kernel there acknowledges what nobody reads.
        stream.write_all(b"unread").await.expect("written");
        while stream.last_heard().expect("known") >= silence {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn between_processes_of_one_machine_there_is_no_network() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(Stream::Unix(ours).last_heard(), None);
    }
}
