//! A collector of the demo: it reads Frame Streams and checks every frame.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use prost::Message;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    select,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::traffic::Traffic;
use crate::{
    dnstap::proto::Dnstap,
    frame_stream::{self, Control},
    listener::{Cutter, End},
    lock::Mutex,
    net::{self, BindError, BoundUnix, Stream, UnixAddress, UnixPermissions},
};

/// A collector that can be killed and started again.
#[derive(Debug)]
pub(super) struct Collector {
    place: Place,
    desk: Desk,
    serving: Option<(CancellationToken, JoinHandle<()>)>,
}

/// The state that a collector's connections share.
#[derive(Debug, Clone)]
struct Desk {
    traffic: Arc<Traffic>,
    expects: Expects,
    tally: Arc<Mutex<Tally>>,
}

/// The address of a collector.
#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp {
        address: SocketAddr,
        /// A bound socket that does not listen. It reserves the port while the collector is away.
        _reserved: Socket,
    },
}

enum Door {
    Unix(BoundUnix),
    Tcp(TcpListener),
}

/// The property that the collector checks in each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expects {
    /// The frame has exactly the sender's bytes.
    SendersBytes,
    /// The frame has no DNS message.
    NoMessages,
    Identity(&'static str),
}

/// The counts of a collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Frames read.
    pub(super) frames: u64,
    /// Missing frames. Each frame has a number, so the collector finds them as gaps in the numbers.
    pub(super) missing: u64,
    /// Frames that were read twice or out of order.
    pub(super) repeated: u64,
    /// Frames with unexpected contents.
    pub(super) wrong: u64,
    /// The highest frame number read, plus one.
    next: u64,
}

const DEADLINE: Duration = Duration::from_secs(5);
const MAX_FRAME: u32 = 1 << 20;

// === impl Collector ===

impl Collector {
    /// Makes a collector with a unix socket. It does not listen yet.
    pub(super) fn unix(path: PathBuf, expects: Expects, traffic: &Arc<Traffic>) -> Self {
        Self::new(Place::Unix(path), expects, traffic)
    }

    /// Makes a collector with a free TCP port on loopback. It does not listen yet.
    pub(super) fn tcp(expects: Expects, traffic: &Arc<Traffic>) -> io::Result<Self> {
        let reserved = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        reserved.set_reuse_address(true)?;
        reserved.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = reserved.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let place = Place::Tcp {
            address,
            _reserved: reserved,
        };
        Ok(Self::new(place, expects, traffic))
    }

    fn new(place: Place, expects: Expects, traffic: &Arc<Traffic>) -> Self {
        let desk = Desk {
            traffic: Arc::clone(traffic),
            expects,
            tally: Arc::default(),
        };
        Self {
            place,
            desk,
            serving: None,
        }
    }

    /// Returns the collector's port, whether it listens or not; `None` for a unix socket.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Unix(_) => None,
            Place::Tcp { address, .. } => Some(address.port()),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        *self.desk.tally.lock()
    }

    pub(super) fn open(&mut self) -> Result<(), BindError> {
        let door = match &self.place {
            Place::Unix(path) => {
                let permissions = UnixPermissions {
                    mode: 0o600,
                    owner: None,
                    group: None,
                };
                Door::Unix(net::bind_unix(
                    &UnixAddress::Path(path.clone()),
                    &permissions,
                )?)
            }
            Place::Tcp { address, .. } => Door::Tcp(net::bind_tcp(*address)?),
        };
        let kill = CancellationToken::new();
        let desk = self.desk.clone();
        let task = tokio::spawn(desk.serve(door, kill.clone()));
        self.serving = Some((kill, task));
        Ok(())
    }

    /// Stops the collector as if its process were killed: unread data is lost, and the port refuses connections.
    pub(super) async fn kill(&mut self) {
        if let Some((kill, task)) = self.serving.take() {
            kill.cancel();
            // The task returns an error only if it panicked. In that case the collector has stopped as well.
            let _ = task.await;
        }
    }
}

// === impl Desk ===

impl Desk {
    /// Serves one connection at a time. That is enough, because the demo's router opens only one connection to each
    /// collector.
    async fn serve(self, door: Door, kill: CancellationToken) {
        loop {
            select! {
                biased;
                () = kill.cancelled() => return,
                accepted = door.accept() => {
                    let Ok(mut stream) = accepted else { return };
                    select! {
                        biased;
                        () = kill.cancelled() => {
                            reset_when_dropped(&stream);
                            return;
                        }
                        () = self.read(&mut stream) => {}
                    }
                }
            }
        }
    }

