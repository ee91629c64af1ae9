//! A Frame Streams sender that can behave like a DNS server, or misbehave.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tapfan::internals::{Counted, Mode, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    select,
    task::JoinHandle,
    time::interval,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::{
    wait::with_timeout,
    wire::{self, ACCEPT, FINISH, READY, START, STOP},
};

/// The address of a listener, and the transport with which to connect to it.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A path. If it begins with a NUL byte, it is an abstract socket name.
    Unix(PathBuf),
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
}

/// A sender whose stream has begun.
pub(crate) struct Sender {
    stream: Stream,
    mode: Mode,
}

/// The reaction of a sender when the router half-closes the connection. The router does this at the
/// start of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnHalfClose {
    /// Sends STOP, as the tools of fstrm do.
    Stop,
    /// Closes without STOP, as Unbound does.
    Close,
    /// Does not read from its connection and keeps sending, as `CoreDNS` does.
    Ignore,
}

/// A task that sends frames at a fixed rate.
pub(crate) struct Load {
    sent: Arc<AtomicU64>,
    enough: CancellationToken,
    task: JoinHandle<()>,
}

/// Parameters of a [`Load`].
pub(crate) struct LoadProfile {
    pub(crate) mode: Mode,
    pub(crate) on_half_close: OnHalfClose,
    /// Frames per second.
    pub(crate) rate: u64,
    /// A function that makes the frame with a given number.
    pub(crate) frame: fn(u64) -> Bytes,
    /// The number of the first frame. Each further frame has the next number.
    pub(crate) first: u64,
}

const TICK: Duration = Duration::from_millis(10);

impl Target {
    /// Connects to the listener. For a TLS target, also does the TLS handshake. Sends nothing else.
    pub(crate) async fn dial(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Self::Tcp(address) => Ok(TcpStream::connect(address).await?.into()),
            Self::Tls(address, config) => {
                let tcp = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").expect("a name");
                let connector = TlsConnector::from(Arc::clone(config));
                let tls = connector.connect(name, Counted::from(tcp)).await?;
                Ok(Stream::Tls(Box::new(tls.into())))
            }
        }
    }

    /// Connects without TLS, even to a TLS listener.
    pub(crate) async fn dial_plain(&self) -> io::Result<Stream> {
        match self {
            Self::Tls(address, _) => Self::Tcp(*address).dial().await,
            other => other.dial().await,
        }
    }

    /// Connects, sends `bytes`, shuts down the write side, and returns everything that the router
    /// sends until it closes the connection.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let stream = self.dial().await.expect("connected");
        exchange(stream, bytes).await
    }
}

/// Sends `bytes` on `stream`, shuts down the write side, and returns everything that the router
/// sends until it closes the connection.
pub(crate) async fn exchange(mut stream: Stream, bytes: &[u8]) -> Vec<u8> {
    // Continues after an error, because the router may have closed the connection already, and the
    // test needs only the router's answer.
    if stream.write_all(bytes).await.is_ok() {
        let _ = stream.shutdown().await;
    }
    rest(&mut stream).await
}

/// Returns everything that the router sends until it closes the connection.
pub(crate) async fn rest(stream: &mut Stream) -> Vec<u8> {
    let mut answer = Vec::new();
    // Ignores errors, because a reset and the end of TCP without `close_notify` also end the
    // connection. `answer` contains the bytes that were received before the error.
    let _ = with_timeout("the router closes", stream.read_to_end(&mut answer)).await;
    answer
}

/// Reads as many bytes as `bytes` has, and asserts that they are equal.
pub(crate) async fn expect(stream: &mut Stream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    with_timeout("the router answers", stream.read_exact(&mut got))
        .await
        .expect("an answer");
    assert_eq!(got, bytes);
}

impl Sender {
    /// Connects and starts a stream.
    pub(crate) async fn open(target: &Target, mode: Mode) -> Self {
        let stream = target.dial().await.expect("connected");
        Self::begin(stream, mode).await
    }

    /// Starts a bidirectional stream on a connection that the router has made.
    pub(crate) async fn on(stream: Stream) -> Self {
        Self::begin(stream, Mode::Bidirectional).await
    }

    async fn begin(mut stream: Stream, mode: Mode) -> Self {
        if mode == Mode::Bidirectional {
            stream.write_all(READY).await.expect("written");
            expect(&mut stream, ACCEPT).await;
        }
        stream.write_all(START).await.expect("written");
        Self { stream, mode }
    }

    /// Sends frames in one write.
    pub(crate) async fn send<F: AsRef<[u8]>>(&mut self, frames: impl IntoIterator<Item = F>) {
        self.write(&wire::data(frames)).await;
    }

    /// Writes any bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
        self.stream.flush().await.expect("written");
    }

    /// Writes bytes in pieces of `size` bytes, so that some pieces end within frames.
    pub(crate) async fn write_in_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.write(piece).await;
        }
    }

    /// Sends STOP. Waits until the router has sent the right answer and has closed the connection.
    pub(crate) async fn stop(mut self) {
        self.write(STOP).await;
        let answer = rest(&mut self.stream).await;
        let expected = match self.mode {
            Mode::Bidirectional => FINISH,
            Mode::Unidirectional => b"",
        };
        assert_eq!(answer, expected);
    }

    /// Sends STOP on a connection that the router has half-closed. Waits until it has closed the connection.
    pub(crate) async fn stop_after_half_close(mut self) {
        self.write(STOP).await;
        assert_eq!(rest(&mut self.stream).await, b"");
    }

    /// Shuts down the write side without STOP. Waits until the router has closed the connection.
    pub(crate) async fn close(mut self) {
        self.stream.shutdown().await.expect("shut down");
        assert_eq!(rest(&mut self.stream).await, b"");
    }

    /// Waits until the router half-closes the connection, which it does when it drains.
    pub(crate) async fn half_closed(&mut self) {
        let mut byte = [0];
        let read = with_timeout("the router half-closes", self.stream.read(&mut byte)).await;
        assert_eq!(read.expect("no reset"), 0, "data on the back channel");
    }

    /// Waits until the router closes the connection. Ignores the data that the router sends before
    /// that.
    pub(crate) async fn cut(mut self) {
        rest(&mut self.stream).await;
    }

    /// Returns the connection of this sender.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Ends the sender as if its process were killed: the kernel resets the connection.
    pub(crate) fn reset(self) {
        reset_on_close(&self.stream);
    }
}

/// Makes the kernel send a reset when the stream is dropped. Has no effect on a unix socket.
pub(crate) fn reset_on_close(stream: &Stream) {
    let tcp = match stream {
        Stream::Unix(_) => return,
        Stream::Tcp(tcp) => tcp.tcp(),
        Stream::Tls(tls) => tls.get_ref().0.tcp(),
    };
    SockRef::from(tcp)
        .set_linger(Some(Duration::ZERO))
        .expect("set");
}

impl Load {
    /// Connects, and starts to send frames at the rate of the profile.
    pub(crate) async fn start(target: &Target, profile: LoadProfile) -> Self {
        Self::of(Sender::open(target, profile.mode).await, profile)
    }

    /// Starts to send frames on the stream of `sender`.
    pub(crate) fn of(sender: Sender, profile: LoadProfile) -> Self {
        let sent = Arc::<AtomicU64>::default();
        let enough = CancellationToken::new();
        let task = tokio::spawn(load(sender, profile, Arc::clone(&sent), enough.clone()));
        Self { sent, enough, task }
    }

    /// Returns the number of frames written completely.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Ends the stream with STOP. Returns the number of frames written.
    pub(crate) async fn end(self) -> u64 {
        self.enough.cancel();
        self.ended().await
    }

    /// Waits until the router drains or closes the connection, which ends the load. Returns the
    /// number of frames written.
    pub(crate) async fn ended(self) -> u64 {
        with_timeout("the sender ends", self.task)
            .await
            .expect("no panic");
        self.sent.load(Relaxed)
    }
}

async fn load(
    mut sender: Sender,
    profile: LoadProfile,
    sent: Arc<AtomicU64>,
    enough: CancellationToken,
) {
    let each = profile.rate * u64::try_from(TICK.as_millis()).expect("few") / 1000;
    let mut ticks = interval(TICK);
    let mut byte = [0];
    loop {
        select! {
            biased;
            () = enough.cancelled() => return sender.stop().await,
            read = sender.stream.read(&mut byte), if profile.on_half_close != OnHalfClose::Ignore => {
                assert_eq!(read.expect("no reset"), 0, "data on the back channel");
                if profile.on_half_close == OnHalfClose::Stop {
                    sender.write(STOP).await;
                }
                return;
            }
            _ = ticks.tick() => {}
        }
        let from = profile.first + sent.load(Relaxed);
        let frames = wire::data((from..from + each).map(profile.frame));
        let written = async {
            sender.stream.write_all(&frames).await?;
            sender.stream.flush().await
        };
        if let Err(error) = written.await {
            assert_eq!(
                profile.on_half_close,
                OnHalfClose::Ignore,
                "closed without a half-close: {error}"
            );
            return;
        }
        sent.fetch_add(each, Relaxed);
    }
}