    async fn read(&self, stream: &mut Stream) {
        if frame_stream::accept(stream, DEADLINE).await.is_err() {
            return;
        }
        let mut cutter = Cutter::new(MAX_FRAME);
        while matches!(stream.read_buf(cutter.buffer()).await, Ok(1..)) {
            let cut = cutter.cut(Instant::now());
            if let Some(chunk) = cut.chunk {
                for frame in chunk.frames() {
                    self.take(frame);
                }
            }
            self.tally.lock().wrong += cut.malformed + cut.oversize;
            match cut.end {
                None => {}
                Some(End::Protocol(_)) => return,
                Some(End::Stop) => {
                    // An error is ignored, because the frames are counted already. FINISH only confirms the end of the
                    // stream.
                    let _ = stream.write_all(&Control::finish().encode()).await;
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    }

    fn take(&self, payload: &[u8]) {
        let decoded = Dnstap::decode(payload).ok();
        let number = decoded.as_ref().and_then(number);
        let as_expected = match (self.expects, decoded, number) {
            (Expects::SendersBytes, _, Some(number)) => {
                let mut sent = BytesMut::new();
                self.traffic.append(number, &mut sent).is_ok() && sent == payload
            }
            (Expects::NoMessages, Some(frame), Some(_)) => frame.message.is_some_and(|message| {
                message.query_message.is_none() && message.response_message.is_none()
            }),
            (Expects::Identity(identity), Some(frame), Some(_)) => {
                frame.identity() == identity.as_bytes()
            }
            _ => false,
        };
        self.tally.lock().count(number, as_expected);
    }
}

/// Returns the number that the sender wrote into the frame.
fn number(frame: &Dnstap) -> Option<u64> {
    str::from_utf8(frame.extra()).ok()?.parse().ok()
}

/// Makes TCP send RST when the stream is closed, as it does for a process that is killed with unread data.
fn reset_when_dropped(stream: &Stream) {
    if let Stream::Tcp(stream) = stream {
        // If this call fails, the router sees a clean close instead of a reset. Its sink goes down in both cases.
        let _ = SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO));
    }
}

// === impl Door ===

impl Door {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(door) => door.accept().await.map(Stream::Unix),
            Self::Tcp(door) => door.accept().await.map(|(stream, _)| stream.into()),
        }
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, number: Option<u64>, as_expected: bool) {
        self.frames += 1;
        self.wrong += u64::from(!as_expected);
        match number {
            Some(number) if number >= self.next => {
                self.missing += number - self.next;
                self.next = number + 1;
            }
            Some(_) => self.repeated += 1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn gaps_and_repetitions_are_counted_separately() {
        let mut tally = Tally::default();
        for number in [0, 1, 4, 3, 4, 5] {
            tally.count(Some(number), true);
        }
        tally.count(None, false);
        let expected = Tally {
            frames: 7,
            missing: 2,
            repeated: 2,
            wrong: 1,
            next: 6,
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn frames_are_checked_against_the_expectation() {
        let traffic = Arc::new(Traffic::new().expect("a recording"));
        let mut sent = BytesMut::new();
        traffic.append(0, &mut sent).expect("dnstap");
        let mut bare = Dnstap::decode(sent.as_ref()).expect("dnstap");
        bare.identity = Some(b"edge".to_vec());
        let message = bare.message.as_mut().expect("a message");
        (message.query_message, message.response_message) = (None, None);
        let bare = bare.encode_to_vec();
        for (expects, frame, wrong) in [
            (Expects::SendersBytes, sent.as_ref(), 0),
            (Expects::SendersBytes, bare.as_slice(), 1),
            (Expects::NoMessages, &sent, 1),
            (Expects::NoMessages, &bare, 0),
            (Expects::Identity("edge"), &sent, 1),
            (Expects::Identity("edge"), &bare, 0),
            (Expects::NoMessages, b"\x72\x02\x08\x05\x78\x01", 1),
            (Expects::NoMessages, b"no dnstap", 1),
        ] {
            let collector = Collector::unix(PathBuf::new(), expects, &traffic);
            collector.desk.take(frame);
            assert_eq!(collector.tally().wrong, wrong, "{expects:?}");
        }
    }

    #[tokio::test]
    async fn a_killed_collector_resets_its_connections_and_reopens_at_the_same_port() {
        let traffic = Arc::new(Traffic::new().expect("a recording"));
        let mut collector = Collector::tcp(Expects::NoMessages, &traffic).expect("a port");
        let address = (Ipv4Addr::LOCALHOST, collector.port().expect("TCP"));
        for _ in 0..3 {
            TcpStream::connect(address).await.expect_err("away");
            collector.open().expect("free");
            let mut stream = TcpStream::connect(address).await.expect("there");
            frame_stream::open(&mut stream, DEADLINE)
                .await
                .expect("a collector");
            collector.kill().await;
            let error = stream.read_u8().await.expect_err("killed");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
